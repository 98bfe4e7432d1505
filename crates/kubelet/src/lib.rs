//! The node agent: runs the pods that are bound to its node, through the container runtime interface and nothing
//! else, and tells the API of them.
//!
//! [`core`] decides and is pure; everything else waits, and decides nothing.

pub mod core;
