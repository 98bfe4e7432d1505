//! Feeds a cache from a server: a consistent list, then a watch from its revision, for ever.

use crate::Resource;
use crate::access::Client;
use crate::cache::Feed;
use crate::call::ListOptions;
use crate::error::Error;
use crate::watch::WatchEvent;
use api::Stored;
use api::kinds::Decode;
use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// Items on a page of a list.
pub const PAGE_ITEMS: u32 = 500;
/// Events that are handed on at once.
pub const MAX_BATCH: usize = 256;
/// How long the server keeps a watch open.
pub const WATCH_SECONDS: u32 = 420;
/// The first and the longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(4));

/// What to reflect.
#[derive(Clone)]
pub struct Reflector {
    /// Whose requests.
    pub client: Client,
    /// Which resource.
    pub resource: Resource,
    /// In which namespace; empty for all.
    pub namespace: String,
    /// `labelSelector`; empty for all.
    pub labels: String,
    /// `fieldSelector`, for example `spec.nodeName=a`; empty for all.
    pub fields: String,
    /// How the objects decode.
    pub decode: Decode,
    /// Which type they decode to, where they may be shared with other caches of the process.
    pub type_id: Option<TypeId>,
    /// Marks the batches of this reflector.
    pub slot: usize,
}

/// What a reflector hands on: feeds in order, for the cache in `slot`.
pub struct Batch {
    /// The reflector's mark.
    pub slot: usize,
    /// What to apply.
    pub feeds: Vec<Feed>,
}

/// Why one watch ended.
enum End {
    /// Nobody listens any more.
    Closed,
    /// The revision is gone, or the state can't be trusted: list anew.
    Relist,
    /// Go on from the last revision; after a pause if it was a failure.
    Resume(bool),
}

impl Reflector {
    /// All objects of `resource`, decoded by `decode`.
    pub fn all(client: &Client, resource: Resource, decode: Decode, slot: usize) -> Self {
        let client = client.clone();
        let (namespace, labels, fields) = (String::new(), String::new(), String::new());
        Self { client, resource, namespace, labels, fields, decode, type_id: None, slot }
    }

    /// Runs until `sink` is closed.
    pub async fn run(self, sink: Sender<Batch>) {
        let mut failures = 0;
        loop {
            match self.list(&sink).await {
                Ok(Some(revision)) => {
                    failures = 0;
                    if self.follow(revision, &sink).await.is_none() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(e) => {
                    tracing::debug!(resource = %self.resource, "list failed: {e}");
                    failures += 1;
                    sleep(self.pause(failures)).await;
                }
            }
            if sink.is_closed() {
                return;
            }
        }
    }

    /// Lists everything as of now; none when nobody listens.
    async fn list(&self, sink: &Sender<Batch>) -> Result<Option<u64>, Error> {
        let mut options = self.options();
        options.limit = PAGE_ITEMS;
        let mut feeds = vec![Feed::Restart];
        loop {
            let page = self.client.list(&self.resource, &self.namespace, &options).await?;
            let items = page.items.iter().filter_map(|raw| self.decode(raw.get().as_bytes()));
            feeds.push(Feed::Page(items.collect()));
            let last = page.continue_token.is_empty();
            if last {
                feeds.push(Feed::Listed(page.revision));
            }
            if sink.send(Batch { slot: self.slot, feeds: std::mem::take(&mut feeds) }).await.is_err() {
                return Ok(None);
            }
            if last {
                return Ok(Some(page.revision));
            }
            options.continue_token = page.continue_token;
        }
    }

    /// Watches from `revision` on, over and over, until a relist is due; none when nobody listens.
    async fn follow(&self, mut revision: u64, sink: &Sender<Batch>) -> Option<()> {
        let mut failures = 0;
        loop {
            let before = revision;
            match self.watch(&mut revision, sink).await {
                End::Closed => return None,
                End::Relist => return Some(()),
                End::Resume(failed) => {
                    failures = if failed && revision == before { failures + 1 } else { 0 };
                    if failed {
                        sleep(self.pause(failures)).await;
                    }
                }
            }
        }
    }

    async fn watch(&self, revision: &mut u64, sink: &Sender<Batch>) -> End {
        let mut options = self.options();
        options.resource_version = revision.to_string();
        let opened = self.client.watch(&self.resource, &self.namespace, &options, WATCH_SECONDS).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(e) if e.is_expired() || e.is_not_found() => return End::Relist,
            Err(_) => return End::Resume(true),
        };
        let longest = Duration::from_secs(u64::from(WATCH_SECONDS) + 30);
        loop {
            let first = match timeout(longest, stream.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => return End::Resume(false),
                Err(_) => return End::Resume(true),
            };
            let (mut feeds, mut next) = (Vec::new(), Some(first));
            let mut end = None;
            while let Some(event) = next {
                match event {
                    Ok(event) => feeds.extend(self.feed(event, revision)),
                    Err(e) if e.is_expired() => end = Some(End::Relist),
                    Err(_) => end = Some(End::Resume(true)),
                }
                next = if end.is_none() && feeds.len() < MAX_BATCH { stream.buffered() } else { None };
            }
            if !feeds.is_empty() && sink.send(Batch { slot: self.slot, feeds }).await.is_err() {
                return End::Closed;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn feed(&self, event: WatchEvent, revision: &mut u64) -> Option<Feed> {
        let (feed, at) = match event {
            WatchEvent::Bookmark(r) => (Feed::Bookmark(r), r),
            WatchEvent::Put(bytes) => {
                let object = self.decode(&bytes)?;
                let at = api::MetaExt::revision(object.meta());
                (Feed::Put(object), at)
            }
            WatchEvent::Delete(bytes) => {
                let object = self.decode(&bytes)?;
                let at = api::MetaExt::revision(object.meta());
                (Feed::Delete(object), at)
            }
        };
        *revision = at.max(*revision);
        Some(feed)
    }

    /// An object that doesn't decode is left out, and said so: one strange object must not blind us to all.
    fn decode(&self, bytes: &[u8]) -> Option<Arc<dyn Stored>> {
        // Of a selection nothing is shared: there an object that left it comes at the revision of what replaced it.
        let wanted = self.type_id.filter(|_| self.labels.is_empty() && self.fields.is_empty());
        let decoded = match self.client.decoded().zip(wanted) {
            Some((shared, wanted)) => shared.decode(wanted, self.decode, bytes),
            None => (self.decode)(bytes),
        };
        decoded
            .inspect_err(|e| tracing::warn!(resource = %self.resource, "an object is unreadable: {e}"))
            .ok()
    }

    fn options(&self) -> ListOptions {
        ListOptions { labels: self.labels.clone(), fields: self.fields.clone(), ..ListOptions::default() }
    }

    /// Doubles with each failure, up to a bound, spread by the resource's name so that not all come at once.
    fn pause(&self, failures: u32) -> Duration {
        let spread = self.resource.resource.bytes().fold(failures, |h, b| h.wrapping_mul(31) ^ u32::from(b));
        let base = PAUSE.0.saturating_mul(1 << failures.clamp(1, 12).saturating_sub(1)).min(PAUSE.1);
        base + base.mul_f64(f64::from(spread % 1000) / 1000.0)
    }
}
