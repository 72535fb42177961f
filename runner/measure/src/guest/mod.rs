//! The guest as the host sees it: its agent's service, its console, its ready datagram, errors of its kernel.

pub mod boot;
pub mod client;
pub mod console;
pub(crate) mod http;
pub mod kernel_errors;
pub mod ready_datagram;
pub mod response;
