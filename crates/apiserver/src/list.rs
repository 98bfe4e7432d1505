//! LIST: a concatenation of stored bytes, made as the client takes it, so that it costs no memory of its own.
//! (`k8s.io/apiserver/pkg/storage/etcd3/store.go` for what revisions, limits and continue tokens mean.)

use crate::accept::{Accepted, Encoding, Shape};
use crate::catalog::Served;
use crate::filter::Filter;
use crate::limits::CHUNK;
use crate::pretty::Pretty;
use crate::query::{ListOptions, Match};
use crate::render::Render;
use crate::reply::{Payload, Reply};
use bytes::Bytes;
use meta::list::Continue;
use meta::{Reason, Status};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Entry, Store};

/// Bytes that are handed on at once: with the header of an HTTP/2 frame (9 bytes) they fill one TLS record. At 16 KiB
/// each frame would be two records, the second of 9 bytes.
const PIECE: usize = 16 * 1024 - 9;

/// The state of a list between two chunks.
pub(crate) struct ListBody {
    head: Option<Vec<u8>>,
    entries: std::vec::IntoIter<Arc<Entry>>,
    render: Render,
    tail: Option<&'static [u8]>,
    comma: bool,
    pretty: Option<Pretty>,
    /// Made and not handed on yet.
    ready: Bytes,
}

impl ListBody {
    /// The next piece; none at the end. An object that can't be shown ends the answer early, so that the client sees a
    /// torn document and not a list that lacks something.
    pub(crate) fn next_chunk(&mut self) -> Option<Result<Bytes, Status>> {
        if self.ready.len() < PIECE {
            match self.make()? {
                Ok(made) => self.ready = made,
                Err(e) => return Some(Err(e)),
            }
        }
        Some(Ok(self.ready.split_to(PIECE.min(self.ready.len()))))
    }

    /// What is left of the last buffer, and as many more objects as fill one; none at the end.
    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        let left = std::mem::take(&mut self.ready);
        if self.head.is_none() && self.tail.is_none() {
            return (!left.is_empty()).then_some(Ok(left));
        }
        let mut out = Vec::with_capacity(CHUNK + PIECE);
        if self.pretty.is_none() {
            out.extend_from_slice(&left);
        }
        out.append(&mut self.head.take().unwrap_or_default());
        while out.len() < CHUNK {
            let Some(entry) = self.entries.next() else { break };
            if std::mem::replace(&mut self.comma, true) {
                out.push(b',');
            }
            if let Err(e) = self.render.item(&entry, &mut out) {
                return Some(Err(e));
            }
        }
        if self.entries.len() == 0 {
            out.extend_from_slice(self.tail.take().unwrap_or_default());
        }
        let Some(pretty) = &mut self.pretty else { return Some(Ok(out.into())) };
        let mut indented = Vec::with_capacity(left.len() + out.len() * 2);
        indented.extend_from_slice(&left);
        pretty.push(&out, &mut indented);
        if self.tail.is_none() {
            indented.push(b'\n');
        }
        Some(Ok(indented.into()))
    }

    /// The size of what is still to come, where it is known without making it.
    pub(crate) fn exact_size(&self) -> Option<u64> {
        let (served, items) = (&self.render.served, self.entries.as_slice());
        let plain = self.render.shape == Shape::Whole && served.kind.served_as_stored();
        if !plain || self.pretty.is_some() || items.iter().any(|e| served.is_outdated(e.revision)) {
            return None;
        }
        let bytes: usize = items.iter().map(|e| self.render.item_size(&e.bytes)).sum();
        let commas = (items.len() + usize::from(self.comma)).saturating_sub(1);
        let ends = self.head.as_ref().map_or(0, Vec::len) + self.tail.map_or(0, <[u8]>::len);
        Some((self.ready.len() + bytes + commas + ends) as u64)
    }

    /// Everything at once, for encodings that can't be streamed.
    fn collect(mut self) -> Result<Vec<u8>, Status> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next_chunk() {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }
}

/// The entries that a list shows.
struct Page {
    revision: u64,
    entries: Vec<Arc<Entry>>,
    /// The last key, if there is more.
    next: Option<String>,
    remaining: Option<usize>,
}

/// What a list reads.
pub(crate) struct ListQuery<'a> {
    pub(crate) store: &'a Store,
    pub(crate) served: &'a Served,
    pub(crate) namespace: &'a str,
    pub(crate) options: &'a ListOptions,
    pub(crate) filter: &'a Filter,
}

impl ListQuery<'_> {
    fn prefix(&self) -> Result<String, Status> {
        self.served.prefix(self.namespace).ok_or_else(Status::no_such_path)
    }

    fn page(&self, prefix: &str) -> Result<Result<Page, Reply>, Status> {
        let o = self.options;
        if !o.continue_token.is_empty() {
            if o.revision.is_some_and(|r| r != 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = Continue::parse(&o.continue_token)
                .map_err(|why| Status::bad_request(format!("invalid continue token: {why}")))?;
            let after = format!("{prefix}{}", token.start.trim_end_matches('\0'));
            return Ok(self.read(prefix, token.revision, Some(&after)).map_err(|_| expired_token(&token)));
        }
        let at = self.revision()?;
        let too_old = |_| Status::expired("The resourceVersion for the provided list is too old.");
        self.read(prefix, at, None).map(Ok).map_err(too_old)
    }

    /// The revision that must be read; none for the newest.
    fn revision(&self) -> Result<Option<u64>, Status> {
        let Some(wanted) = self.options.revision.filter(|r| *r != 0) else { return Ok(None) };
        let current = self.store.revision();
        if wanted > current {
            return Err(too_large(wanted, current));
        }
        let exact = match self.options.revision_match {
            Match::Exact => true,
            Match::NotOlderThan => false,
            Match::Unset => self.options.limit > 0,
        };
        Ok(exact.then_some(wanted))
    }

    /// Reads pages of the store until enough objects match.
    fn read(&self, prefix: &str, at: Option<u64>, after: Option<&str>) -> Result<Page, store::RevisionError> {
        let limit = self.options.limit;
        let (mut at, mut after) = (at, after.map(str::to_owned));
        let mut entries = Vec::new();
        loop {
            let want = limit.saturating_sub(entries.len());
            let page = self.store.list(prefix, at, after.as_deref(), want)?;
            let last = page.entries.last().map(|e| e.key.to_string());
            entries.extend(page.entries.into_iter().filter(|e| self.filter.matches(e)));
            let more = page.more && last.is_some();
            if !more || (limit != 0 && entries.len() >= limit) {
                let next = last.filter(|_| more).map(|k| k[prefix.len()..].to_owned());
                let remaining = (next.is_some() && self.filter.is_empty()).then_some(page.remaining);
                return Ok(Page { revision: page.revision, entries, next, remaining });
            }
            (at, after) = (Some(page.revision), last);
        }
    }

    /// What the list shows, for those inside the server; the revision first.
    pub(crate) fn entries(&self) -> Result<(u64, Vec<Arc<Entry>>), Status> {
        let prefix = self.prefix()?;
        let page =
            self.page(&prefix)?.map_err(|_| Status::expired("The provided continue parameter is too old"))?;
        Ok((page.revision, page.entries))
    }

    /// Makes the answer.
    pub(crate) fn reply(&self, render: Render, accepted: Accepted) -> Result<Reply, Status> {
        let prefix = self.prefix()?;
        let page = match self.page(&prefix)? {
            Ok(page) => page,
            Err(reply) => return Ok(reply),
        };
        let mut meta = json!({"resourceVersion": page.revision.to_string()});
        if let Some(after) = page.next {
            meta["continue"] = Continue::after(&after, page.revision).into();
        }
        if let Some(n) = page.remaining {
            meta["remainingItemCount"] = n.into();
        }
        let yaml = accepted.encoding == Encoding::Yaml;
        let body = ListBody {
            head: Some(head(&render, &meta)),
            entries: page.entries.into_iter(),
            render,
            tail: Some(b"]}"),
            comma: false,
            pretty: (accepted.pretty && !yaml).then(Pretty::default),
            ready: Bytes::new(),
        };
        match yaml {
            true => Ok(Reply::json(200, accepted, body.collect()?.into())),
            false => Ok(Reply::new(200, accepted.content_type(), Payload::List(Box::new(body)))),
        }
    }
}

fn head(render: &Render, meta: &Value) -> Vec<u8> {
    let (kind, api_version) = render.list_type();
    let start = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{meta},"#);
    match render.shape {
        Shape::Table(_) => format!(r#"{start}"columnDefinitions":{},"rows":["#, render.columns()),
        _ => format!(r#"{start}"items":["#),
    }
    .into_bytes()
}

/// 504 for a revision that isn't there yet (`storage.NewTooLargeResourceVersionError`).
pub(crate) fn too_large(wanted: u64, current: u64) -> Status {
    let message = format!("Too large resource version: {wanted}, current: {current}");
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    let mut status = Status::new(Reason::Timeout, format!("Timeout: {message}"));
    status.details = json!({"retryAfterSeconds": 1, "causes": [cause]});
    status
}

/// 410 with a token that goes on at the newest revision (`handleCompactedErrorForPaging`).
fn expired_token(token: &Continue) -> Reply {
    let text = "The provided continue parameter is too old to display a consistent list result. You can start a new \
        list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
        the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
        modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    let mut v = Status::expired(text).to_value();
    v["metadata"]["continue"] = Continue::anywhere(token.start.trim_end_matches('\0')).into();
    Reply::value(410, Accepted::JSON, &v)
}
