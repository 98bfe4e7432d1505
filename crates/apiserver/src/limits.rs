//! Every bound of the server, by name (invariant 4: on overflow the reader gets 410, 413 or 429, never the writer a
//! stall).

use std::time::Duration;

/// Bytes of a request body (`MaxRequestBodyBytes`).
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// Bytes of a longer body that are read to be thrown away.
pub const MAX_DISCARDED: usize = 64 * 1024 * 1024;
/// Bytes of a request's header lines.
pub const MAX_HEADERS: usize = 1024 * 1024;
/// Header lines of a request.
pub const MAX_HEADER_LINES: usize = 128;
/// Parameters in a query.
pub const MAX_QUERY_PAIRS: usize = 256;
/// Segments in a path.
pub const MAX_PATH_SEGMENTS: usize = 128;
/// Nesting of a request's document.
pub const MAX_DEPTH: usize = 512;
/// Requests that read, at one time (`--max-requests-inflight`).
pub const MAX_READS_IN_FLIGHT: usize = 400;
/// Requests that write, at one time (`--max-mutating-requests-inflight`).
pub const MAX_WRITES_IN_FLIGHT: usize = 200;
/// Requests of the system itself (nodes, controllers, administrators): beside the two above, so that users
/// can't lock the system out.
pub const MAX_SYSTEM_IN_FLIGHT: usize = 400;
/// Watches and tunnels at one time.
pub const MAX_LONG_RUNNING: usize = 100_000;
/// What a client is told to wait for after a 429.
pub const RETRY_AFTER_SECONDS: u64 = 1;
/// Time that a request may take, unless it is long-running (`--request-timeout`).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Tries of a patch whose target changes under it (`maxRetryWhenPatchConflicts`).
pub const MAX_PATCH_TRIES: usize = 5;
/// Tries of a write that isn't conditioned on a revision.
pub const MAX_WRITE_TRIES: usize = 64;
/// Tries to find a free generated name (`maxNameGenerationCreateAttempts`).
pub const MAX_NAME_TRIES: usize = 8;
/// Bytes after which a streamed body is handed on.
pub const CHUNK: usize = 64 * 1024;
/// Seconds between the bookmarks of a watch.
pub const BOOKMARK_SECONDS: i64 = 60;
/// Shortest time after which a watch without `timeoutSeconds` ends (`--min-request-timeout`); the longest is
/// twice that.
pub const MIN_WATCH_SECONDS: u64 = 1800;
/// Longest watch that a client can ask for.
pub const MAX_WATCH_SECONDS: u64 = 24 * 3600;
/// Time to end open requests at shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at one time.
pub const MAX_CONNECTIONS: usize = 20_000;
/// Streams of one HTTP/2 connection.
pub const MAX_HTTP2_STREAMS: u32 = 1000;
/// Bytes of one request's body that a client may send before we have read them.
pub const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
/// The same for a connection. Half of it is also how much framing overhead of small bodies a connection may have waiting
/// before it is taken for an attack, so hundreds of clients on one connection need more than the default of 64 KiB.
pub const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;
/// Versions of one custom resource that are served.
pub const MAX_CRD_VERSIONS: usize = 64;
/// OpenAPI documents that are kept.
pub const MAX_OPENAPI_DOCUMENTS: usize = 64;
/// Objects of a deleted definition that one turn deletes.
pub const MAX_FINISHED: usize = 500;
/// Time to reach a kubelet or a pod.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to wait for what admission would miss. Upstream waits up to two seconds.
pub const AWAIT_TIMEOUT: Duration = Duration::from_secs(2);
