//! Records: entries and events as they stand inside a frame's payload. All numbers are little-endian.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Entry, Event, EventKind, Header, HeaderParser};

/// The newest format this release reads and the one it writes.
pub(crate) const FORMAT: u32 = 1;

/// The payload of a file's first frame.
pub(crate) fn put_preamble(out: &mut Vec<u8>, parser_version: u32) {
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&parser_version.to_le_bytes());
}

/// Reads a payload piece by piece; every read is None at the end.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Set when the stored headers can't be used.
    reparse: Option<&'a dyn HeaderParser>,
}

const DELETE: u8 = 1;
/// The event's entry is a live one, and only its place among them stands here.
const ENTRY_IS_LIVE: u8 = 2;
/// The event's previous entry stands here.
const PREV_HERE: u8 = 4;
/// The event's previous entry is that of an earlier event, and only that one's place stands here.
const PREV_IS_EARLIER: u8 = 8;

pub(crate) fn put_change(out: &mut Vec<u8>, event: &Event) {
    out.push(if event.kind == EventKind::Delete { DELETE } else { 0 });
    put_entry(out, &event.entry);
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let header = &entry.header;
    for number in [entry.revision, entry.create_revision, entry.expires] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let lens = [entry.key.len(), header.text.len(), header.ends.len(), entry.bytes.len()];
    // The store's limits keep each of these far below 4 GiB.
    let lens = lens.map(|len| u32::try_from(len).unwrap_or(u32::MAX));
    for number in [entry.splice, entry.span, header.labels].into_iter().chain(lens) {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(entry.key.as_bytes());
    out.extend_from_slice(header.text.as_bytes());
    for end in &header.ends {
        out.extend_from_slice(&end.to_le_bytes());
    }
    out.extend_from_slice(&entry.bytes);
}

/// Which of an event's entries a reader has already by the time it comes to the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The entry's place among the live ones.
    pub(crate) live: Option<u32>,
    /// The place of the earlier event whose entry is the previous one.
    pub(crate) earlier: Option<u32>,
}

pub(crate) fn put_history(out: &mut Vec<u8>, event: &Event, known: Known) {
    let prev = if known.earlier.is_some() { None } else { event.prev.as_deref() };
    let mut tag = 0;
    for (bit, set) in [
        (DELETE, event.kind == EventKind::Delete),
        (ENTRY_IS_LIVE, known.live.is_some()),
        (PREV_HERE, prev.is_some()),
        (PREV_IS_EARLIER, known.earlier.is_some()),
    ] {
        tag |= if set { bit } else { 0 };
    }
    out.push(tag);
    match known.live {
        Some(place) => out.extend_from_slice(&place.to_le_bytes()),
        None => put_entry(out, &event.entry),
    }
    if let Some(place) = known.earlier {
        out.extend_from_slice(&place.to_le_bytes());
    } else if let Some(prev) = prev {
        put_entry(out, prev);
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: payload, reparse: None }
    }

    /// The format and the parser's version, from a file's first frame.
    pub(crate) fn preamble(&mut self) -> Option<(u32, u32)> {
        Some((self.u32()?, self.u32()?))
    }

    /// Has headers parsed again rather than taken from the records.
    pub(crate) fn reparse(mut self, parser: Option<&'a dyn HeaderParser>) -> Cursor<'a> {
        self.reparse = parser;
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn change(&mut self) -> Option<(EventKind, Entry)> {
        let kind = kind_of(self.u8()?);
        Some((kind, self.entry()?))
    }

    pub(crate) fn entry(&mut self) -> Option<Entry> {
        let (revision, create_revision, expires) = (self.u64()?, self.u64()?, self.u64()?);
        let (splice, span, labels) = (self.u32()?, self.u32()?, self.u32()?);
        let (key, text, ends, bytes) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        let key = self.text(key)?;
        let text = self.text(text)?;
        let ends = self.take((ends as usize).checked_mul(4)?)?;
        let bytes = Bytes::copy_from_slice(self.take(bytes as usize)?);
        let header = match self.reparse {
            Some(parser) => parser.header(key, &bytes),
            None => {
                let ends = ends.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                unpack(text, ends.collect(), labels)?
            }
        };
        let key = Box::from(key);
        Some(Entry { key, revision, create_revision, bytes, header, splice, span, expires })
    }

    /// An event of the history, given all live entries and the events before it.
    pub(crate) fn history(&mut self, live: &[Arc<Entry>], earlier: &[Arc<Event>]) -> Option<Event> {
        let tag = self.u8()?;
        let entry = if tag & ENTRY_IS_LIVE != 0 {
            Arc::clone(live.get(self.u32()? as usize)?)
        } else {
            Arc::new(self.entry()?)
        };
        let prev = if tag & PREV_HERE != 0 {
            Some(Arc::new(self.entry()?))
        } else if tag & PREV_IS_EARLIER != 0 {
            Some(Arc::clone(&earlier.get(self.u32()? as usize)?.entry))
        } else {
            None
        };
        Some(Event { kind: kind_of(tag), entry, prev })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    fn text(&mut self, len: u32) -> Option<&'a str> {
        std::str::from_utf8(self.take(len as usize)?).ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

fn kind_of(tag: u8) -> EventKind {
    if tag & DELETE != 0 { EventKind::Delete } else { EventKind::Put }
}

/// The default header has no pieces at all.
fn unpack(text: &str, ends: Box<[u32]>, labels: u32) -> Option<Header> {
    if ends.is_empty() {
        return text.is_empty().then(Header::default);
    }
    Header::from_parts(text, ends, labels)
}
