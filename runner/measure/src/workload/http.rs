//! HTTP load: requests for a static file over keep-alive connections. Each connection waits for the complete
//! response before it sends its next request.
//!
//! This is a closed loop: the guest sets the pace, and a slow response delays the next requests without
//! adding to their latency. See Schroeder, Wierman and Harchol-Balter, "Open versus closed", NSDI 2006.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use microbench_agent::INDEX_SEED;
use microbench_agent::workload::{Latency, pseudo_random};
use tokio::task::JoinSet;

use super::Measurement;
use super::connection::Connection;
use crate::guest::client::{AgentClient, GuestError};
use crate::sys::clock::Instant;

/// Requests for a file whose content is known.
#[derive(Debug)]
pub(super) struct Requests {
    connections: u32,
    body: Arc<[u8]>,
}

impl Requests {
    pub(super) fn new(bytes: u64, connections: u32) -> Self {
        let body = pseudo_random(usize::try_from(bytes).unwrap_or(0), INDEX_SEED);
        Self { connections, body: body.into() }
    }

    /// Sends `warmup` requests that are not timed, then `rounds` timed ones over the same connections.
    pub(super) async fn run(&self, guest: &AgentClient, warmup: u32, rounds: u32) -> Result<Measurement, GuestError> {
        let mut connections = Vec::new();
        for _ in 0..self.connections.min(rounds) {
            connections.push(Connection::open(guest, "GET /file").await?);
        }
        let (connections, _) = self.send_requests(connections, warmup).await?;
        let started_at = Instant::now();
        let (_, times) = self.send_requests(connections, rounds).await?;
        let duration_ns = (Instant::now().0 - started_at.0).max(1);
        Ok(Measurement { duration_ns, latency: Latency::from_durations(times), sha_ni: None })
    }

    /// Sends `requests` requests in total; each connection that is free sends the next one. Returns the
    /// connections and the latency of each request, ns.
    async fn send_requests(
        &self,
        connections: Vec<Connection>,
        requests: u32,
    ) -> Result<(Vec<Connection>, Vec<u64>), GuestError> {
        let next = Arc::new(AtomicU32::new(0));
        let mut all = JoinSet::new();
        for connection in connections {
            let (body, next) = (Arc::clone(&self.body), Arc::clone(&next));
            all.spawn(request_loop(connection, body, next, requests));
        }
        let (mut free, mut times) = (Vec::new(), Vec::new());
        while let Some(joined) = all.join_next().await {
            let (connection, latencies) = joined.map_err(|error| GuestError::Connection {
                request: "GET /file",
                source: std::io::Error::other(error),
            })??;
            free.push(connection);
            times.extend(latencies);
        }
        Ok((free, times))
    }
}

async fn request_loop(
    mut connection: Connection,
    body: Arc<[u8]>,
    next: Arc<AtomicU32>,
    requests: u32,
) -> Result<(Connection, Vec<u64>), GuestError> {
    let request = format!("GET /file?bytes={} HTTP/1.1\r\nhost: guest\r\n\r\n", body.len());
    let (mut found, mut times) = (vec![0; body.len()], Vec::new());
    while next.fetch_add(1, Ordering::Relaxed) < requests {
        let started_at = Instant::now();
        connection.send(request.as_bytes()).await?;
        let length = connection.read_head().await?;
        if length != body.len() as u64 {
            return Err(connection.protocol_error(format!("the response has {length} bytes instead of {}", body.len())));
        }
        connection.read_body(&mut found).await?;
        times.push(Instant::now().0 - started_at.0);
        if found[..] != body[..] {
            return Err(connection.protocol_error("the content of the file is wrong".into()));
        }
    }
    Ok((connection, times))
}
