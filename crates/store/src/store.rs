//! The store as its users see it.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::{Backend, Feed, OpenError, Writer};
use crate::entry::{Entry, HeaderParser};
use crate::limits::{Limits, MAX_KEY_BYTES, MAX_OBJECT_BYTES};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::state::{Listing, RevisionError};
use crate::txn::{Outcome, Pending, Txn, TxnError, Write};
use crate::watch::Watcher;

/// A revisioned key space: transactions with a precondition, lists at a revision, watches from a revision.
/// Cheap to clone; the last handle dropped closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    // In an Option so that it can be stopped before the watches end.
    writer: Option<Box<dyn Writer>>,
}

impl Store {
    /// Opens a back end, and loads everything that is in it.
    pub fn open(
        backend: Box<dyn Backend>,
        parse: Arc<dyn HeaderParser>,
        limits: Limits,
    ) -> Result<Store, OpenError> {
        let shared = Arc::new(Shared::new(limits));
        let writer = backend.start(Feed { shared: Arc::clone(&shared), parse })?;
        Ok(Store(Arc::new(Inner { shared, writer: Some(writer) })))
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.0.shared.read().revision
    }

    /// The oldest revision that lists and watches can still start from.
    pub fn oldest_revision(&self) -> u64 {
        self.0.shared.read().history.compacted()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.shared.read().len()
    }

    /// True when there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Commits a transaction; it is durable and visible when this returns. Blocks the thread: async shells use
    /// [`Store::begin`].
    pub fn commit(&self, txn: Txn) -> Outcome {
        self.begin(txn).wait()
    }

    /// Queues a transaction and returns at once. The outcome can be awaited; many that wait share one sync.
    pub fn begin(&self, txn: Txn) -> Pending {
        let (done, pending) = Pending::new();
        match (self.refusal(&txn), &self.0.writer) {
            (Some(error), _) => done.finish(Err(error)),
            (None, Some(writer)) => writer.submit(txn, done),
            (None, None) => done.finish(Err(TxnError::Closed)),
        }
        pending
    }

    fn refusal(&self, txn: &Txn) -> Option<TxnError> {
        let size = match &txn.write {
            Write::Put(encoded) | Write::Delete(Some(encoded)) => encoded.len(),
            Write::Delete(None) => 0,
        };
        let limit = self.0.shared.limits.object_bytes.min(MAX_OBJECT_BYTES);
        if size > limit {
            return Some(TxnError::TooLarge { size, limit });
        }
        (txn.key.len() > MAX_KEY_BYTES)
            .then(|| TxnError::TooLarge { size: txn.key.len(), limit: MAX_KEY_BYTES })
    }

    /// What a key holds.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.0.shared.read().get(key).cloned()
    }

    /// The objects under a prefix that ends in `/` (any other text is one exact key), in the order of their keys,
    /// now or at an exact older revision: at most `limit` of them (0: all), after the key `start_after`.
    pub fn list(
        &self,
        prefix: &str,
        at: Option<u64>,
        start_after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, RevisionError> {
        self.0.shared.read().list(prefix, at, start_after, limit)
    }

    /// Every event under the prefix after revision `from`. A revision that is not reached yet is waited for.
    pub fn watch(&self, prefix: &str, from: u64) -> Result<Watcher, RevisionError> {
        self.watch_scope(Scope::new(prefix), from)
    }

    /// As [`Store::watch`], for the objects whose header has this value in this field now or had it just before.
    /// Others' events don't even wake the watcher, as for the pods of one of many nodes.
    pub fn watch_field(
        &self,
        prefix: &str,
        from: u64,
        field: &str,
        value: &str,
    ) -> Result<Watcher, RevisionError> {
        let field = Some((field.into(), value.into()));
        self.watch_scope(Scope { prefix: prefix.into(), field }, from)
    }

    fn watch_scope(&self, scope: Scope, from: u64) -> Result<Watcher, RevisionError> {
        let state = self.0.shared.read();
        state.check(from.min(state.revision))?;
        Ok(Watcher::new(Arc::clone(&self.0.shared), scope, from, &state))
    }

    /// Objects whose time ([`crate::Encoded::expires`]) is over, the longest overdue first. The caller deletes
    /// them, expecting their revisions.
    pub fn expired(&self, unix_seconds: u64, limit: usize) -> Vec<Arc<Entry>> {
        self.0.shared.read().expired(unix_seconds, limit)
    }

    /// Drops the history up to a revision: lists and watches can't start before it any longer.
    pub fn compact(&self, revision: u64) {
        self.0.shared.compact(revision);
        if let Some(writer) = &self.0.writer {
            writer.compact(revision);
        }
    }

    /// Tells the time, so that history older than [`Limits::history_age`] is dropped. Optional: without it the
    /// history is bounded by count and bytes alone.
    pub fn tick(&self, now: Instant) {
        self.0.shared.tick(now);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.writer.take());
        self.shared.close();
    }
}
