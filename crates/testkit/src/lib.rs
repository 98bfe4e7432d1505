//! Fixtures for tests: a whole API server in memory with a time and names of its own, and manifests.

pub mod manifests;
pub mod server;
pub mod time;

pub use server::{SeededUids, server};
pub use time::VirtualClock;
