//! The client of a guest's agent, over reqwest: everything but the start-up probe.
//!
//! The guest is hostile: every answer is bounded in size and time, must be a 2xx, must carry the VM's nonce, must parse.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use microbench_agent::work::{WorkReply, WorkRequest};
use microbench_agent::{NONCE_HEADER, Stats};
use reqwest::{Client, Method, redirect};
use serde::de::DeserializeOwned;
use tokio::runtime::{self, Handle, Runtime};

use crate::guest::http;

/// Most bytes read of an answer's body.
const BODY_LIMIT: usize = 256 << 10;

/// The request for work.
pub(crate) const WORK: &str = "POST /work";

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// No answer in time.
    #[error("{request}: no answer within {seconds} s")]
    Timeout {
        /// The request, as `GET /stats`.
        request: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The connection failed.
    #[error("{request}")]
    Transport {
        /// The request.
        request: &'static str,
        /// Cause.
        source: reqwest::Error,
    },
    /// A connection of timed traffic failed.
    #[error("{request}")]
    Connection {
        /// The request.
        request: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// The answer breaks the protocol.
    #[error("{request}: {problem}")]
    Protocol {
        /// The request.
        request: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
}

/// Clients of agents: one thread waits for what the agents of all guests answer.
#[derive(Debug)]
pub struct Agents {
    runtime: Runtime,
    client: Client,
}

impl Agents {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it or the client cannot be had.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).thread_name("agents").enable_all().build();
        let client = http::builder().redirect(redirect::Policy::none()).build();
        Ok(Self {
            runtime: runtime.context("cannot start tokio")?,
            client: client.context("cannot set up the agents' client")?,
        })
    }

    /// A client for the agent at `address`, whose answers must carry `nonce`; work may take `work`, every other request `request`. It is of use
    /// as long as this lasts.
    #[must_use]
    pub fn guest(&self, address: SocketAddr, nonce: &str, request: Duration, work: Duration) -> Guest {
        let (handle, client) = (self.runtime.handle().clone(), self.client.clone());
        Guest { handle, client, address, nonce: nonce.to_owned(), request, work }
    }
}

/// A client of one VM's agent.
#[derive(Debug)]
pub struct Guest {
    handle: Handle,
    client: Client,
    address: SocketAddr,
    nonce: String,
    request: Duration,
    work: Duration,
}

impl Guest {
    /// That it still answers: `GET /`.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn answers(&self) -> Result<(), GuestError> {
        self.send("GET /", None).map(drop)
    }

    /// The kernel log and the machine as the guest sees them.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn stats(&self) -> Result<Stats, GuestError> {
        self.json("GET /stats", None)
    }

    /// Has the guest work, and time itself.
    ///
    /// # Errors
    /// [`GuestError`].
    pub(crate) fn work(&self, work: WorkRequest) -> Result<WorkReply, GuestError> {
        let body = serde_json::to_string(&work)
            .map_err(|error| GuestError::Protocol { request: WORK, problem: error.to_string() })?;
        self.json(WORK, Some(body))
    }

    /// Where the agent listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its answers must carry.
    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// What `traffic` gives, within the time that work may take; `request` names it in errors. This thread alone waits for it: what is timed
    /// here does not wait until another thread has woken.
    pub(crate) fn in_time<T>(
        &self,
        request: &'static str,
        traffic: impl Future<Output = Result<T, GuestError>>,
    ) -> Result<T, GuestError> {
        let failed = |source| GuestError::Connection { request, source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let late = GuestError::Timeout { request, seconds: self.work.as_secs() };
        runtime.block_on(async { tokio::time::timeout(self.work, traffic).await.unwrap_or(Err(late)) })
    }

    /// Asks the guest to end. Returns when the answer is there.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn shutdown(&self) -> Result<(), GuestError> {
        self.send("POST /shutdown", None).map(drop)
    }

    fn json<T: DeserializeOwned>(&self, request: &'static str, body: Option<String>) -> Result<T, GuestError> {
        let bytes = self.send(request, body)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| GuestError::Protocol { request, problem: format!("the answer does not parse: {error}") })
    }

    /// Sends a request, `METHOD PATH`, and returns the body of its answer.
    fn send(&self, request: &'static str, body: Option<String>) -> Result<Vec<u8>, GuestError> {
        self.handle.block_on(self.ask(request, body))
    }

    async fn ask(&self, request: &'static str, body: Option<String>) -> Result<Vec<u8>, GuestError> {
        let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let timeout = if request == WORK { self.work } else { self.request };
        let failed = |source: reqwest::Error| {
            if source.is_timeout() {
                GuestError::Timeout { request, seconds: timeout.as_secs() }
            } else {
                GuestError::Transport { request, source }
            }
        };
        let wrong = |problem: String| GuestError::Protocol { request, problem };
        let mut call = self.client.request(method, format!("http://{}{path}", self.address)).timeout(timeout);
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body);
        }
        let mut answer = call.send().await.map_err(failed)?;
        let status = answer.status();
        match answer.headers().get(NONCE_HEADER).map(|value| value.as_bytes() == self.nonce.as_bytes()) {
            Some(true) => {}
            Some(false) => return Err(wrong("the answer carries another VM's nonce".into())),
            None => return Err(wrong("the answer carries no nonce".into())),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(wrong(format!("the answer has more than {BODY_LIMIT} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            return Err(wrong(format!("status {status}: {text}")));
        }
        Ok(bytes)
    }
}
