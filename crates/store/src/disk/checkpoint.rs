//! Checkpoints: a snapshot written beside the running log, and then the log that it replaces removed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::backend::Feed;
use crate::entry::{Entry, Event};
use crate::state::Listing;

use super::files::Files;
use super::frame::Kind;
use super::names;
use super::record::Known;
use super::snapshot::{SnapshotWriter, chain};

/// How many objects are taken out of the cache at once, so that no writer waits long for its lock.
const PAGE: usize = 4096;
/// How many events are written in one step.
const EVENTS_PER_STEP: usize = 4096;

/// A checkpoint under way. It is advanced in steps, so that it can be stopped, and simulated.
pub(crate) struct Checkpoint {
    files: Arc<dyn Files>,
    feed: Feed,
    revision: u64,
    replaced: Vec<String>,
    writer: SnapshotWriter,
    compacted: u64,
    history: Vec<(Arc<Event>, Option<u32>)>,
    /// The places among the live entries of those that are in the history too, by revision.
    places: HashMap<u64, u32>,
    live: u32,
    parser_version: u32,
    phase: Phase,
}

enum Phase {
    /// Pages of the state at the revision; the key after which the next one begins.
    Pages(Option<Box<str>>),
    /// All objects at once, when the writers were too fast for pages at one revision.
    Whole(Vec<Arc<Entry>>),
    History(usize),
    Finish,
}

/// What a finished checkpoint did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checkpointed {
    pub(crate) replaced: Vec<String>,
    pub(crate) bytes: u64,
}

impl Checkpoint {
    /// `replaced` are the segments without revisions after `revision`.
    pub(crate) fn start(
        files: Arc<dyn Files>,
        feed: Feed,
        parser_version: u32,
        revision: u64,
        replaced: Vec<String>,
    ) -> io::Result<Checkpoint> {
        let (compacted, events) = {
            let state = feed.shared.read();
            let until = state.history.oldest_first().take_while(|event| event.revision() <= revision);
            (state.history.compacted().min(revision), until.cloned().collect::<Vec<_>>())
        };
        let writer = SnapshotWriter::create(&*files, parser_version, revision, compacted)?;
        Ok(Checkpoint {
            files,
            feed,
            revision,
            replaced,
            writer,
            compacted,
            history: with_chain(events),
            places: HashMap::new(),
            live: 0,
            parser_version,
            phase: Phase::Pages(None),
        })
    }

    /// Does a bounded piece of work; Some when it was the last one.
    pub(crate) fn step(&mut self) -> io::Result<Option<Checkpointed>> {
        match std::mem::replace(&mut self.phase, Phase::Finish) {
            Phase::Pages(after) => self.page(after.as_deref())?,
            Phase::Whole(entries) => {
                entries.iter().try_for_each(|entry| self.live(entry))?;
                self.end_live()?;
            }
            Phase::History(from) => self.events(from)?,
            Phase::Finish => return self.finish().map(Some),
        }
        Ok(None)
    }

    fn page(&mut self, after: Option<&str>) -> io::Result<()> {
        let page = self.feed.shared.read().list("", Some(self.revision), after, PAGE);
        let Ok(Listing { entries, more, .. }) = page else { return self.restart() };
        entries.iter().try_for_each(|entry| self.live(entry))?;
        match entries.last().filter(|_| more) {
            Some(last) => self.phase = Phase::Pages(Some(last.key.clone())),
            None => self.end_live()?,
        }
        Ok(())
    }

    /// The revision has left the window. Takes everything at the newest one; the log before it covers it as well.
    fn restart(&mut self) -> io::Result<()> {
        let (compacted, events, entries) = {
            let state = self.feed.shared.read();
            self.revision = state.revision;
            let all = state.list("", None, None, 0).map(|listing| listing.entries).unwrap_or_default();
            (state.history.compacted(), state.history.oldest_first().cloned().collect::<Vec<_>>(), all)
        };
        self.writer = SnapshotWriter::create(&*self.files, self.parser_version, self.revision, compacted)?;
        self.compacted = compacted;
        self.history = with_chain(events);
        self.places.clear();
        self.live = 0;
        self.phase = Phase::Whole(entries);
        Ok(())
    }

    fn live(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.revision > self.compacted {
            self.places.insert(entry.revision, self.live);
        }
        self.live = self.live.saturating_add(1);
        self.writer.live(entry)
    }

    fn end_live(&mut self) -> io::Result<()> {
        self.phase = Phase::History(0);
        self.writer.flush(Kind::Live)
    }

    fn events(&mut self, from: usize) -> io::Result<()> {
        let to = self.history.len().min(from + EVENTS_PER_STEP);
        for (event, earlier) in &self.history[from..to] {
            let live = self.places.get(&event.revision()).copied();
            self.writer.history(event, Known { live, earlier: *earlier })?;
        }
        if to == self.history.len() {
            return self.writer.flush(Kind::History);
        }
        self.phase = Phase::History(to);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Checkpointed> {
        let bytes = self.writer.finish()?;
        let name = names::snapshot(self.revision);
        self.files.rename(names::UNFINISHED, &name)?;
        self.files.sync_names()?;
        let replaced = std::mem::take(&mut self.replaced);
        let old =
            self.files.names()?.into_iter().filter(|other| {
                names::snapshot_revision(other).is_some_and(|revision| revision < self.revision)
            });
        for name in old.chain(replaced.iter().cloned()) {
            // What can't be removed now is removed at the next start.
            if let Err(error) = self.files.remove(&name) {
                tracing::warn!(%error, name, "could not remove what a snapshot has replaced");
            }
        }
        Ok(Checkpointed { replaced, bytes })
    }
}

fn with_chain(events: Vec<Arc<Event>>) -> Vec<(Arc<Event>, Option<u32>)> {
    let chain = chain(&events);
    events.into_iter().zip(chain).collect()
}
