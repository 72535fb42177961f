//! HTTP/1.1, as much as the agent speaks: one request after the other on a connection, every read bounded.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use microbench_agent::work::{MOST_BYTES, StreamReply};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::options::Options;
use crate::traffic;

/// Most bytes of a request line and its headers.
const HEAD_LIMIT: u64 = 8 << 10;
/// Most bytes of a request's body.
const BODY_LIMIT: usize = 4 << 10;

/// How long the last answer may take to be acknowledged before the machine restarts all the same, seconds.
const LAST_WORD_S: i32 = 1;

/// The path to which more may be sent than [`BODY_LIMIT`].
const STREAM: &str = "/stream";

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    /// What came to [`STREAM`] in place of a body: it is counted, not kept.
    pub(crate) received: Option<StreamReply>,
    close: bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Body,
    /// What follows once the answer is sent.
    pub(crate) then: Then,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of the stream that both sides know.
    Stream(u64),
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next request.
    Go,
    /// The machine restarts.
    Restart,
}

impl Response {
    /// A plain answer with one line of text.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain",
            body: Body::Bytes(format!("{}\n", text.into()).into_bytes()),
            then: Then::Go,
        }
    }
}

/// Why a request cannot be read.
#[derive(Debug)]
enum Bad {
    /// The connection ended between requests, or broke, or was idle too long.
    Gone,
    /// The peer breaks the protocol.
    Refused(u16, &'static str),
}

impl From<io::Error> for Bad {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Serves one connection to its end. `answer` makes the response to a request.
pub(crate) fn serve(stream: TcpStream, options: &Options, answer: fn(&Request, &Options) -> Response) {
    drop(stream.set_nodelay(true));
    drop(stream.set_read_timeout(Some(options.idle)));
    drop(stream.set_write_timeout(Some(options.idle)));
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let (response, close) = match read(&mut reader) {
            Ok(request) => (answer(&request, options), request.close),
            Err(Bad::Gone) => return,
            Err(Bad::Refused(status, why)) => (Response::text(status, why), true),
        };
        if write(&mut writer, &response, &options.nonce, close).is_err() {
            return;
        }
        if response.then == Then::Restart {
            // The answer must reach the host before the machine goes: closing then waits for the acknowledgement of every
            // byte (SO_LINGER, socket(7)), by the host's kernel and so without a delay of the client's.
            let linger = libc::linger { l_onoff: 1, l_linger: LAST_WORD_S };
            let _ = setsockopt(&writer, sockopt::Linger, &linger);
            drop((reader, writer));
            if options.stay {
                std::process::exit(0);
            }
            crate::init::end(options.power_off);
        }
        if close {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Result<Request, Bad> {
    let mut head = reader.by_ref().take(HEAD_LIMIT);
    let mut line = || -> Result<String, Bad> {
        let mut bytes = Vec::new();
        head.read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() && head.limit() > 0 {
            return Err(Bad::Gone);
        }
        if bytes.pop() != Some(b'\n') {
            return match head.limit() {
                0 => Err(Bad::Refused(431, "the request's head is too large")),
                _ => Err(Bad::Gone),
            };
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        String::from_utf8(bytes).map_err(|_| Bad::Refused(400, "the request's head is not UTF-8"))
    };
    let request_line = line()?;
    let mut words = request_line.split(' ');
    let (Some(method), Some(path), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad::Refused(400, "not a request line"));
    };
    let mut close = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(Bad::Refused(505, "HTTP/1.1 is spoken here")),
    };
    let mut length = 0;
    loop {
        let header = line()?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else {
            return Err(Bad::Refused(400, "a header without a colon"));
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value.trim().parse().map_err(|_| Bad::Refused(400, "content-length is no number"))?;
            }
            "transfer-encoding" => return Err(Bad::Refused(501, "a body needs a content-length")),
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
        return Err(Bad::Refused(413, "the request's body is too large"));
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
        read(&mut BufReader::new(text)).map_err(|bad| match bad {
            Bad::Gone => None,
            Bad::Refused(status, _) => Some(status),
        })
    }

    #[test]
    fn a_request_reads_as_what_it_is() {
        let request = status(b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/work"));
        assert_eq!((request.body.as_slice(), request.close), (b"{}".as_slice(), false));
        assert!(status(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap().close);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused_and_bounded() {
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
    fn a_request_cut_anywhere_is_no_request() {
        let whole = b"POST /work HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..whole.len() {
            assert!(status(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
