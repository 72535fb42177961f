//! The head of an HTTP answer, read from bytes that a guest sent: it is bounded, and it is this VM's own.

use microbench_formats::describe::one_line;

/// Most bytes of the head of an answer.
pub const HEAD_LIMIT: usize = 8 << 10;

/// The head of a 200 that carries the right nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where its body begins.
    pub body: usize,
    /// Bytes of its body, as it announces them.
    pub length: u64,
}

/// The head that `answer` begins with, as the answer to `request` (`GET /`); `None` where it is not complete yet.
///
/// # Errors
/// Why it is no good answer of this VM's agent, in words.
pub fn head(answer: &[u8], request: &str, nonce: &str) -> Result<Option<Head>, String> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        if answer.len() > HEAD_LIMIT {
            return Err(format!("the guest's answer has a head of more than {HEAD_LIMIT} bytes"));
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split("\r\n").next().unwrap_or_default();
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the guest answered `{}` to {request}", one_line(status, 80)));
    }
    match header(microbench_agent::NONCE_HEADER) {
        Some(value) if value == nonce => {}
        Some(_) => return Err("the answer carries another VM's nonce".into()),
        None => return Err("the answer carries no nonce".into()),
    }
    let length = header("content-length").and_then(|value| value.parse().ok());
    let length = length.ok_or("the answer has no content-length")?;
    Ok(Some(Head { body: end + 4, length }))
}
