//! The Kubernetes API server: what is asked of it over HTTP becomes reads and writes of the one log.
//!
//! A request is a function of functions: parse → authenticate → authorize → flow control → read | watch | write
//! ([`stage`], `route`); a write is decode → default → mutate-admit → strategy → prune and validate → validate-admit →
//! commit → encode (`write`, `create`, `update`, `delete`). The core takes its time and its entropy from outside and
//! waits for nothing but commits; sockets and timers are in `serve`, `shell`, `body` and `proxy`.
//!
//! Absent on purpose: handlers for single kinds (kinds are data, in `registry`), caches that could be stale (the store is
//! in memory), and any way to a stored object around authorization and admission.

mod accept;
mod body;
mod bootstrap;
mod catalog;
mod change;
pub mod clock;
mod codec;
mod connect;
mod create;
mod custom;
mod decode;
mod delete;
mod discovery;
mod feed;
mod filter;
mod flow;
mod headers;
mod hooks;
pub mod limits;
mod list;
mod log_options;
mod metadata;
mod metrics;
mod model;
mod objects;
mod openapi;
mod plain;
mod pretty;
mod protobuf;
mod proxy;
mod query;
mod render;
mod reply;
mod request;
mod review;
mod route;
mod scale;
mod serve;
mod server;
mod service;
mod shell;
mod special;
mod stage;
#[cfg(test)]
mod tests;
mod token_secret;
mod transport;
mod update;
mod watch;
mod websocket;
mod write;
mod yaml;

pub use body::{BodyError, ReplyBody};
pub use headers::Headers;
pub use plain::VERSION;
pub use server::{ApiServer, Config};
pub use stage::Peer;
