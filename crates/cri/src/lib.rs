//! The container runtime interface, v1: its messages, one trait for whoever runs containers, and gRPC both ways.
//!
//! The node agent knows [`ContainerRuntime`] and nothing else of containers. Source: KEP-2040 (CRI v1) and
//! `cri-api/pkg/apis/runtime/v1/api.proto`.

mod client;
mod error;
mod runtime;
mod server;
mod v1;

pub use client::GrpcRuntime;
pub use error::{Code, CriError};
pub use runtime::{CallFuture, ContainerRuntime, EventStream};
pub use server::serve;
pub use v1::*;

/// The largest message either way: an `ExecSync` answer holds up to 16 MiB each of stdout and stderr.
pub const MESSAGE_LIMIT: usize = 40 * 1024 * 1024;
/// The most of each of stdout and stderr that `ExecSync` returns; the rest is read and dropped (CVE-2022-31030).
pub const EXEC_OUTPUT_LIMIT: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
