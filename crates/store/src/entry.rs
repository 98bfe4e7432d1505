//! What the store holds: an object's encoded bytes with a small parsed header, and the events that change it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The parsed columns of an object that the server needs without parsing the object again: its uid, its labels
/// and its field-selector columns. Packed into two allocations, because there is one for each object in memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// uid, then each label's key and value, then each field's name and value, one after the other.
    pub(crate) text: Box<str>,
    /// The end of each piece of `text`.
    pub(crate) ends: Box<[u32]>,
    /// How many of the pairs are labels; the rest are fields.
    pub(crate) labels: u32,
}

impl Header {
    /// Packs a header. `fields` are the columns a field selector can ask for, such as `spec.nodeName`.
    pub fn new<'a>(
        uid: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Header {
        let mut text = String::from(uid);
        let mut ends = vec![end_of(&text)];
        let mut push = |(key, value): (&str, &str)| {
            text.push_str(key);
            ends.push(end_of(&text));
            text.push_str(value);
            ends.push(end_of(&text));
        };
        let labels = labels.into_iter().map(&mut push).count();
        fields.into_iter().for_each(&mut push);
        Header {
            text: text.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            labels: u32::try_from(labels).unwrap_or(u32::MAX),
        }
    }

    /// `metadata.uid`, empty when the object has none.
    pub fn uid(&self) -> &str {
        self.piece(0)
    }

    /// The labels, in the order they were given.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        (0..self.labels as usize).map(|pair| self.pair(pair))
    }

    /// The field-selector columns, in the order they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        (self.labels as usize..self.ends.len().saturating_sub(1) / 2).map(|pair| self.pair(pair))
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// One field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(k, _)| *k == name).map(|(_, value)| value)
    }

    /// Puts a header back together from its stored pieces; None when they don't fit each other.
    pub(crate) fn from_parts(text: &str, ends: Box<[u32]>, labels: u32) -> Option<Header> {
        let mut last = 0;
        for &end in &ends {
            if end < last || !text.is_char_boundary(end as usize) {
                return None;
            }
            last = end;
        }
        let pairs = ends.len().saturating_sub(1) / 2;
        let fits = last as usize == text.len() && ends.len() % 2 == 1;
        (fits && labels as usize <= pairs).then(|| Header { text: text.into(), ends, labels })
    }

    fn pair(&self, pair: usize) -> (&str, &str) {
        (self.piece(1 + 2 * pair), self.piece(2 + 2 * pair))
    }

    fn piece(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or("")
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("uid", &self.uid())
            .field("labels", &self.labels().collect::<Vec<_>>())
            .field("fields", &self.fields().collect::<Vec<_>>())
            .finish()
    }
}

fn end_of(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// Reads a header out of an object's bytes. Needed only where no stored header can be used: for a store written
/// by a release whose headers had other columns.
pub trait HeaderParser: Send + Sync {
    /// The header of the object stored under `key`.
    fn header(&self, key: &str, bytes: &[u8]) -> Header;

    /// Changes whenever `header` would answer differently, so that stored headers are not trusted any longer.
    fn version(&self) -> u32 {
        0
    }
}

/// An object as its writer hands it over: its JSON without `metadata.resourceVersion`, and the place where that
/// is put once the revision is known.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub(crate) json: Bytes,
    pub(crate) splice: usize,
    pub(crate) header: Header,
    pub(crate) expires: u64,
}

impl Encoded {
    /// `splice` is the offset in `json` where `"resourceVersion":"<revision>",` is inserted: just before the
    /// opening quote of another member of `metadata`, such as `"uid"`.
    pub fn new(json: impl Into<Bytes>, splice: usize, header: Header) -> Encoded {
        let json = json.into();
        let splice = splice.min(json.len());
        Encoded { json, splice, header, expires: 0 }
    }

    /// Has the object listed by [`crate::Store::expired`] from this time on (seconds since 1970; 0 is never).
    /// Deleting it remains the caller's, so that it is an ordinary delete.
    #[must_use]
    pub fn expires(mut self, unix_seconds: u64) -> Encoded {
        self.expires = unix_seconds;
        self
    }

    /// How many bytes the object has before its resourceVersion is put in.
    pub fn len(&self) -> usize {
        self.json.len()
    }

    /// True for an object without bytes.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    pub(crate) fn into_entry(self, key: &str, revision: u64, create_revision: u64) -> Entry {
        let (head, tail) = self.json.split_at(self.splice);
        let (bytes, span) = splice(head, revision, tail);
        let splice = u32::try_from(self.splice).unwrap_or(u32::MAX);
        let (header, expires) = (self.header, self.expires);
        Entry { key: key.into(), revision, create_revision, bytes, header, splice, span, expires }
    }
}

/// Room for the member's name, punctuation and the longest revision.
const SPLICE_ROOM: usize = 44;

fn splice(head: &[u8], revision: u64, tail: &[u8]) -> (Bytes, u32) {
    use std::io::Write as _;
    let mut member = [0u8; SPLICE_ROOM];
    let mut rest = &mut member[..];
    // A u64 has at most 20 digits, so the member always fits the room.
    let _ = write!(rest, "\"resourceVersion\":\"{revision}\",");
    let span = SPLICE_ROOM - rest.len();
    let mut out = Vec::with_capacity(head.len() + span + tail.len());
    out.extend_from_slice(head);
    out.extend_from_slice(&member[..span]);
    out.extend_from_slice(tail);
    (Bytes::from(out), span as u32)
}

/// One revision of one object. Its bytes are encoded once; every reader shares them.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `/registry/<group or "core">/<resource>/<namespace>/<name>`.
    pub key: Box<str>,
    /// The revision that wrote this; `metadata.resourceVersion`.
    pub revision: u64,
    /// The revision that created the object.
    pub create_revision: u64,
    /// The complete JSON, with `metadata.resourceVersion`.
    pub bytes: Bytes,
    /// The parsed columns.
    pub header: Header,
    /// Where the resourceVersion member stands in `bytes`, and how long it is.
    pub(crate) splice: u32,
    pub(crate) span: u32,
    pub(crate) expires: u64,
}

impl Entry {
    /// When the object's time is over (seconds since 1970), if ever.
    pub fn expires(&self) -> Option<u64> {
        (self.expires != 0).then_some(self.expires)
    }

    /// The same object at another revision: the last state of a deleted one, or of one that left a selection.
    pub fn tombstone(&self, revision: u64) -> Entry {
        let at = (self.splice as usize).min(self.bytes.len());
        let end = (at + self.span as usize).min(self.bytes.len());
        let (bytes, span) = splice(&self.bytes[..at], revision, &self.bytes[end..]);
        Entry { revision, bytes, span, ..self.clone() }
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created, when there is no previous entry, or changed.
    Put,
    /// Deleted.
    Delete,
}

/// One change of one key, shared by all watchers.
#[derive(Clone, Debug)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The new entry, or for a delete the last state at the delete's revision.
    pub entry: Arc<Entry>,
    /// The entry before, None when the key was created by this event.
    pub prev: Option<Arc<Entry>>,
}

impl Event {
    /// The revision at which it happened.
    pub fn revision(&self) -> u64 {
        self.entry.revision
    }

    /// Bytes that only the history keeps alive once the event is over: what it replaced, and tombstones.
    pub(crate) fn retained_bytes(&self) -> usize {
        let prev = self.prev.as_ref().map_or(0, |entry| entry.bytes.len());
        let own = if self.kind == EventKind::Delete { self.entry.bytes.len() } else { 0 };
        EVENT_OVERHEAD + prev + own
    }
}

/// A rough figure for an event's own allocations and its entry's header.
const EVENT_OVERHEAD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips_its_pieces() {
        let header = Header::new("u-1", [("app", "web"), ("tier", "")], [("spec.nodeName", "n1")]);
        assert_eq!(header.uid(), "u-1");
        assert_eq!(header.labels().collect::<Vec<_>>(), [("app", "web"), ("tier", "")]);
        assert_eq!(header.field("spec.nodeName"), Some("n1"));
        assert_eq!(header.label("app"), Some("web"));
        assert_eq!(header.field("app"), None);
        let back = Header::from_parts(&header.text, header.ends.clone(), header.labels);
        assert_eq!(back.as_ref(), Some(&header));
        assert_eq!(Header::from_parts("x", Box::new([0]), 0), None);
        assert_eq!(Header::default().fields().count(), 0);
    }

    #[test]
    fn the_revision_is_spliced_once_and_replaced_in_a_tombstone() {
        let json = r#"{"metadata":{"name":"a","uid":"1"}}"#;
        let encoded = Encoded::new(json, json.find(r#""uid"#).unwrap_or(0), Header::default());
        let entry = encoded.into_entry("/registry/core/pods/d/a", 9, 9);
        assert_eq!(&entry.bytes[..], br#"{"metadata":{"name":"a","resourceVersion":"9","uid":"1"}}"#);
        let gone = entry.tombstone(1234);
        assert_eq!(&gone.bytes[..], br#"{"metadata":{"name":"a","resourceVersion":"1234","uid":"1"}}"#);
        assert_eq!((gone.revision, gone.create_revision), (1234, 9));
    }
}
