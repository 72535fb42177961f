//! What flows over a connection for the host to time: a file, or a stream in either direction.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use microbench_agent::work::{Stream, StreamReply, hex, sum};
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS};

/// Most bytes of the file that `GET /file` serves.
const FILE_BYTES: u64 = (INDEX_BLOCKS * INDEX_BLOCK_BYTES) as u64;

/// The number of bytes that `path?bytes=N` asks for, 1 to `most`.
pub(crate) fn asked(query: &str, most: u64) -> Option<u64> {
    query.strip_prefix("bytes=")?.parse().ok().filter(|bytes| (1..=most).contains(bytes))
}

/// The first bytes of a static file, opened for each request and read through the page cache; `None` when the query is none.
pub(crate) fn file(path: &Path, query: &str) -> Option<io::Result<Vec<u8>>> {
    let mut body = vec![0; usize::try_from(asked(query, FILE_BYTES)?).ok()?];
    Some(File::open(path).and_then(|mut file| file.read_exact(&mut body)).map(|()| body))
}

/// Sends the stream's first `bytes` bytes.
///
/// # Errors
/// When the peer does not take them.
pub(crate) fn send(writer: &mut impl Write, bytes: u64) -> io::Result<()> {
    let (stream, mut left) = (Stream::new(), bytes);
    while left > 0 {
        let next = stream.next(left);
        writer.write_all(next)?;
        left -= next.len() as u64;
    }
    Ok(())
}

/// Takes `bytes` bytes and adds them up.
///
/// # Errors
/// When they do not come.
pub(crate) fn receive(reader: &mut impl Read, bytes: u64) -> io::Result<StreamReply> {
    let mut block = vec![0; Stream::BLOCK];
    let (mut left, mut total) = (bytes, 0_u64);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(Stream::BLOCK);
        // Whole blocks, so that words begin where they began at the sender's.
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
    fn what_is_sent_is_what_is_received_and_no_more() {
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
    fn a_query_names_a_number_of_bytes_within_the_limits() {
        assert_eq!((asked("bytes=1", 10), asked("bytes=10", 10)), (Some(1), Some(10)));
        for wrong in ["", "bytes=", "bytes=0", "bytes=11", "bytes=-1", "octets=1", "bytes=1&x=2"] {
            assert_eq!(asked(wrong, 10), None, "{wrong}");
        }
    }
}
