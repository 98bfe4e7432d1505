//! An ordinary client with a cache, over a bad way: what it sees must be whole and in order.

use api::MetaExt;
use client::reflector::{Batch, Reflector};
use client::{Cache, Client, Feed, Resource};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// What a watcher holds, and what was wrong with what it saw.
#[derive(Default)]
pub(crate) struct Seen {
    cache: Cache,
    last: u64,
    /// Misses deletions, to be found out.
    deaf: bool,
    pub(crate) violations: Vec<String>,
}

impl Seen {
    pub(crate) fn new(deaf: bool) -> Self {
        Self { deaf, ..Self::default() }
    }

    /// Names and revisions of the objects that it holds.
    pub(crate) fn objects(&self) -> BTreeMap<String, u64> {
        self.cache.iter().map(|(key, o)| (key.to_string(), o.meta().revision())).collect()
    }

    fn feed(&mut self, feed: Feed) {
        if self.deaf && matches!(feed, Feed::Delete(_)) {
            return;
        }
        match &feed {
            Feed::Put(o) | Feed::Delete(o) => self.in_order(o.meta().revision()),
            Feed::Bookmark(at) if *at < self.last => {
                self.violations.push(format!("a bookmark at {at} came after revision {}", self.last));
            }
            Feed::Listed(at) if *at < self.last => {
                self.violations.push(format!("a list at {at} came after revision {}", self.last));
            }
            Feed::Listed(at) => self.last = *at,
            _ => {}
        }
        self.cache.apply(feed);
    }

    fn in_order(&mut self, at: u64) {
        if at <= self.last {
            self.violations.push(format!("revision {at} came after {}", self.last));
        }
        self.last = at;
    }
}

/// Watches one resource until it is aborted.
pub(crate) async fn run(client: Client, resource: Resource, seen: Arc<Mutex<Seen>>) {
    let (sink, mut source) = mpsc::channel::<Batch>(16);
    let reflector = Reflector::all(&client, resource, api::PartialObject::decode, 0);
    let task = tokio::spawn(reflector.run(sink));
    while let Some(batch) = source.recv().await {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        batch.feeds.into_iter().for_each(|f| seen.feed(f));
    }
    task.abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_heard_or_comes_in_the_wrong_order_shows() {
        let pod = |name: &str, revision: u64| {
            let json = format!(
                r#"{{"metadata": {{"name": "{name}", "namespace": "x", "uid": "{name}", "resourceVersion": "{revision}"}}}}"#
            );
            api::PartialObject::decode(json.as_bytes()).expect("an object")
        };
        let mut seen = Seen::default();
        for feed in [Feed::Listed(1), Feed::Put(pod("a", 2)), Feed::Put(pod("b", 3))] {
            seen.feed(feed);
        }
        let there = BTreeMap::from([("x/b".to_owned(), 3)]);
        assert_ne!(seen.objects(), there, "a deletion was not heard of");
        seen.feed(Feed::Delete(pod("a", 4)));
        assert_eq!((seen.objects(), seen.violations.len()), (there, 0));
        seen.feed(Feed::Put(pod("c", 4)));
        assert_eq!(seen.violations, ["revision 4 came after 4"]);
    }
}
