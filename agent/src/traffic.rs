//! Workloads that the host times: a static file, and streams in both directions.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use microbench_agent::workload::{Stream, StreamReply, hex, sum};
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS};

/// Maximum number of bytes that `GET /file` serves.
const FILE_BYTES: u64 = (INDEX_BLOCKS * INDEX_BLOCK_BYTES) as u64;

/// The number in a query `bytes=N`; `None` if the query is invalid, or the number is not between 1 and `max`.
pub(crate) fn parse_bytes(query: &str, max: u64) -> Option<u64> {
    query.strip_prefix("bytes=")?.parse().ok().filter(|bytes| (1..=max).contains(bytes))
}

/// The first bytes of a static file, read through the page cache; `None` if the query is invalid. The file is opened
/// for each request.
pub(crate) fn read_file(path: &Path, query: &str) -> Option<io::Result<Vec<u8>>> {
    let mut body = vec![0; usize::try_from(parse_bytes(query, FILE_BYTES)?).ok()?];
    Some(File::open(path).and_then(|mut file| file.read_exact(&mut body)).map(|()| body))
}

/// Sends the first `bytes` bytes of the stream.
///
/// # Errors
/// If the connection fails.
pub(crate) fn send(writer: &mut impl Write, bytes: u64) -> io::Result<()> {
    let (stream, mut left) = (Stream::new(), bytes);
    while left > 0 {
        let next = stream.next(left);
        writer.write_all(next)?;
        left -= next.len() as u64;
    }
    Ok(())
}

/// Receives `bytes` bytes and computes their [`sum`].
///
/// # Errors
/// If the connection fails or ends early.
pub(crate) fn receive(reader: &mut impl Read, bytes: u64) -> io::Result<StreamReply> {
    let mut block = vec![0; Stream::BLOCK];
    let (mut left, mut total) = (bytes, 0_u64);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(Stream::BLOCK);
        // Complete blocks, so that the words have the same boundaries as those of the sender.
        reader.read_exact(&mut block[..length])?;
        total = total.wrapping_add(sum(&block[..length]));
        left -= length as u64;
    }
    Ok(StreamReply { bytes, checksum: hex(total) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_stream_matches_the_sent_stream() {
        for bytes in [1, 65_536, 100_001] {
            let mut sent = Vec::new();
            send(&mut sent, bytes).unwrap();
            assert_eq!(sent.len() as u64, bytes);
            let reply = receive(&mut sent.as_slice(), bytes).unwrap();
            assert_eq!(reply, StreamReply { bytes, checksum: hex(Stream::new().sum(bytes)) });
            assert!(receive(&mut sent.as_slice(), bytes + 1).is_err());
        }
    }

    #[test]
    fn query_outside_the_limits_is_invalid() {
        assert_eq!((parse_bytes("bytes=1", 10), parse_bytes("bytes=10", 10)), (Some(1), Some(10)));
        for wrong in ["", "bytes=", "bytes=0", "bytes=11", "bytes=-1", "octets=1", "bytes=1&x=2"] {
            assert_eq!(parse_bytes(wrong, 10), None, "{wrong}");
        }
    }
}
