//! The log: segments of frames, one frame and one sync for each batch.
//!
//! Room for coming batches is made ready with zeros, so that a sync has data to write but no file length: measured,
//! that halves its time (docs/adr/0001-store-engine.md).

use std::io;
use std::sync::Arc;

use crate::engine::LogError;
use crate::entry::Event;

use super::files::{File, Files, is_full};
use super::frame::{self, Kind};
use super::{names, record};

/// The log's measures; a simulated disk has smaller ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// How much room is made ready at once.
    pub(crate) ready: usize,
    /// A log shorter than this is not worth a checkpoint.
    pub(crate) checkpoint: u64,
    /// How much longer the log grows before a failed checkpoint is tried again.
    pub(crate) retry: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        const MIB: u64 = 1024 * 1024;
        Sizes { ready: MIB as usize, checkpoint: 64 * MIB, retry: 16 * MIB }
    }
}

/// Where a segment ends.
pub(crate) struct End {
    pub(crate) file: Box<dyn File>,
    /// Behind its last frame.
    pub(crate) position: u64,
    /// Up to here the file has its length, with zeros.
    pub(crate) ready: u64,
}

pub(crate) struct Journal {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) parser_version: u32,
    sizes: Sizes,
    zeros: Box<[u8]>,
    file: Box<dyn File>,
    /// Where the next frame goes.
    position: u64,
    /// Up to here the file has its length already.
    ready: u64,
    buffer: Vec<u8>,
    /// The names of the older segments that no snapshot covers, and of this one.
    sealed: Vec<String>,
    name: String,
    /// How long the log is that a start would have to read.
    replay_bytes: u64,
    checkpoint_at: u64,
}

/// Where to go on writing.
pub(crate) struct Resume {
    pub(crate) end: End,
    pub(crate) name: String,
    pub(crate) sealed: Vec<String>,
    pub(crate) replay_bytes: u64,
    pub(crate) snapshot_bytes: u64,
}

impl Journal {
    pub(crate) fn resume(files: Arc<dyn Files>, parser_version: u32, sizes: Sizes, at: Resume) -> Journal {
        Journal {
            files,
            parser_version,
            sizes,
            zeros: vec![0; sizes.ready].into_boxed_slice(),
            file: at.end.file,
            position: at.end.position,
            ready: at.end.ready,
            buffer: Vec::new(),
            sealed: at.sealed,
            name: at.name,
            replay_bytes: at.replay_bytes,
            checkpoint_at: sizes.checkpoint.max(at.snapshot_bytes),
        }
    }

    /// Makes an empty segment durable, and says where its first frame goes.
    pub(crate) fn create(
        files: &dyn Files,
        parser_version: u32,
        first: u64,
    ) -> io::Result<(Box<dyn File>, u64)> {
        let name = names::log(first);
        let made = Journal::prepare(files, parser_version, first, &name);
        if made.is_err() {
            // An empty segment left behind does no harm: a start removes it.
            let _ = files.remove(&name);
        }
        made
    }

    fn prepare(
        files: &dyn Files,
        parser_version: u32,
        first: u64,
        name: &str,
    ) -> io::Result<(Box<dyn File>, u64)> {
        let mut head = Vec::new();
        let start = frame::begin(&mut head);
        record::put_preamble(&mut head, parser_version);
        frame::finish(&mut head, start, Kind::LogStart, first).ok_or(io::ErrorKind::InvalidData)?;
        let mut file = files.create(name)?;
        file.write_at(&head, 0)?;
        file.sync()?;
        files.sync_names()?;
        Ok((file, head.len() as u64))
    }

    /// Makes a batch durable. The events' revisions follow each other.
    pub(crate) fn append(&mut self, events: &[Arc<Event>]) -> Result<(), LogError> {
        let Some(first) = events.first() else { return Ok(()) };
        self.buffer.clear();
        let start = frame::begin(&mut self.buffer);
        for event in events {
            record::put_change(&mut self.buffer, event);
        }
        frame::finish(&mut self.buffer, start, Kind::Batch, first.revision())
            .ok_or_else(|| LogError::Broken("a batch is too large for a frame".into()))?;
        let end = self.position + self.buffer.len() as u64;
        let written = self.make_ready(end).and_then(|()| self.file.write_at(&self.buffer, self.position));
        if let Err(error) = written {
            return Err(self.take_back(&error));
        }
        self.file
            .sync()
            .map_err(|error| LogError::Broken(format!("sync of {}: {error}", self.name).into()))?;
        self.replay_bytes += end - self.position;
        self.position = end;
        self.ready = self.ready.max(end);
        self.buffer.shrink_to(self.sizes.ready);
        Ok(())
    }

    fn make_ready(&mut self, end: u64) -> io::Result<()> {
        while self.ready < end {
            match self.file.write_at(&self.zeros, self.ready) {
                Ok(()) => self.ready += self.zeros.len() as u64,
                // The batch itself may still fit.
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// After a write that failed half-way. A full disk leaves the log as it was; anything else breaks it.
    fn take_back(&mut self, error: &io::Error) -> LogError {
        if !is_full(error) {
            return LogError::Broken(format!("write to {}: {error}", self.name).into());
        }
        self.ready = self.position;
        match self.file.set_len(self.position) {
            Ok(()) => LogError::NoSpace,
            Err(error) => LogError::Broken(format!("cutting {} off: {error}", self.name).into()),
        }
    }

    /// Whether the log is so long that a snapshot should take its place.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.replay_bytes >= self.checkpoint_at
    }

    /// Begins a new segment after `revision`, and names the older ones, which a snapshot at `revision` replaces.
    pub(crate) fn roll(&mut self, revision: u64) -> Result<Vec<String>, LogError> {
        self.checkpoint_at = self.replay_bytes + self.sizes.retry;
        if names::log(revision + 1) == self.name {
            return Ok(self.sealed.clone());
        }
        // Whatever a full disk left behind the last frame must be gone before this isn't the newest segment.
        let sealed = self.file.set_len(self.position).and_then(|()| self.file.sync());
        sealed.map_err(|error| LogError::Broken(format!("sealing {}: {error}", self.name).into()))?;
        self.ready = self.position;
        match Journal::create(&*self.files, self.parser_version, revision + 1) {
            Ok((file, position)) => {
                self.file = file;
                self.position = position;
                self.ready = position;
                let name = names::log(revision + 1);
                self.sealed.push(std::mem::replace(&mut self.name, name));
            }
            Err(error) => tracing::warn!(%error, "no new log segment; going on with the old one"),
        }
        Ok(self.sealed.clone())
    }

    /// A snapshot of this size has replaced these segments.
    pub(crate) fn checkpointed(&mut self, replaced: &[String], snapshot_bytes: u64) {
        self.sealed.retain(|name| !replaced.contains(name));
        self.replay_bytes = self.position;
        self.checkpoint_at = self.sizes.checkpoint.max(snapshot_bytes);
    }
}
