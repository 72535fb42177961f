//! Parser of the head of an HTTP response from a guest. It limits the size and checks the VM's nonce.

use microbench_formats::describe::one_line;

/// Largest size of a response's head, bytes.
pub const HEAD_LIMIT: usize = 8 << 10;

/// ResponseHead of a response with status 200 and the expected nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Offset of the body in the response, bytes.
    pub body: usize,
    /// Length of the body according to `content-length`, bytes.
    pub length: u64,
}

/// Parses the head at the beginning of `response`; returns `None` while it is incomplete. `request`, for
/// example `GET /`, names the request in errors.
///
/// ```
/// use microbench_measure::guest::response::parse_head;
///
/// let response = b"HTTP/1.1 200 OK\r\nx-microbench-nonce: abc\r\ncontent-length: 2\r\n\r\nhi";
/// let head = parse_head(response, "GET /", "abc").unwrap().expect("a complete head");
/// assert_eq!((&response[head.body..], head.length), (&b"hi"[..], 2));
/// assert!(parse_head(response, "GET /", "other").is_err());
/// assert_eq!(parse_head(&response[..20], "GET /", "abc"), Ok(None));
/// ```
///
/// # Errors
/// Returns a message if the head is too long, the status is not 200, or the nonce or the length is missing or
/// wrong.
pub fn parse_head(response: &[u8], request: &str, nonce: &str) -> Result<Option<ResponseHead>, String> {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        if response.len() > HEAD_LIMIT {
            return Err(format!("the head of the guest's response has more than {HEAD_LIMIT} bytes"));
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&response[..end]);
    let status = head.split("\r\n").next().unwrap_or_default();
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the guest responded with `{}` to {request}", one_line(status, 80)));
    }
    match header(microbench_agent::NONCE_HEADER) {
        Some(value) if value == nonce => {}
        Some(_) => return Err("the response carries another VM's nonce".into()),
        None => return Err("the response carries no nonce".into()),
    }
    let length = header("content-length").and_then(|value| value.parse().ok());
    let length = length.ok_or("the response has no valid content-length")?;
    Ok(Some(ResponseHead { body: end + 4, length }))
}
