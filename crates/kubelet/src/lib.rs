//! The node agent: runs the pods that are bound to its node, through the container runtime interface and nothing
//! else, and tells the API of them.
//!
//! [`core`] decides and is pure; everything else waits, and decides nothing. [`run`] is the whole agent.

pub mod core;
pub mod fake;
mod logs;
mod server;
mod shell;
mod tls;
mod volumes;

pub use shell::{Config, DEFAULT_PORT, Error, Reserve, ServerTls, Thresholds, run};
