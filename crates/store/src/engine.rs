//! The embedded engine: decides transactions one after the other, and has a batch of them logged with one sync.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backend::Feed;
use crate::entry::{Entry, Event, EventKind};
use crate::txn::{Committed, Done, Expect, Outcome, Txn, TxnError, Write};

/// What makes a batch durable.
pub(crate) trait Log: Send {
    /// Returns when the events are durable, all of them; after an error none may be acknowledged.
    fn append(&mut self, events: &[Arc<Event>]) -> Result<(), LogError>;

    /// The batch is visible; time for housekeeping that must not delay its acknowledgement.
    fn settled(&mut self, _feed: &Feed) -> Result<(), LogError> {
        Ok(())
    }
}

/// Why a batch is not durable.
#[derive(Debug)]
pub(crate) enum LogError {
    /// The disk is full, and the log is as it was before.
    NoSpace,
    /// The log's end is in an unknown state: nothing may be written after it.
    Broken(Arc<str>),
}

/// The log of a store that lives in memory only.
pub(crate) struct NoLog;

impl Log for NoLog {
    fn append(&mut self, _events: &[Arc<Event>]) -> Result<(), LogError> {
        Ok(())
    }
}

pub(crate) struct Engine<L> {
    feed: Feed,
    pub(crate) log: L,
    failed: Option<Arc<str>>,
}

/// A batch under decision: what its earlier transactions did is what its later ones see.
struct Batch<'a> {
    feed: &'a Feed,
    revision: u64,
    events: Vec<Arc<Event>>,
    pending: HashMap<Box<str>, Option<Arc<Entry>>>,
}

impl<L: Log> Engine<L> {
    pub(crate) fn new(feed: Feed, log: L) -> Engine<L> {
        Engine { feed, log, failed: None }
    }

    /// Runs a batch to its end: decide, log, publish, answer.
    pub(crate) fn run(&mut self, txns: Vec<(Txn, Done)>) {
        if let Some(reason) = &self.failed {
            for (_, done) in txns {
                done.finish(Err(TxnError::ReadOnly(Arc::clone(reason))));
            }
            return;
        }
        let revision = self.feed.revision();
        let mut batch = Batch { feed: &self.feed, revision, events: Vec::new(), pending: HashMap::new() };
        let decided: Vec<(Done, Outcome)> =
            txns.into_iter().map(|(txn, done)| (done, batch.decide(txn))).collect();
        let events = batch.events;
        let logged = if events.is_empty() { Ok(()) } else { self.log.append(&events) };
        let (failure, woken) = match logged {
            Ok(()) => (None, Some(self.feed.publish(&events))),
            Err(LogError::NoSpace) => (Some(TxnError::NoSpace), None),
            Err(LogError::Broken(reason)) => {
                self.failed = Some(Arc::clone(&reason));
                (Some(TxnError::Io(reason)), None)
            }
        };
        for (done, outcome) in decided {
            // A conflict may rest on a write of this very batch, so it fails with it.
            done.finish(failure.clone().map_or(outcome, Err));
        }
        // Writers first: each is one request that waits, and most of the watchers are nobody's request.
        drop(woken);
        if self.failed.is_none()
            && let Err(LogError::Broken(reason)) = self.log.settled(&self.feed)
        {
            self.failed = Some(reason);
        }
    }
}

impl Batch<'_> {
    fn decide(&mut self, txn: Txn) -> Outcome {
        let current = match self.pending.get(txn.key.as_str()) {
            Some(pending) => pending.clone(),
            None => self.feed.current(&txn.key),
        };
        let holds = match txn.expect {
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current.as_ref().is_some_and(|entry| entry.revision == revision),
            Expect::Any => true,
        };
        if !holds {
            return Err(TxnError::Conflict { current });
        }
        let revision = self.revision + 1;
        let created = current.as_ref().map_or(revision, |entry| entry.create_revision);
        let (kind, entry) = match (txn.write, &current) {
            (Write::Put(encoded), _) => (EventKind::Put, encoded.into_entry(&txn.key, revision, created)),
            (Write::Delete(_), None) => return Err(TxnError::Conflict { current }),
            (Write::Delete(None), Some(last)) => (EventKind::Delete, last.tombstone(revision)),
            (Write::Delete(Some(encoded)), Some(_)) => {
                (EventKind::Delete, encoded.into_entry(&txn.key, revision, created))
            }
        };
        self.revision = revision;
        let entry = Arc::new(entry);
        let live = (kind == EventKind::Put).then(|| Arc::clone(&entry));
        self.pending.insert(entry.key.clone(), live);
        self.events.push(Arc::new(Event { kind, entry: Arc::clone(&entry), prev: current.clone() }));
        Ok(Committed { revision, entry, prev: current })
    }
}
