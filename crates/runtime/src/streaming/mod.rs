//! The streaming server: exec, attach and port-forward over upgraded HTTP connections.
//!
//! A CRI call answers with a URL that holds a token for one use within a minute; whoever presents it gets the stream.
//! The node agent and the API server only pass bytes on. Protocols: WebSocket (`v5`, `v4` and `channel.k8s.io`, KEP-4006)
//! and SPDY/3.1, plain or, for port-forward, tunnelled in WebSocket. Source: `kubelet/pkg/cri/streaming`.

mod dictionary;
mod forward;
mod http;
mod session;
mod spdy;
mod spdy_session;
mod tokens;
mod websocket;
mod websocket_session;

pub(crate) use forward::Target;
pub(crate) use http::StreamServer;
pub(crate) use tokens::Streamed;
