//! The runtime as the node agent sees it: over CRI, with real containers from a busybox image.
//!
//! Needs root. Every test has an instance of its own (directories, bridge, rules, cgroups) and removes it whole.

mod world;

mod kubectl;
mod lifecycle;
mod limits;
mod network;
mod restart;
mod security;
mod speed;
mod streaming;
