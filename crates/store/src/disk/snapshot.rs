//! Snapshots: the live objects at a revision, and the history before it, so that a start need not read the log
//! from its beginning and watches can still go on from before the snapshot.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::backend::{Feed, OpenError};
use crate::entry::{Entry, Event, EventKind};
use crate::state::State;

use super::files::{File, Files};
use super::frame::{self, FRAME_HEADER, Frame, Kind, Next, Reader};
use super::names;
use super::record::{self, Cursor, FORMAT, Known};

/// About how large a block is.
const BLOCK_BYTES: usize = 1024 * 1024;

/// A snapshot being written.
pub(crate) struct SnapshotWriter {
    file: Box<dyn File>,
    written: u64,
    buffer: Vec<u8>,
    blocks: u64,
}

impl SnapshotWriter {
    pub(crate) fn create(
        files: &dyn Files,
        parser_version: u32,
        revision: u64,
        compacted: u64,
    ) -> io::Result<SnapshotWriter> {
        let file = files.create(names::UNFINISHED)?;
        let mut writer = SnapshotWriter { file, written: 0, buffer: Vec::new(), blocks: 0 };
        writer.begin();
        record::put_preamble(&mut writer.buffer, parser_version);
        writer.buffer.extend_from_slice(&compacted.to_le_bytes());
        writer.end(Kind::SnapshotStart, revision)?;
        writer.begin();
        Ok(writer)
    }

    /// Adds a live object. They come in the order of their keys.
    pub(crate) fn live(&mut self, entry: &Entry) -> io::Result<()> {
        record::put_entry(&mut self.buffer, entry);
        self.end_full(Kind::Live)
    }

    /// Adds an event of the history.
    pub(crate) fn history(&mut self, event: &Event, known: &Known) -> io::Result<()> {
        record::put_history(&mut self.buffer, event, known);
        self.end_full(Kind::History)
    }

    /// Ends the blocks of one kind.
    pub(crate) fn flush(&mut self, kind: Kind) -> io::Result<()> {
        if self.buffer.len() > FRAME_HEADER {
            self.blocks += 1;
            self.end(kind, self.blocks)?;
            self.begin();
        }
        Ok(())
    }

    /// Makes the file whole and durable, and says how long it is.
    pub(crate) fn finish(&mut self) -> io::Result<u64> {
        self.end(Kind::SnapshotEnd, self.blocks)?;
        self.file.sync()?;
        Ok(self.written)
    }

    fn begin(&mut self) {
        self.buffer.clear();
        frame::begin(&mut self.buffer);
    }

    fn end_full(&mut self, kind: Kind) -> io::Result<()> {
        if self.buffer.len() >= BLOCK_BYTES { self.flush(kind) } else { Ok(()) }
    }

    fn end(&mut self, kind: Kind, sequence: u64) -> io::Result<()> {
        frame::finish(&mut self.buffer, 0, kind, sequence).ok_or(io::ErrorKind::InvalidData)?;
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        Ok(())
    }
}

/// A snapshot being read.
struct Loading<'a> {
    name: &'a str,
    feed: &'a Feed,
    reparse: bool,
    compacted: u64,
    live: Vec<Arc<Entry>>,
    history: Vec<Arc<Event>>,
    /// The newest event's entry of each key.
    last: HashMap<Box<str>, Arc<Entry>>,
    blocks: u64,
}

/// Loads the snapshot, and says how long it is.
pub(crate) fn load(files: &dyn Files, revision: u64, feed: &Feed) -> Result<(State, u64), OpenError> {
    let name = names::snapshot(revision);
    let mut reader = Reader::new(files.open(&name)?)?;
    let mut loading = Loading {
        name: &name,
        feed,
        reparse: false,
        compacted: revision,
        live: Vec::new(),
        history: Vec::new(),
        last: HashMap::new(),
        blocks: 0,
    };
    let mut started = false;
    loop {
        let Next::Frame(frame) = reader.next()? else { return Err(loading.corrupt("a block is damaged")) };
        match (frame.kind, started) {
            (Kind::SnapshotStart, false) if frame.sequence == revision => started = true,
            (Kind::Live | Kind::History, true) if frame.sequence == loading.blocks + 1 => loading.blocks += 1,
            (Kind::SnapshotEnd, true) if frame.sequence == loading.blocks => break,
            _ => return Err(loading.corrupt("a block is missing")),
        }
        loading.take(&frame)?;
    }
    let mut state = State::new(feed.limits());
    state.load(revision, loading.live);
    state.history.restart(loading.compacted);
    loading.history.into_iter().for_each(|event| state.history.push(event));
    Ok((state, reader.len()))
}

impl Loading<'_> {
    fn take(&mut self, frame: &Frame<'_>) -> Result<(), OpenError> {
        let feed = self.feed;
        let reparse = self.reparse.then(|| feed.parser());
        let cursor = Cursor::new(frame.payload).reparse(reparse);
        let taken = match frame.kind {
            Kind::SnapshotStart => return self.preamble(cursor),
            Kind::Live => self.take_live(cursor),
            Kind::History => self.take_history(cursor),
            _ => Some(()),
        };
        taken.ok_or_else(|| self.corrupt("a record is damaged"))
    }

    fn preamble(&mut self, mut cursor: Cursor<'_>) -> Result<(), OpenError> {
        let (version, compacted) =
            cursor.preamble().zip(cursor.u64()).ok_or_else(|| self.corrupt("the first block is damaged"))?;
        self.reparse = check_preamble(self.name, version, self.feed)?;
        self.compacted = compacted;
        Ok(())
    }

    fn take_live(&mut self, mut cursor: Cursor<'_>) -> Option<()> {
        while !cursor.is_empty() {
            self.live.push(Arc::new(cursor.entry()?));
        }
        Some(())
    }

    fn take_history(&mut self, mut cursor: Cursor<'_>) -> Option<()> {
        while !cursor.is_empty() {
            let live = |key: &str| {
                let at = self.live.binary_search_by(|entry| entry.key.as_ref().cmp(key)).ok()?;
                self.live.get(at).cloned()
            };
            let event = cursor.history(live, |key| self.last.get(key).cloned())?;
            self.last.insert(event.entry.key.clone(), Arc::clone(&event.entry));
            self.history.push(Arc::new(event));
        }
        Some(())
    }

    fn corrupt(&self, what: &str) -> OpenError {
        OpenError::Corrupt { file: self.name.to_owned(), what: what.to_owned() }
    }
}

/// Refuses unknown formats; whether headers have to be parsed again.
pub(crate) fn check_preamble(file: &str, version: (u32, u32), feed: &Feed) -> Result<bool, OpenError> {
    let (found, parser) = version;
    if found != FORMAT {
        return Err(OpenError::Format { file: file.to_owned(), found, known: FORMAT });
    }
    Ok(parser != feed.parser().version())
}

/// For each event, what a reader of the snapshot will know already when it comes to it.
pub(crate) fn known(events: &[Arc<Event>]) -> Vec<Known> {
    let mut last: HashMap<&str, usize> = HashMap::new();
    let mut known: Vec<Known> = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let before = last.insert(&event.entry.key, index);
        if let Some(before) = before {
            known[before].entry_is_live = false;
        }
        let prev_is_last = before
            .zip(event.prev.as_ref())
            .is_some_and(|(before, prev)| Arc::ptr_eq(&events[before].entry, prev));
        // So far this is the key's newest event, so what it put is what is live.
        known.push(Known { entry_is_live: event.kind == EventKind::Put, prev_is_last });
    }
    known
}
