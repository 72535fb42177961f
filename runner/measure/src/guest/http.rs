//! HTTP clients for servers on this machine: agents of guests, and API sockets of VMMs.

use std::sync::LazyLock;

use native_tls::TlsConnector;
use reqwest::{Client, ClientBuilder};

/// TLS backend that all clients share. reqwest would create one per client and parse every root certificate
/// of the machine each time. That costs tens of milliseconds per VM.
static TLS: LazyLock<Option<TlsConnector>> = LazyLock::new(|| TlsConnector::new().ok());

/// Returns a builder of clients that keep one connection alive and use no proxy. No connection is encrypted.
pub(crate) fn builder() -> ClientBuilder {
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(1);
    match &*TLS {
        Some(connector) => builder.tls_backend_preconfigured(connector.clone()),
        None => builder,
    }
}
