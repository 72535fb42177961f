//! One connection to a guest's agent for traffic that is timed: a request, the head of its answer, as many bytes as were announced.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::guest::client::{Guest, GuestError};
use crate::guest::response;

/// Bytes that one read of a head takes at most.
const READ_BYTES: usize = 4 << 10;

/// A connection that lasts over several requests.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    nonce: String,
    /// What came with the last head and is not taken yet.
    ahead: Vec<u8>,
    request: &'static str,
}

impl Connection {
    /// Connects; `request` names what is asked over it in errors.
    pub(super) async fn open(guest: &Guest, request: &'static str) -> Result<Self, GuestError> {
        let failed = |source| GuestError::Connection { request, source };
        let stream = TcpStream::connect(guest.address()).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Self { stream, nonce: guest.nonce().to_owned(), ahead: Vec::with_capacity(READ_BYTES), request })
    }

    /// Sends these bytes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), GuestError> {
        self.stream.write_all(bytes).await.map_err(|error| self.failed(error))
    }

    /// Reads the head of an answer; returns the bytes of its body.
    pub(super) async fn head(&mut self) -> Result<u64, GuestError> {
        loop {
            match response::head(&self.ahead, self.request, &self.nonce) {
                Ok(Some(head)) => {
                    self.ahead.drain(..head.body);
                    return Ok(head.length);
                }
                Ok(None) => {}
                Err(problem) => return Err(self.wrong(problem)),
            }
            let mut buffer = [0; READ_BYTES];
            let read = self.stream.read(&mut buffer).await.map_err(|error| self.failed(error))?;
            if read == 0 {
                return Err(self.wrong("the guest closed the connection within its answer's head".into()));
            }
            self.ahead.extend_from_slice(&buffer[..read]);
        }
    }

    /// Reads so many bytes of the body.
    pub(super) async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), GuestError> {
        let there = self.ahead.len().min(buffer.len());
        buffer[..there].copy_from_slice(&self.ahead[..there]);
        self.ahead.drain(..there);
        match self.stream.read_exact(&mut buffer[there..]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// An answer that breaks the protocol.
    pub(super) fn wrong(&self, problem: String) -> GuestError {
        GuestError::Protocol { request: self.request, problem }
    }

    fn failed(&self, source: io::Error) -> GuestError {
        GuestError::Connection { request: self.request, source }
    }
}
