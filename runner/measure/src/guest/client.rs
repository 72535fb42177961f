//! HTTP client of a guest's agent, based on reqwest. The start-up probe does not use it ([`crate::probe`]).
//!
//! The guest is untrusted. Every response is limited in size and time, must have a 2xx status, must carry the
//! VM's nonce, and must parse.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use microbench_agent::workload::{WorkloadReply, WorkloadRequest};
use microbench_agent::{NONCE_HEADER, Stats};
use reqwest::{Client, Method, redirect};
use serde::de::DeserializeOwned;
use tokio::runtime::{self, Handle, Runtime};

use crate::guest::http;

/// Largest response body that is accepted, bytes.
const BODY_LIMIT: usize = 256 << 10;

/// Request that runs a workload.
pub(crate) const POST_WORK: &str = "POST /work";

/// A request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The response did not arrive within the time limit.
    #[error("{request}: no response within {seconds} s")]
    Timeout {
        /// Method and path, for example `GET /stats`.
        request: &'static str,
        /// The time limit.
        seconds: u64,
    },
    /// The connection failed.
    #[error("{request}")]
    Transport { request: &'static str, source: reqwest::Error },
    /// A connection that carries timed traffic failed.
    #[error("{request}")]
    Connection { request: &'static str, source: io::Error },
    /// The response violates the protocol.
    #[error("{request}: {problem}")]
    Protocol { request: &'static str, problem: String },
}

/// Creates clients of agents. All of them share one thread, which runs their requests.
#[derive(Debug)]
pub struct AgentClients {
    runtime: Runtime,
    client: Client,
}

impl AgentClients {
    /// Starts the thread that runs the requests.
    ///
    /// # Errors
    /// Fails if the thread or the HTTP client cannot be created.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).thread_name("agents").enable_all().build();
        let client = http::builder().redirect(redirect::Policy::none()).build();
        Ok(Self {
            runtime: runtime.context("cannot start tokio")?,
            client: client.context("cannot create the HTTP client of the agents")?,
        })
    }

    /// Returns a client of the agent at `address`, whose responses must carry `nonce`. `workload` limits the
    /// time of a workload, `request` the time of any other request. The client works as long as `self`
    /// exists.
    #[must_use]
    pub fn client(&self, address: SocketAddr, nonce: &str, request: Duration, workload: Duration) -> AgentClient {
        let (handle, client) = (self.runtime.handle().clone(), self.client.clone());
        AgentClient {
            handle,
            client,
            address,
            nonce: nonce.to_owned(),
            request_timeout: request,
            workload_timeout: workload,
        }
    }
}

/// Client of one VM's agent.
#[derive(Debug)]
pub struct AgentClient {
    handle: Handle,
    client: Client,
    address: SocketAddr,
    nonce: String,
    request_timeout: Duration,
    workload_timeout: Duration,
}

impl AgentClient {
    /// Checks that the agent responds: `GET /`.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn check_responds(&self) -> Result<(), GuestError> {
        self.send("GET /", None).map(drop)
    }

    /// Reads the statistics of the guest: its kernel log, its machine, its clock.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn stats(&self) -> Result<Stats, GuestError> {
        self.json("GET /stats", None)
    }

    /// Runs a workload that the guest times itself.
    ///
    /// # Errors
    /// [`GuestError`].
    pub(crate) fn run_workload(&self, request: WorkloadRequest) -> Result<WorkloadReply, GuestError> {
        let body = serde_json::to_string(&request)
            .map_err(|error| GuestError::Protocol { request: POST_WORK, problem: error.to_string() })?;
        self.json(POST_WORK, Some(body))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Runs `traffic` within the time limit of a workload; `request` names it in errors. The calling thread
    /// runs the traffic itself, so that a measured time does not include the wake-up of another thread.
    pub(crate) fn run_timed_traffic<T>(
        &self,
        request: &'static str,
        traffic: impl Future<Output = Result<T, GuestError>>,
    ) -> Result<T, GuestError> {
        let failed = |source| GuestError::Connection { request, source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let timed_out = GuestError::Timeout { request, seconds: self.workload_timeout.as_secs() };
        runtime.block_on(async { tokio::time::timeout(self.workload_timeout, traffic).await.unwrap_or(Err(timed_out)) })
    }

    /// Requests the guest's shutdown. Returns when the response has arrived; the guest may still be running.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn shutdown(&self) -> Result<(), GuestError> {
        self.send("POST /shutdown", None).map(drop)
    }

    fn json<T: DeserializeOwned>(&self, request: &'static str, body: Option<String>) -> Result<T, GuestError> {
        let bytes = self.send(request, body)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| GuestError::Protocol { request, problem: format!("the response is not valid: {error}") })
    }

    /// Sends `request`, a method and a path, and returns the body of the response.
    fn send(&self, request: &'static str, body: Option<String>) -> Result<Vec<u8>, GuestError> {
        self.handle.block_on(self.exchange(request, body))
    }

    async fn exchange(&self, request: &'static str, body: Option<String>) -> Result<Vec<u8>, GuestError> {
        let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let timeout = if request == POST_WORK { self.workload_timeout } else { self.request_timeout };
        let failed = |source: reqwest::Error| {
            if source.is_timeout() {
                GuestError::Timeout { request, seconds: timeout.as_secs() }
            } else {
                GuestError::Transport { request, source }
            }
        };
        let invalid = |problem: String| GuestError::Protocol { request, problem };
        let mut call = self.client.request(method, format!("http://{}{path}", self.address)).timeout(timeout);
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body);
        }
        let mut response = call.send().await.map_err(failed)?;
        let status = response.status();
        match response.headers().get(NONCE_HEADER).map(|value| value.as_bytes() == self.nonce.as_bytes()) {
            Some(true) => {}
            Some(false) => return Err(invalid("the response carries another VM's nonce".into())),
            None => return Err(invalid("the response carries no nonce".into())),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(invalid(format!("the response has more than {BODY_LIMIT} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            return Err(invalid(format!("status {status}: {text}")));
        }
        Ok(bytes)
    }
}
