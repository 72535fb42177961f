//! TCP stream of known bytes over one connection, in either direction, repeated for several rounds.

use microbench_agent::workload::{Stream, StreamReply, hex, sum};

use super::Measurement;
use super::connection::Connection;
use crate::guest::client::{AgentClient, GuestError};
use crate::sys::clock::Instant;

/// Largest size of the guest's response to a received stream, bytes.
const REPLY_BYTES: u64 = 1 << 10;

/// Direction of the stream, and what a round's time covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The guest sends. Timed from the request to the last byte.
    FromGuest,
    /// The host sends. Timed from the first byte to the guest's response, which confirms that all bytes have
    /// arrived.
    ToGuest,
}

impl Direction {
    /// Returns the request's method and path, for errors.
    pub(super) fn request(self) -> &'static str {
        match self {
            Self::FromGuest => "GET /stream",
            Self::ToGuest => "POST /stream",
        }
    }

    /// Transfers `bytes` bytes per round: `warmup` rounds that are not timed, then `rounds` timed ones.
    pub(super) async fn transfer(
        self,
        guest: &AgentClient,
        bytes: u64,
        warmup: u32,
        rounds: u32,
    ) -> Result<Measurement, GuestError> {
        let mut connection = Connection::open(guest, self.request()).await?;
        let (stream, expected) = (Stream::new(), hex(Stream::new().sum(bytes)));
        let mut duration_ns = 0_u64;
        for round in 0..warmup.saturating_add(rounds) {
            let started_at = Instant::now();
            let found = match self {
                Self::FromGuest => receive_round(&mut connection, bytes).await?,
                Self::ToGuest => send_round(&mut connection, &stream, bytes).await?,
            };
            if round >= warmup {
                duration_ns = duration_ns.saturating_add(Instant::now().0 - started_at.0);
            }
            if found != expected {
                let found: String = found.chars().take(80).collect();
                return Err(connection.protocol_error(format!("the checksum is {found} instead of {expected}")));
            }
        }
        Ok(Measurement { duration_ns: duration_ns.max(1), latency: None, sha_ni: None })
    }
}

async fn receive_round(connection: &mut Connection, bytes: u64) -> Result<String, GuestError> {
    let request = format!("GET /stream?bytes={bytes} HTTP/1.1\r\nhost: guest\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    let length = connection.read_head().await?;
    if length != bytes {
        return Err(connection.protocol_error(format!("the response has {length} bytes instead of {bytes}")));
    }
    let mut block = vec![0; Stream::BLOCK];
    let (mut left, mut total) = (bytes, 0_u64);
    while left > 0 {
        // The checksum is computed over words: read whole blocks, so that words are aligned as they were at
        // the sender.
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(Stream::BLOCK);
        connection.read_body(&mut block[..part]).await?;
        total = total.wrapping_add(sum(&block[..part]));
        left -= part as u64;
    }
    Ok(hex(total))
}

async fn send_round(connection: &mut Connection, stream: &Stream, bytes: u64) -> Result<String, GuestError> {
    let head = format!("POST /stream HTTP/1.1\r\nhost: guest\r\ncontent-length: {bytes}\r\n\r\n");
    connection.send(head.as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let next = stream.next(left);
        connection.send(next).await?;
        left -= next.len() as u64;
    }
    let length = connection.read_head().await?;
    if length > REPLY_BYTES {
        return Err(connection.protocol_error(format!("the response has {length} bytes, more than {REPLY_BYTES}")));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
    connection.read_body(&mut body).await?;
    let reply: StreamReply = serde_json::from_slice(&body)
        .map_err(|error| connection.protocol_error(format!("the response is not valid: {error}")))?;
    if reply.bytes != bytes {
        return Err(connection.protocol_error(format!("the guest received {} of {bytes} bytes", reply.bytes)));
    }
    Ok(reply.checksum)
}
