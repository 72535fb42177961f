//! HTTP client of a VMM's API socket. Each VM has one client with one keep-alive connection; the caller's
//! thread runs it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::Context as _;
use microbench_study::engine::launch::LaunchCall;
use reqwest::{Client, Method};
use tokio::runtime::{self, Runtime};

use crate::guest::http;
use crate::sys::descriptor_path;

/// Largest part of an error response that is read, bytes.
const RESPONSE_LIMIT: usize = 64 << 10;

/// A call to a VMM's API failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{method} {path}: {status}: {message}")]
    Refused {
        method: String,
        path: String,
        status: u16,
        /// The VMM's error message.
        message: String,
    },
    /// The call got no response.
    #[error("{method} {path}")]
    Transport { method: String, path: String, source: reqwest::Error },
}

/// Client of one VMM's API socket.
#[derive(Debug)]
pub struct ApiClient {
    client: Client,
    runtime: Runtime,
    /// The descriptor whose entry in /proc the client connects to.
    socket: OwnedFd,
}

impl ApiClient {
    /// Creates a client without a socket, which need not exist yet.
    ///
    /// # Errors
    /// Fails if the client cannot be created.
    pub fn new() -> anyhow::Result<Self> {
        let socket = OwnedFd::from(File::open("/dev/null").context("cannot open /dev/null")?);
        // Not by the path of the socket: the VMM could replace it by a link to a socket of the host.
        let path = descriptor_path(socket.as_fd());
        // Firecracker accepts at most ten connections; a client needs one.
        let client = http::builder().unix_socket(path).build().context("cannot create the client of the VMM's API")?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
        Ok(Self { client, runtime, socket })
    }

    /// Makes `socket` that of all calls: a descriptor of the socket file ([`open`](super::socket::open)).
    ///
    /// # Errors
    /// That of `dup3(2)`.
    pub fn use_socket(&mut self, socket: &OwnedFd) -> io::Result<()> {
        Ok(rustix::io::dup3(socket, &mut self.socket, rustix::io::DupFlags::CLOEXEC)?)
    }

    /// Sends one call and waits for its response, at most `timeout`.
    ///
    /// # Errors
    /// [`ApiError`]
    pub fn call(&self, call: &LaunchCall, timeout: Duration) -> Result<(), ApiError> {
        self.runtime.block_on(send(&self.client, call, timeout))
    }
}

async fn send(client: &Client, call: &LaunchCall, timeout: Duration) -> Result<(), ApiError> {
    let transport = |source| ApiError::Transport { method: call.method.clone(), path: call.path.clone(), source };
    let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::PUT);
    let mut response = client
        .request(method, format!("http://localhost{}", call.path))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(call.body.clone())
        .timeout(timeout)
        .send()
        .await
        .map_err(transport)?;
    if response.status().is_success() {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        body.extend_from_slice(&chunk[..chunk.len().min(RESPONSE_LIMIT - body.len())]);
        if body.len() == RESPONSE_LIMIT {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let message = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| value.get("fault_message")?.as_str().map(str::to_owned))
        .unwrap_or(text);
    Err(ApiError::Refused {
        method: call.method.clone(),
        path: call.path.clone(),
        status: response.status().as_u16(),
        message,
    })
}
