//! A stream of known bytes over one TCP connection, round after round, in either direction.

use microbench_agent::work::{Stream, StreamReply, hex, sum};

use super::Measured;
use super::connection::Connection;
use crate::guest::client::{Guest, GuestError};
use crate::sys::clock::Instant;

/// Most bytes of the guest's answer to what it received.
const REPLY_BYTES: u64 = 1 << 10;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The guest: from the request for the bytes to the last of them.
    FromGuest,
    /// The host: from the first byte to the guest's answer that all have come.
    ToGuest,
}

impl Direction {
    /// What is asked for, in errors.
    pub(super) fn request(self) -> &'static str {
        match self {
            Self::FromGuest => "GET /stream",
            Self::ToGuest => "POST /stream",
        }
    }

    /// `warmup` rounds of `bytes` bytes that do not count, then `rounds` that do.
    pub(super) async fn flow(
        self,
        guest: &Guest,
        bytes: u64,
        warmup: u32,
        rounds: u32,
    ) -> Result<Measured, GuestError> {
        let mut connection = Connection::open(guest, self.request()).await?;
        let (stream, expected) = (Stream::new(), hex(Stream::new().sum(bytes)));
        let mut duration_ns = 0_u64;
        for round in 0..warmup.saturating_add(rounds) {
            let begun = Instant::now();
            let found = match self {
                Self::FromGuest => take(&mut connection, bytes).await?,
                Self::ToGuest => give(&mut connection, &stream, bytes).await?,
            };
            if round >= warmup {
                duration_ns = duration_ns.saturating_add(Instant::now().0 - begun.0);
            }
            if found != expected {
                let found: String = found.chars().take(80).collect();
                return Err(connection.wrong(format!("the checksum is {found}, it should be {expected}")));
            }
        }
        Ok(Measured { duration_ns: duration_ns.max(1), latency: None, sha_ni: None })
    }
}

async fn take(connection: &mut Connection, bytes: u64) -> Result<String, GuestError> {
    let request = format!("GET /stream?bytes={bytes} HTTP/1.1\r\nhost: guest\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    let length = connection.head().await?;
    if length != bytes {
        return Err(connection.wrong(format!("the answer has {length} bytes, {bytes} were asked for")));
    }
    let mut block = vec![0; Stream::BLOCK];
    let (mut left, mut total) = (bytes, 0_u64);
    while left > 0 {
        // Whole blocks, so that words begin where they began at the sender's.
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(Stream::BLOCK);
        connection.fill(&mut block[..part]).await?;
        total = total.wrapping_add(sum(&block[..part]));
        left -= part as u64;
    }
    Ok(hex(total))
}

async fn give(connection: &mut Connection, stream: &Stream, bytes: u64) -> Result<String, GuestError> {
    let head = format!("POST /stream HTTP/1.1\r\nhost: guest\r\ncontent-length: {bytes}\r\n\r\n");
    connection.send(head.as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let next = stream.next(left);
        connection.send(next).await?;
        left -= next.len() as u64;
    }
    let length = connection.head().await?;
    if length > REPLY_BYTES {
        return Err(connection.wrong(format!("the answer announces {length} bytes")));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
    connection.fill(&mut body).await?;
    let reply: StreamReply = serde_json::from_slice(&body)
        .map_err(|error| connection.wrong(format!("the answer does not parse: {error}")))?;
    if reply.bytes != bytes {
        return Err(connection.wrong(format!("{} bytes came, {bytes} were sent", reply.bytes)));
    }
    Ok(reply.checksum)
}
