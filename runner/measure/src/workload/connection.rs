//! Keep-alive HTTP connection to a guest's agent for timed traffic.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::guest::client::{AgentClient, GuestError};
use crate::guest::response;

/// Size of the read buffer for a head, bytes.
const READ_BYTES: usize = 4 << 10;

/// Connection that is reused for several requests.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    nonce: String,
    /// Bytes that were read together with the last head and belong to its body.
    unread: Vec<u8>,
    request: &'static str,
}

impl Connection {
    /// Connects to the agent. `request` names the requests in errors.
    pub(super) async fn open(guest: &AgentClient, request: &'static str) -> Result<Self, GuestError> {
        let failed = |source| GuestError::Connection { request, source };
        let stream = TcpStream::connect(guest.address()).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Self { stream, nonce: guest.nonce().to_owned(), unread: Vec::with_capacity(READ_BYTES), request })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), GuestError> {
        self.stream.write_all(bytes).await.map_err(|error| self.io_error(error))
    }

    /// Reads the head of a response; returns the length of its body, bytes.
    pub(super) async fn read_head(&mut self) -> Result<u64, GuestError> {
        loop {
            match response::parse_head(&self.unread, self.request, &self.nonce) {
                Ok(Some(head)) => {
                    self.unread.drain(..head.body);
                    return Ok(head.length);
                }
                Ok(None) => {}
                Err(problem) => return Err(self.protocol_error(problem)),
            }
            let mut buffer = [0; READ_BYTES];
            let read = self.stream.read(&mut buffer).await.map_err(|error| self.io_error(error))?;
            if read == 0 {
                return Err(
                    self.protocol_error("the guest closed the connection before the end of the response's head".into())
                );
            }
            self.unread.extend_from_slice(&buffer[..read]);
        }
    }

    /// Reads the next bytes of the body until `buffer` is full.
    pub(super) async fn read_body(&mut self, buffer: &mut [u8]) -> Result<(), GuestError> {
        let available = self.unread.len().min(buffer.len());
        buffer[..available].copy_from_slice(&self.unread[..available]);
        self.unread.drain(..available);
        match self.stream.read_exact(&mut buffer[available..]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.io_error(error)),
        }
    }

    /// Returns an error for a response that violates the protocol.
    pub(super) fn protocol_error(&self, problem: String) -> GuestError {
        GuestError::Protocol { request: self.request, problem }
    }

    fn io_error(&self, source: io::Error) -> GuestError {
        GuestError::Connection { request: self.request, source }
    }
}
