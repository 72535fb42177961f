//! The part of HTTP/1.1 that the agent supports: sequential requests on a connection, with limits on all sizes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use microbench_agent::workload::{MOST_BYTES, StreamReply};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::options::Options;
use crate::traffic;

/// Maximum size of the request line and the headers, in bytes.
const HEAD_LIMIT: u64 = 8 << 10;
/// Maximum size of a request body, in bytes.
const BODY_LIMIT: usize = 4 << 10;

/// Maximum time to wait for the acknowledgement of the last response before the machine restarts, in seconds.
const LINGER_S: i32 = 1;

/// The path that accepts more bytes than [`BODY_LIMIT`].
const STREAM: &str = "/stream";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    /// Size and checksum of the bytes sent to [`STREAM`], which are not kept; `None` for other requests.
    pub(crate) received: Option<StreamReply>,
    close: bool,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Body,
    pub(crate) next: Next,
}

#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// This number of bytes of [`microbench_agent::workload::Stream`].
    Stream(u64),
}

/// What the agent does after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It reads the next request.
    Serve,
    /// It ends the machine.
    EndMachine,
}

impl Response {
    /// A response with one line of text.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain",
            body: Body::Bytes(format!("{}\n", text.into()).into_bytes()),
            next: Next::Serve,
        }
    }
}

/// Why a request cannot be read.
#[derive(Debug)]
enum ReadError {
    /// The connection was closed, failed, or timed out.
    Closed,
    /// The request is invalid: status and text of the response.
    Invalid(u16, &'static str),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// Serves one connection until it is closed. `respond` returns the response to a request.
pub(crate) fn serve(stream: TcpStream, options: &Options, respond: fn(&Request, &Options) -> Response) {
    drop(stream.set_nodelay(true));
    drop(stream.set_read_timeout(Some(options.idle)));
    drop(stream.set_write_timeout(Some(options.idle)));
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let (response, close) = match read(&mut reader) {
            Ok(request) => (respond(&request, options), request.close),
            Err(ReadError::Closed) => return,
            Err(ReadError::Invalid(status, why)) => (Response::text(status, why), true),
        };
        if write(&mut writer, &response, &options.nonce, close).is_err() {
            return;
        }
        if response.next == Next::EndMachine {
            // The response must reach the host before the machine ends. With SO_LINGER (socket(7)), close waits until
            // the host's kernel has acknowledged every byte; it does not wait for the client.
            let linger = libc::linger { l_onoff: 1, l_linger: LINGER_S };
            let _ = setsockopt(&writer, sockopt::Linger, &linger);
            drop((reader, writer));
            if options.stay {
                std::process::exit(0);
            }
            crate::init::end_machine(options.power_off);
        }
        if close {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Result<Request, ReadError> {
    let mut head = reader.by_ref().take(HEAD_LIMIT);
    let mut line = || -> Result<String, ReadError> {
        let mut bytes = Vec::new();
        head.read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() && head.limit() > 0 {
            return Err(ReadError::Closed);
        }
        if bytes.pop() != Some(b'\n') {
            return match head.limit() {
                0 => Err(ReadError::Invalid(431, "the request head is too large")),
                _ => Err(ReadError::Closed),
            };
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        String::from_utf8(bytes).map_err(|_| ReadError::Invalid(400, "the request head is not UTF-8"))
    };
    let request_line = line()?;
    let mut fields = request_line.split(' ');
    let (Some(method), Some(path), Some(version), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(ReadError::Invalid(400, "the request line is invalid"));
    };
    let mut close = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(ReadError::Invalid(505, "only HTTP/1.0 and HTTP/1.1 are supported")),
    };
    let mut length = 0;
    loop {
        let header = line()?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else {
            return Err(ReadError::Invalid(400, "a header has no colon"));
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value.trim().parse().map_err(|_| ReadError::Invalid(400, "content-length is not a number"))?;
            }
            "transfer-encoding" => return Err(ReadError::Invalid(501, "a body requires content-length")),
            "connection" if value.trim().eq_ignore_ascii_case("close") => close = true,
            _ => {}
        }
    }
    let (method, path) = (method.to_owned(), path.to_owned());
    if method == "POST" && path == STREAM && (1..=MOST_BYTES).contains(&(length as u64)) {
        let received = Some(traffic::receive(reader, length as u64)?);
        return Ok(Request { method, path, body: Vec::new(), received, close });
    }
    if length > BODY_LIMIT {
        return Err(ReadError::Invalid(413, "the request body is too large"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path, body, received: None, close })
}

fn write(writer: &mut impl Write, response: &Response, nonce: &str, close: bool) -> io::Result<()> {
    let reason = match response.status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "",
    };
    let connection = if close { "connection: close\r\n" } else { "" };
    let length = match &response.body {
        Body::Bytes(bytes) => bytes.len() as u64,
        Body::Stream(bytes) => *bytes,
    };
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {}\r\ncontent-length: {length}\r\n{}: {nonce}\r\n{connection}\r\n",
        response.status,
        response.kind,
        microbench_agent::NONCE_HEADER,
    )
    .into_bytes();
    if let Body::Bytes(body) = &response.body {
        bytes.extend_from_slice(body);
    }
    writer.write_all(&bytes)?;
    if let Body::Stream(bytes) = response.body {
        traffic::send(writer, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &[u8]) -> Result<Request, Option<u16>> {
        read(&mut BufReader::new(text)).map_err(|error| match error {
            ReadError::Closed => None,
            ReadError::Invalid(status, _) => Some(status),
        })
    }

    #[test]
    fn valid_request_is_parsed() {
        let request = status(b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/work"));
        assert_eq!((request.body.as_slice(), request.close), (b"{}".as_slice(), false));
        assert!(status(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap().close);
    }

    #[test]
    fn invalid_or_oversized_request_is_rejected() {
        assert_eq!(status(b"hello\r\n\r\n"), Err(Some(400)));
        assert_eq!(status(b"GET / HTTP/2\r\n\r\n"), Err(Some(505)));
        assert_eq!(status(b"GET / HTTP/1.1\r\nno colon\r\n\r\n"), Err(Some(400)));
        assert_eq!(status(b"POST /work HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), Err(Some(413)));
        assert_eq!(status(b"POST /work HTTP/1.1\r\ncontent-length: -1\r\n\r\n"), Err(Some(400)));
        assert_eq!(status(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), Err(Some(501)));
        let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'y'; 1 << 20]].concat();
        assert_eq!(status(&endless), Err(Some(431)));
    }

    #[test]
    fn truncated_request_is_an_error() {
        let whole = b"POST /work HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..whole.len() {
            assert!(status(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
