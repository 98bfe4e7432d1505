//! The seam below the cache: a revisioned key space.
//!
//! A back end makes transactions durable in one total order and feeds the cache with what happened, its own writes
//! and others' alike. The cache is fed by nothing else, so every back end has the same read path. The embedded
//! engine is one; etcd v3 fits the same seam (a transaction comparing `mod_revision`, one watch from the loaded
//! revision, with the resourceVersion put in on the way).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::entry::{Entry, Event, HeaderParser};
use crate::limits::Limits;
use crate::shared::{Shared, Woken};
use crate::state::State;
use crate::txn::{Done, Txn};

/// A place to keep objects.
pub trait Backend: Send {
    /// Loads what is there into the feed, and begins to take transactions.
    fn start(self: Box<Self>, feed: Feed) -> Result<Box<dyn Writer>, OpenError>;
}

/// A started back end. Dropping it finishes what was submitted and lets go of the place.
pub trait Writer: Send + Sync {
    /// Queues a transaction. Its outcome is sent once it is durable *and* visible in the cache.
    fn submit(&self, txn: Txn, done: Done);

    /// The history before this revision isn't needed any longer.
    fn compact(&self, revision: u64);
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store in {} is in use by process {pid}: stop it first, or choose another directory", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The other process, 0 when it is not known.
        pid: u32,
    },
    /// What is stored is damaged in a place that was acknowledged once.
    #[error("the store is damaged: {what} in {file}; restore the directory from a backup")]
    Corrupt {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A newer release wrote it.
    #[error("{file} has format {found}, this release reads up to {known}: use the release that wrote it")]
    Format {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// Reading or preparing the files failed.
    #[error("could not open the store: {0}")]
    Io(#[from] io::Error),
}

/// The back end's access to the cache.
#[derive(Clone)]
pub struct Feed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) parse: Arc<dyn HeaderParser>,
}

impl Feed {
    /// The store's limits.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The header of an object that came without one.
    pub fn parser(&self) -> &dyn HeaderParser {
        &*self.parse
    }

    /// What a key holds now.
    pub fn current(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared.read().get(key).cloned()
    }

    /// The newest revision that readers can see.
    pub fn revision(&self) -> u64 {
        self.shared.read().revision
    }

    /// Replaces the cache by live objects at a revision, with no history.
    pub fn load(&self, revision: u64, live: Vec<Arc<Entry>>) {
        let mut state = State::new(self.limits());
        state.load(revision, live);
        state.history.restart(revision);
        self.shared.install(state);
    }

    /// Makes durable events visible. They come in the order of their revisions, and continue the last ones. Watchers
    /// hear of them when the answer is dropped: whoever waits for the write itself should be told before.
    pub fn publish(&self, events: &[Arc<Event>]) -> Woken {
        self.shared.publish(events)
    }
}
