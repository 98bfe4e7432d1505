//! What could have been in `std`: backoff, time text, a seeded generator.
//!
//! Nothing here knows Kubernetes, and nothing here reads a clock or draws entropy: callers pass both in.

pub mod backoff;
pub mod duration;
pub mod rng;
pub mod websocket;

pub use backoff::Backoff;
pub use rng::Rng;
