//! The HTTP client of a VMM's API socket: one client a VM, one keep-alive connection, and no thread but the caller's.

use std::time::Duration;

use anyhow::Context as _;
use microbench_study::engine::launch::LaunchCall;
use reqwest::{Client, Method};
use tokio::runtime::{self, Runtime};

use crate::guest::http;

/// Most bytes read of an error answer.
const ANSWER_LIMIT: usize = 64 << 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The VMM answered, and refused.
    #[error("{method} {path}: {status}: {message}")]
    Refused {
        /// HTTP method.
        method: String,
        /// Path of the resource.
        path: String,
        /// HTTP status.
        status: u16,
        /// The VMM's own words.
        message: String,
    },
    /// No answer.
    #[error("{method} {path}")]
    Transport {
        /// HTTP method.
        method: String,
        /// Path of the resource.
        path: String,
        /// Cause.
        source: reqwest::Error,
    },
}

/// A client of one VMM's socket.
#[derive(Debug)]
pub struct ApiClient {
    client: Client,
    runtime: Runtime,
}

impl ApiClient {
    /// A client of the socket at `path`, which need not exist yet.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub fn new(path: &str) -> anyhow::Result<Self> {
        // Firecracker serves ten connections at most; one a VM is enough.
        let client = http::builder().unix_socket(path).build().context("cannot set up the client of the API")?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
        Ok(Self { client, runtime })
    }

    /// Makes one call within `timeout`.
    ///
    /// # Errors
    /// [`ApiError`]; the answer of a refusal is read up to a limit.
    pub fn call(&self, call: &LaunchCall, timeout: Duration) -> Result<(), ApiError> {
        self.runtime.block_on(ask(&self.client, call, timeout))
    }
}

async fn ask(client: &Client, call: &LaunchCall, timeout: Duration) -> Result<(), ApiError> {
    let transport = |source| ApiError::Transport { method: call.method.clone(), path: call.path.clone(), source };
    let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::PUT);
    let mut answer = client
        .request(method, format!("http://localhost{}", call.path))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(call.body.clone())
        .timeout(timeout)
        .send()
        .await
        .map_err(transport)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(transport)? {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_LIMIT - body.len())]);
        if body.len() == ANSWER_LIMIT {
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
        status: answer.status().as_u16(),
        message,
    })
}
