//! The embedded back end: a checksummed log with snapshots, in a directory of its own.
//!
//! `files.rs` is the seam to the file system, `frame.rs` and `record.rs` the format, `journal.rs` the log,
//! `snapshot.rs` and `checkpoint.rs` what keeps it short, `recover.rs` what a start does.
//! Why not a library: docs/adr/0001-store-engine.md.

mod checkpoint;
mod files;
mod frame;
mod journal;
mod names;
mod record;
mod recover;
#[cfg(test)]
mod sim;
mod simulated;
mod snapshot;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::backend::{Backend, Feed, OpenError, Writer};
use crate::engine::{Engine, Log, LogError};
use crate::entry::Event;
use crate::queue::EngineThread;

pub use simulated::{SimDisk, Simulated};

use checkpoint::{Checkpoint, Checkpointed};
use files::{Directory, Files};
use journal::{Journal, Sizes};

/// A directory on a local disk. What is acknowledged was synced; what was acknowledged is there after kill −9 and
/// power loss. One process at a time can open it.
#[derive(Clone, Debug)]
pub struct Embedded {
    dir: PathBuf,
    sizes: Sizes,
}

impl Embedded {
    /// Nothing is touched before the store is opened.
    pub fn new(dir: impl Into<PathBuf>) -> Embedded {
        Embedded { dir: dir.into(), sizes: Sizes::default() }
    }
}

impl Backend for Embedded {
    fn start(self: Box<Self>, feed: Feed) -> Result<Box<dyn Writer>, OpenError> {
        let files: Arc<dyn Files> = Arc::new(Directory::new(&self.dir)?);
        files.lock()?;
        let journal = recover::recover(files, &feed, self.sizes)?;
        let limit = feed.limits().queued_txns;
        let log = Background { journal, running: None, stop: Arc::default() };
        Ok(Box::new(EngineThread::start(Engine::new(feed, log), limit)?))
    }
}

/// The log, with checkpoints in a thread of their own.
struct Background {
    journal: Journal,
    running: Option<JoinHandle<io::Result<Option<Checkpointed>>>>,
    stop: Arc<AtomicBool>,
}

impl Log for Background {
    fn append(&mut self, events: &[Arc<Event>]) -> Result<(), LogError> {
        self.journal.append(events)
    }

    fn settled(&mut self, feed: &Feed) -> Result<(), LogError> {
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            match running.join() {
                Ok(Ok(Some(done))) => self.journal.checkpointed(&done.replaced, done.bytes),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "no checkpoint; the log goes on growing"),
                Err(_) => tracing::error!("the checkpoint panicked; the log goes on growing"),
            }
        }
        if self.running.is_none() && self.journal.wants_checkpoint() {
            let revision = feed.revision();
            let replaced = self.journal.roll(revision)?;
            self.running = self.checkpoint(feed.clone(), revision, replaced);
        }
        Ok(())
    }
}

impl Background {
    fn checkpoint(
        &self,
        feed: Feed,
        revision: u64,
        replaced: Vec<String>,
    ) -> Option<JoinHandle<io::Result<Option<Checkpointed>>>> {
        let (files, version) = (Arc::clone(&self.journal.files), self.journal.parser_version);
        let stop = Arc::clone(&self.stop);
        let work = move || {
            let mut checkpoint = Checkpoint::start(files, feed, version, revision, replaced)?;
            while !stop.load(Ordering::Relaxed) {
                if let Some(done) = checkpoint.step()? {
                    return Ok(Some(done));
                }
            }
            Ok(None)
        };
        let spawned = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(work);
        spawned.inspect_err(|error| tracing::warn!(%error, "no thread for a checkpoint")).ok()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Encoded, Expect, Header, HeaderParser, Limits, Store, Txn, Write};

    struct NoParser;

    impl HeaderParser for NoParser {
        fn header(&self, _key: &str, _bytes: &[u8]) -> Header {
            Header::default()
        }
    }

    const SIZES: Sizes = Sizes { ready: 4096, checkpoint: 16 * 1024, retry: 4096 };

    fn open(dir: &Path) -> Store {
        let backend = Embedded { dir: dir.to_owned(), sizes: SIZES };
        let limits = Limits { history_events: 50, ..Limits::default() };
        Store::open(Box::new(backend), Arc::new(NoParser), limits).unwrap()
    }

    fn write(store: &Store, name: u64) {
        let json = format!("{{{}\"a\":1}}", " ".repeat(300));
        let write = Write::Put(Encoded::new(json, 1, Header::default()));
        store.commit(Txn { key: format!("/registry/{name}"), expect: Expect::Any, write }).unwrap();
    }

    /// With 60 live objects of 400 bytes no amount of writing may fill the disk.
    #[test]
    fn checkpoints_in_the_background_bound_what_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut snapshots = 0;
        for round in 0..4u64 {
            let store = open(dir.path());
            assert_eq!(store.revision(), 1 + round * 600);
            (0..600).for_each(|n| write(&store, n % 60));
            drop(store);
            let names = Directory::new(dir.path()).unwrap().names().unwrap();
            snapshots += names.iter().filter(|name| names::snapshot_revision(name).is_some()).count();
        }
        let store = open(dir.path());
        assert_eq!((store.len(), store.revision()), (60, 2401));
        let files = std::fs::read_dir(dir.path()).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(snapshots >= 3 && bytes < 2400 * 350 / 2, "{snapshots} snapshots, {bytes} bytes");
    }
}
