//! Requests for a static file over connections that stay open: each asks, waits for the whole answer, and asks again.
//!
//! A closed loop: the guest sets the pace, so that a slow answer delays the requests behind it and their latency does not count it
//! (Schroeder, Wierman and Harchol-Balter, "Open versus closed", NSDI 2006).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use microbench_agent::INDEX_SEED;
use microbench_agent::work::{Latency, pseudo_random};
use tokio::task::JoinSet;

use super::Measured;
use super::connection::Connection;
use crate::guest::client::{Guest, GuestError};
use crate::sys::clock::Instant;

/// What is asked, and the bytes that must come.
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

    /// Sends `warmup` requests that do not count, then `rounds` that do, over the same connections.
    pub(super) async fn send(&self, guest: &Guest, warmup: u32, rounds: u32) -> Result<Measured, GuestError> {
        let mut connections = Vec::new();
        for _ in 0..self.connections.min(rounds) {
            connections.push(Connection::open(guest, "GET /file").await?);
        }
        let (connections, _) = self.round(connections, warmup).await?;
        let begun = Instant::now();
        let (_, times) = self.round(connections, rounds).await?;
        let duration_ns = (Instant::now().0 - begun.0).max(1);
        Ok(Measured { duration_ns, latency: Latency::of(times), sha_ni: None })
    }

    /// So many requests in all: whichever connection is free sends the next. Returns the connections and the time of each request.
    async fn round(
        &self,
        connections: Vec<Connection>,
        requests: u32,
    ) -> Result<(Vec<Connection>, Vec<u64>), GuestError> {
        let next = Arc::new(AtomicU32::new(0));
        let mut all = JoinSet::new();
        for connection in connections {
            let (body, next) = (Arc::clone(&self.body), Arc::clone(&next));
            all.spawn(one_after_the_other(connection, body, next, requests));
        }
        let (mut free, mut times) = (Vec::new(), Vec::new());
        while let Some(ended) = all.join_next().await {
            let (connection, own) = ended.map_err(|error| GuestError::Connection {
                request: "GET /file",
                source: std::io::Error::other(error),
            })??;
            free.push(connection);
            times.extend(own);
        }
        Ok((free, times))
    }
}

async fn one_after_the_other(
    mut connection: Connection,
    body: Arc<[u8]>,
    next: Arc<AtomicU32>,
    requests: u32,
) -> Result<(Connection, Vec<u64>), GuestError> {
    let request = format!("GET /file?bytes={} HTTP/1.1\r\nhost: guest\r\n\r\n", body.len());
    let (mut found, mut times) = (vec![0; body.len()], Vec::new());
    while next.fetch_add(1, Ordering::Relaxed) < requests {
        let begun = Instant::now();
        connection.send(request.as_bytes()).await?;
        let length = connection.head().await?;
        if length != body.len() as u64 {
            return Err(connection.wrong(format!("the answer has {length} bytes, {} were asked for", body.len())));
        }
        connection.fill(&mut found).await?;
        times.push(Instant::now().0 - begun.0);
        if found[..] != body[..] {
            return Err(connection.wrong("the file has other bytes than it should have".into()));
        }
    }
    Ok((connection, times))
}
