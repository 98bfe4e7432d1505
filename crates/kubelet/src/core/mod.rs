//! The pure core: what to do for a pod, as functions of data. No clock, files, sockets or tasks.
//!
//! [`next_ops`] is the entry. It reads the pod that is asked for, what [`Local`] remembers and observes, and `now`,
//! and returns a [`Plan`]: ops for the shell, events, the status to show, and when to look again.

pub mod actions;
pub mod admit;
pub mod backoff;
pub mod conditions;
pub mod container;
pub mod dns;
pub mod downward;
pub mod env;
pub mod evict;
pub mod images;
pub mod local;
pub mod machine;
pub mod observe;
pub mod ops;
pub mod patch;
pub mod phase;
pub mod podspec;
pub mod probe;
pub mod probing;
pub mod pulled;
pub mod qos;
pub mod resize;
pub mod resources;
pub mod restart;
pub mod restart_all;
pub mod sandbox;
pub mod security;
pub mod status;
pub mod termination;

pub use local::Local;
pub use machine::{NodeView, next_ops};
pub use observe::{Observed, PodObservation, Sandbox, State};
pub use ops::{Failure, Note, Op, Outcome, Plan};

#[cfg(test)]
mod tests;
