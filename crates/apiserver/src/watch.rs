//! WATCH: the store's events, selected and framed. Each event's object is the stored bytes; only shapes that differ from
//! them (tables, metadata) are made for a watcher. (`k8s.io/apiserver/pkg/storage/cacher`, `endpoints/handlers/watch.go`)

use crate::accept::{Accepted, Shape};
use crate::clock::Clock;
use crate::filter::Filter;
use crate::limits::{BOOKMARK_SECONDS, CHUNK, MIN_WATCH_SECONDS};
use crate::query::ListOptions;
use crate::render::Render;
use crate::reply::{Payload, Reply};
use bytes::Bytes;
use meta::Status;
use serde_json::json;
use std::sync::Arc;
use std::task::{Context, Poll};
use store::{Entry, Event, EventKind, RevisionError, Store, Watcher};

/// A watch between two chunks.
pub(crate) struct WatchSession {
    watcher: Option<Watcher>,
    render: Render,
    filter: Filter,
    clock: Arc<dyn Clock>,
    /// The state at the start, still to be sent as ADDED.
    initial: std::vec::IntoIter<Arc<Entry>>,
    /// Revision of that state, while the bookmark that ends it is still to be sent.
    initial_end: Option<u64>,
    bookmarks: bool,
    headings: bool,
    /// An event to send before the watch ends.
    last_words: Option<Status>,
    /// The revision that the client knows it has seen.
    sent: u64,
    /// Seconds until the watch ends by itself.
    pub(crate) seconds: u64,
}

/// Where a watch begins.
enum Start {
    /// With the present state.
    State,
    /// Behind a revision.
    After(u64),
}

/// What a watch reads.
pub(crate) struct WatchQuery<'a> {
    pub(crate) store: &'a Store,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) options: &'a ListOptions,
    pub(crate) prefix: String,
    pub(crate) key: Option<String>,
    pub(crate) filter: Filter,
    pub(crate) render: Render,
}

impl WatchQuery<'_> {
    fn start(&self) -> Start {
        let o = self.options;
        match (o.initial_events, o.revision.unwrap_or(0)) {
            (Some(true), _) | (None, 0) => Start::State,
            (Some(false), 0) => Start::After(self.store.revision()),
            (_, revision) => Start::After(revision),
        }
    }

    fn watcher(&self, from: u64) -> Result<Watcher, RevisionError> {
        if let Some(key) = &self.key {
            return self.store.watch(key, from);
        }
        match self.filter.exact("spec.nodeName") {
            Some(node) => self.store.watch_field(&self.prefix, from, "spec.nodeName", node),
            None => self.store.watch(&self.prefix, from),
        }
    }

    /// Opens the watch.
    pub(crate) fn open(self) -> Result<WatchSession, Status> {
        let (entries, from) = match self.start() {
            Start::After(revision) => (Vec::new(), revision),
            Start::State => {
                let prefix = self.key.as_ref().unwrap_or(&self.prefix);
                let listing = self.store.list(prefix, None, None, 0).map_err(Status::internal)?;
                if let Some(wanted) = self.options.revision.filter(|r| *r > listing.revision) {
                    return Err(crate::list::too_large(wanted, listing.revision));
                }
                (listing.entries, listing.revision)
            }
        };
        let (watcher, last_words) = match self.watcher(from) {
            Ok(watcher) => (Some(watcher), None),
            Err(e) => (None, Some(too_old(from, &e))),
        };
        let entries: Vec<_> = entries.into_iter().filter(|e| self.filter.matches(e)).collect();
        let wants_end = self.options.initial_events == Some(true) && self.options.bookmarks;
        Ok(WatchSession {
            watcher,
            render: self.render,
            filter: self.filter,
            clock: self.clock.clone(),
            initial: entries.into_iter(),
            initial_end: wants_end.then_some(from),
            bookmarks: self.options.bookmarks,
            headings: true,
            last_words,
            sent: 0,
            seconds: self.options.timeout.unwrap_or_else(|| default_timeout(&**self.clock)),
        })
    }
}

/// Watches without `timeoutSeconds` end between once and twice the minimum, so that clients don't come back all at once.
fn default_timeout(clock: &dyn Clock) -> u64 {
    let spread = clock.now().subsec_nanosecond().unsigned_abs();
    MIN_WATCH_SECONDS + u64::from(spread) / 1000 % MIN_WATCH_SECONDS
}

/// 410 as upstream words it.
fn too_old(from: u64, e: &RevisionError) -> Status {
    let oldest = match e {
        RevisionError::Compacted { oldest, .. } => *oldest,
        RevisionError::Future { current, .. } => *current,
    };
    Status::expired(format!("too old resource version: {from} ({oldest})"))
}

impl WatchSession {
    /// The answer that carries the watch.
    pub(crate) fn reply(self, accepted: Accepted) -> Reply {
        let accepted = Accepted { encoding: crate::accept::Encoding::Json, ..accepted };
        Reply::new(200, accepted.content_type(), Payload::Watch(Box::new(self)))
    }

    /// Events that are there, at least one; none at the end of the watch.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = Vec::new();
        self.render.now = self.clock.now();
        let ended = self.fill_initial(&mut out) || self.fill(cx, &mut out);
        match (out.is_empty(), ended) {
            (false, _) => Poll::Ready(Some(out.into())),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }

    /// A bookmark, if the client wants them and the revision has moved on since it heard of one.
    pub(crate) fn bookmark(&mut self) -> Option<Bytes> {
        let revision = self.watcher.as_ref().filter(|_| self.bookmarks)?.progress();
        if revision <= self.sent || self.initial.len() > 0 || self.initial_end.is_some() {
            return None;
        }
        let mut out = Vec::new();
        self.write_bookmark(revision, false, &mut out);
        Some(out.into())
    }

    /// Seconds between two bookmarks.
    pub(crate) fn bookmark_seconds(&self) -> u64 {
        BOOKMARK_SECONDS.unsigned_abs()
    }

    fn fill_initial(&mut self, out: &mut Vec<u8>) -> bool {
        while out.len() < CHUNK {
            let Some(entry) = self.initial.next() else { break };
            if let Err(e) = self.write("ADDED", &entry, out) {
                return self.end(&e, out);
            }
        }
        if self.initial.len() == 0
            && let Some(revision) = self.initial_end.take()
        {
            self.write_bookmark(revision, true, out);
        }
        false
    }

    fn fill(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        if let Some(status) = self.last_words.take() {
            return self.end(&status, out);
        }
        while out.len() < CHUNK && self.initial.len() == 0 {
            let Some(watcher) = &mut self.watcher else { return true };
            match watcher.poll_next(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => {
                    self.watcher = None;
                    return true;
                }
                Poll::Ready(Some(Err(lagged))) => {
                    let text = format!("too old resource version: {} ({})", lagged.seen, lagged.oldest);
                    return self.end(&Status::expired(text), out);
                }
                Poll::Ready(Some(Ok(event))) => {
                    if let Err(e) = self.event(&event, out) {
                        return self.end(&e, out);
                    }
                }
            }
        }
        false
    }

    fn end(&mut self, status: &Status, out: &mut Vec<u8>) -> bool {
        self.watcher = None;
        self.initial = Vec::new().into_iter();
        out.extend_from_slice(json!({"type": "ERROR", "object": status.to_value()}).to_string().as_bytes());
        out.push(b'\n');
        true
    }

    /// What a change means to this client: an object may come into its selection or leave it.
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), Status> {
        let was = event.prev.as_ref().filter(|p| self.filter.matches(p));
        let is = event.kind == EventKind::Put && self.filter.matches(&event.entry);
        match (was, is) {
            (None, true) => self.write("ADDED", &event.entry, out),
            (Some(_), true) => self.write("MODIFIED", &event.entry, out),
            (Some(_), false) if event.kind == EventKind::Delete => self.write("DELETED", &event.entry, out),
            (Some(last), false) => self.write("DELETED", &last.tombstone(event.entry.revision), out),
            (None, false) => Ok(()),
        }
    }

    fn write(&mut self, kind: &str, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Status> {
        let start = out.len();
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        if let Err(e) = self.render.single(entry, self.headings, out) {
            out.truncate(start);
            return Err(e);
        }
        out.extend_from_slice(b"}\n");
        self.headings = false;
        self.sent = self.sent.max(entry.revision);
        Ok(())
    }

    fn write_bookmark(&mut self, revision: u64, initial_end: bool, out: &mut Vec<u8>) {
        let kind = &self.render.served.kind;
        let mut meta = json!({"resourceVersion": revision.to_string()});
        let object = match self.render.shape {
            Shape::Table(v) => json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{v}"),
                "metadata": meta, "columnDefinitions": [], "rows": []}),
            shape => {
                if initial_end {
                    meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                match shape {
                    Shape::Partial(v) => json!({"kind": "PartialObjectMetadata",
                        "apiVersion": format!("meta.k8s.io/{v}"), "metadata": meta}),
                    _ => json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": meta}),
                }
            }
        };
        out.extend_from_slice(json!({"type": "BOOKMARK", "object": object}).to_string().as_bytes());
        out.push(b'\n');
        self.sent = self.sent.max(revision);
    }
}
