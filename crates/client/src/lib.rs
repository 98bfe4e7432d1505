//! How everything but the API server speaks to the API server: calls as values, a transport (in process or
//! HTTP), typed and dynamic access, and caches that are prefixes of the one log.
//!
//! What decides ([`call`], [`watch`], [`cache`], [`caches`]) is pure; what waits ([`access`], [`reflector`],
//! [`http_transport`]) is thin.

pub mod access;
pub mod cache;
pub mod caches;
pub mod call;
pub mod config;
pub mod decoded;
pub mod discovery;
pub mod error;
pub mod http_transport;
pub mod reflector;
pub mod resource;
pub mod transport;
pub mod typed;
pub mod unverified;
pub mod watch;

pub use access::Client;
pub use cache::{Cache, Change, Feed, Key};
pub use caches::{Caches, View};
pub use call::{Call, DeleteOptions, ListOptions, PatchKind, Preconditions, Propagation};
pub use error::Error;
pub use resource::Resource;
pub use transport::{Body, Transport, TransportError};
pub use typed::Api;
