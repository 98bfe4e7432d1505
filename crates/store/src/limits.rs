//! The named numbers that bound the store.

use std::time::Duration;

/// What a store may hold on to. The defaults suit one machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many events the history keeps for watches and for pages at older revisions.
    pub history_events: usize,
    /// How many bytes of replaced and deleted objects the history keeps alive.
    pub history_bytes: usize,
    /// How long the history reaches back, where the caller tells the time by [`crate::Store::tick`].
    pub history_age: Duration,
    /// How many transactions may wait for the log.
    pub queued_txns: usize,
    /// How large one object may be. Upstream's request limit is 3 MiB (apiserver, MaxRequestBodyBytes).
    pub object_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            history_events: 128 * 1024,
            history_bytes: 32 * 1024 * 1024,
            history_age: Duration::from_secs(5 * 60),
            queued_txns: 8 * 1024,
            object_bytes: 4 * 1024 * 1024,
        }
    }
}

/// The longest key: five segments of at most 253 bytes fit easily.
pub(crate) const MAX_KEY_BYTES: usize = 2 * 1024;
/// No limit on objects goes beyond this, so that a batch always fits its frame.
pub(crate) const MAX_OBJECT_BYTES: usize = 256 * 1024 * 1024;
/// How many events a watcher takes out of the history at once.
pub(crate) const WATCH_BATCH: usize = 256;
/// How many transactions share one sync.
pub(crate) const MAX_BATCH_TXNS: usize = 1024;
/// How many bytes of objects share one sync.
pub(crate) const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
