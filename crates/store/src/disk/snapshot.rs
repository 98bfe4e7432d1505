//! Snapshots: the live objects at a revision, and the history before it, so that a start need not read the log
//! from its beginning and watches can still go on from before the snapshot.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::backend::{Feed, OpenError};
use crate::entry::{Entry, Event};
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
    pub(crate) fn history(&mut self, event: &Event, known: Known) -> io::Result<()> {
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
}

/// A block whose checksum is good.
struct Block {
    kind: Kind,
    payload: Vec<u8>,
}

/// How many blocks may be read ahead.
const READ_AHEAD: usize = 4;

/// Loads the snapshot, and says how long it is. One thread reads and checks blocks, this one decodes them: that is
/// most of what a start with many objects does.
pub(crate) fn load(files: &dyn Files, revision: u64, feed: &Feed) -> Result<(State, u64), OpenError> {
    let name = names::snapshot(revision);
    let reader = Reader::new(files.open(&name)?)?;
    let len = reader.len();
    let mut loading = Loading {
        name: &name,
        feed,
        reparse: false,
        compacted: revision,
        live: Vec::new(),
        history: Vec::new(),
    };
    std::thread::scope(|scope| {
        let (blocks, arrived) = sync_channel(READ_AHEAD);
        let (used, free) = channel();
        let reading = scope.spawn({
            let name = &name;
            move || read_blocks(reader, name, revision, &blocks, &free)
        });
        // When this ends early, `arrived` is dropped and the reading ends as well.
        let taken = loading.take_all(arrived, &used);
        let read = reading.join().unwrap_or_else(|_| Err(corrupt(&name, "reading it panicked")));
        read.and(taken)
    })?;
    let mut state = State::new(feed.limits());
    state.load(revision, loading.live);
    state.history.restart(loading.compacted);
    loading.history.into_iter().for_each(|event| state.history.push(event));
    Ok((state, len))
}

/// Hands over block after block, until the end or until nobody wants them.
fn read_blocks(
    mut reader: Reader,
    name: &str,
    revision: u64,
    blocks: &SyncSender<Block>,
    free: &Receiver<Vec<u8>>,
) -> Result<(), OpenError> {
    let mut count = None;
    loop {
        let Next::Frame(Frame { kind, sequence, payload }) = reader.next()? else {
            return Err(corrupt(name, "a block is damaged"));
        };
        count = match (kind, count) {
            (Kind::SnapshotStart, None) if sequence == revision => Some(0),
            (Kind::Live | Kind::History, Some(before)) if sequence == before + 1 => Some(sequence),
            (Kind::SnapshotEnd, Some(before)) if sequence == before => return Ok(()),
            _ => return Err(corrupt(name, "a block is missing")),
        };
        let mut owned = free.try_recv().unwrap_or_default();
        owned.clear();
        owned.extend_from_slice(payload);
        if blocks.send(Block { kind, payload: owned }).is_err() {
            return Ok(());
        }
    }
}

impl Loading<'_> {
    fn take_all(&mut self, blocks: Receiver<Block>, used: &Sender<Vec<u8>>) -> Result<(), OpenError> {
        for block in blocks {
            self.take(&block)?;
            // The reader may have ended already.
            let _ = used.send(block.payload);
        }
        Ok(())
    }

    fn take(&mut self, block: &Block) -> Result<(), OpenError> {
        let feed = self.feed;
        let reparse = self.reparse.then(|| feed.parser());
        let cursor = Cursor::new(&block.payload).reparse(reparse);
        let taken = match block.kind {
            Kind::SnapshotStart => return self.preamble(cursor),
            Kind::Live => self.take_live(cursor),
            Kind::History => self.take_history(cursor),
            _ => Some(()),
        };
        taken.ok_or_else(|| corrupt(self.name, "a record is damaged"))
    }

    fn preamble(&mut self, mut cursor: Cursor<'_>) -> Result<(), OpenError> {
        let damaged = || corrupt(self.name, "the first block is damaged");
        let (version, compacted) = cursor.preamble().zip(cursor.u64()).ok_or_else(damaged)?;
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
            let event = cursor.history(&self.live, &self.history)?;
            self.history.push(Arc::new(event));
        }
        Some(())
    }
}

fn corrupt(file: &str, what: &str) -> OpenError {
    OpenError::Corrupt { file: file.to_owned(), what: what.to_owned() }
}

/// Refuses unknown formats; whether headers have to be parsed again.
pub(crate) fn check_preamble(file: &str, version: (u32, u32), feed: &Feed) -> Result<bool, OpenError> {
    let (found, parser) = version;
    if found != FORMAT {
        return Err(OpenError::Format { file: file.to_owned(), found, known: FORMAT });
    }
    Ok(parser != feed.parser().version())
}

/// For each event, which earlier one its previous entry comes from.
pub(crate) fn chain(events: &[Arc<Event>]) -> Vec<Option<u32>> {
    let mut newest: HashMap<&str, u32> = HashMap::new();
    let mut places = Vec::with_capacity(events.len());
    for (place, event) in (0..).zip(events) {
        let before = newest.insert(&event.entry.key, place).zip(event.prev.as_ref());
        let earlier = before.filter(|(before, prev)| {
            events.get(*before as usize).is_some_and(|earlier| Arc::ptr_eq(&earlier.entry, prev))
        });
        places.push(earlier.map(|(before, _)| before));
    }
    places
}
