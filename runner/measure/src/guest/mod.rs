//! The host's view of a guest: its agent's HTTP service, its console, its ready datagram, its kernel errors.

pub mod boot_events;
pub mod bounds;
pub mod client;
pub mod console;
pub(crate) mod http;
pub mod kernel_errors;
pub mod ready_datagram;
pub mod response;
