//! Frames: the unit that is there wholly or not at all. A file is a row of them, each with a checksum, and then
//! nothing but zeros.

use std::io;

use super::files::File;

/// Holds bytes that no UTF-8 text has, so that nothing a client stores can look like a frame.
const MAGIC: [u8; 4] = [0xff, b'I', 0xfe, b'C'];
/// Magic, payload length, checksum, kind, sequence.
pub(crate) const FRAME_HEADER: usize = 24;
/// How much is read from a file at once.
const READ_CHUNK: usize = 1024 * 1024;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The beginning of a segment of the log; the sequence is the first revision it can hold.
    LogStart = 1,
    /// Changes that were committed together; the sequence is the first one's revision.
    Batch = 2,
    /// The beginning of a snapshot; the sequence is its revision.
    SnapshotStart = 3,
    /// Live objects; the sequence counts blocks.
    Live = 4,
    /// The history before the snapshot; the sequence counts blocks.
    History = 5,
    /// The snapshot is complete; the sequence counts the blocks before it.
    SnapshotEnd = 6,
}

impl Kind {
    fn from_u32(value: u32) -> Option<Kind> {
        use Kind::*;
        [LogStart, Batch, SnapshotStart, Live, History, SnapshotEnd].into_iter().find(|&k| k as u32 == value)
    }
}

/// Begins a frame at the end of the buffer; what is appended after that is its payload.
pub(crate) fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEADER]);
    start
}

/// Ends the frame that began at `start`. None when it is too large for its length field.
pub(crate) fn finish(buffer: &mut [u8], start: usize, kind: Kind, sequence: u64) -> Option<()> {
    let (header, payload) = buffer.get_mut(start..)?.split_at_mut_checked(FRAME_HEADER)?;
    let len = u32::try_from(payload.len()).ok()?;
    header[0..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    let sum = checksum(header, payload);
    header[8..12].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[4..8]);
    hasher.update(&header[12..24]);
    hasher.update(payload);
    hasher.finalize()
}

/// A frame that was read whole.
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) payload: &'a [u8],
}

/// What stands at a place.
pub(crate) enum Next<'a> {
    /// A good frame; the reader has moved behind it.
    Frame(Frame<'a>),
    /// No frame; the reader stays before it.
    End,
}

/// Reads a file frame by frame.
pub(crate) struct Reader {
    file: Box<dyn File>,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame begins.
    start: usize,
    /// Where in the file the buffer begins.
    base: u64,
    len: u64,
}

impl Reader {
    pub(crate) fn new(file: Box<dyn File>) -> io::Result<Reader> {
        let len = file.len()?;
        Ok(Reader { file, buffer: Vec::new(), start: 0, base: 0, len })
    }

    /// The place in the file of the next frame.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.start as u64
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn into_file(self) -> Box<dyn File> {
        self.file
    }

    pub(crate) fn next(&mut self) -> io::Result<Next<'_>> {
        let Some(size) = self.load()? else { return Ok(Next::End) };
        let (start, end) = (self.start, self.start + size);
        let Some((header, payload)) = self.buffer[start..end].split_at_checked(FRAME_HEADER) else {
            return Ok(Next::End);
        };
        let kind = Kind::from_u32(u32_at(header, 12));
        let Some(kind) = kind.filter(|_| checksum(header, payload) == u32_at(header, 8)) else {
            return Ok(Next::End);
        };
        self.start = end;
        Ok(Next::Frame(Frame { kind, sequence: u64_at(header, 16), payload }))
    }

    /// Has the whole next frame in the buffer and says how long it is; None when there is none.
    fn load(&mut self) -> io::Result<Option<usize>> {
        if !self.want(FRAME_HEADER)? || self.buffer[self.start..][..4] != MAGIC {
            return Ok(None);
        }
        let size = FRAME_HEADER + u32_at(&self.buffer[self.start..], 4) as usize;
        Ok(self.want(size)?.then_some(size))
    }

    /// Has `size` bytes in the buffer, or says that the file ends before.
    fn want(&mut self, size: usize) -> io::Result<bool> {
        if self.position() + size as u64 > self.len {
            return Ok(false);
        }
        if self.start + size <= self.buffer.len() {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.base += self.start as u64;
        self.start = 0;
        let mut filled = self.buffer.len();
        let room = usize::try_from(self.len - self.base).unwrap_or(usize::MAX).min(size.max(READ_CHUNK));
        self.buffer.resize(room, 0);
        while filled < room {
            let got = self.file.read_at(&mut self.buffer[filled..], self.base + filled as u64)?;
            if got == 0 {
                break;
            }
            filled += got;
        }
        self.buffer.truncate(filled);
        Ok(filled >= size)
    }

    /// What follows the last good frame. One batch is synced before the next is begun, so behind a torn frame
    /// there can be no good one: if there is, it is not a torn end but damage in the middle.
    pub(crate) fn tail(&mut self) -> io::Result<Tail> {
        let end = self.position();
        let mut rest = vec![0; usize::try_from(self.len - end).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < rest.len() {
            let got = self.file.read_at(&mut rest[filled..], end + filled as u64)?;
            if got == 0 {
                break;
            }
            filled += got;
        }
        if rest.iter().all(|&byte| byte == 0) {
            return Ok(Tail::Zeros);
        }
        let good = (1..rest.len()).any(|at| rest[at] == MAGIC[0] && is_frame(&rest[at..]));
        Ok(if good { Tail::Damaged } else { Tail::Torn })
    }
}

/// What stands behind the last good frame of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing, or room that was made ready.
    Zeros,
    /// The remains of a write that was never acknowledged.
    Torn,
    /// Good frames behind a bad one.
    Damaged,
}

fn is_frame(bytes: &[u8]) -> bool {
    if bytes.len() < FRAME_HEADER || bytes[..4] != MAGIC {
        return false;
    }
    let (header, rest) = bytes.split_at(FRAME_HEADER);
    let payload = rest.get(..u32_at(header, 4) as usize);
    payload.is_some_and(|payload| checksum(header, payload) == u32_at(header, 8))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}
