//! Clients of HTTP on this machine: of guests' agents, and of VMMs' API sockets.

use std::sync::LazyLock;

use native_tls::TlsConnector;
use reqwest::{Client, ClientBuilder};

/// What reqwest would make for each client anew, reading every certificate of this machine: tens of milliseconds for each VM.
static TLS: LazyLock<Option<TlsConnector>> = LazyLock::new(|| TlsConnector::new().ok());

/// A builder of clients that keep one connection and take no proxy. Nothing is encrypted where they go.
pub(crate) fn builder() -> ClientBuilder {
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(1);
    match &*TLS {
        Some(connector) => builder.tls_backend_preconfigured(connector.clone()),
        None => builder,
    }
}
