//! Keeps the authorizer's state a prefix of the log that is never behind the request at hand: whoever was granted a right
//! has it in the next request.

use auth::Authorizer;
use meta::Object;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use store::{EventKind, Store, Watcher};

/// One watched resource.
struct Source {
    group: &'static str,
    resource: &'static str,
    prefix: String,
    watcher: Option<Watcher>,
    known: BTreeSet<(String, String)>,
}

/// The authorizer and what feeds it.
pub(crate) struct Fed {
    authorizer: Authorizer,
    rules: Mutex<Vec<Source>>,
    rules_at: AtomicU64,
    /// What only the requests of nodes are judged by; caught up when a node asks, and now and then.
    graph: Mutex<Vec<Source>>,
    graph_at: AtomicU64,
}

impl Fed {
    /// Nothing fed yet; the first request catches up.
    pub(crate) fn new(authorizer: Authorizer) -> Self {
        let (rules, graph) = Authorizer::WATCHED
            .iter()
            .map(|(group, resource)| Source::new(group, resource))
            .partition(|s| s.group == auth::authorize::rbac::GROUP);
        let [rules_at, graph_at] = [AtomicU64::new(0), AtomicU64::new(0)];
        Self { authorizer, rules: Mutex::new(rules), rules_at, graph: Mutex::new(graph), graph_at }
    }

    /// The authorizer, as of the newest revision for everybody but nodes.
    pub(crate) fn get(&self, store: &Store) -> &Authorizer {
        catch_up(&self.rules, &self.rules_at, store, &self.authorizer);
        &self.authorizer
    }

    /// Catches up with what the requests of nodes are judged by.
    pub(crate) fn for_nodes(&self, store: &Store) {
        catch_up(&self.graph, &self.graph_at, store, &self.authorizer);
    }
}

fn catch_up(sources: &Mutex<Vec<Source>>, at: &AtomicU64, store: &Store, authorizer: &Authorizer) {
    let revision = store.revision();
    if at.load(Ordering::Acquire) == revision {
        return;
    }
    let mut sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
    sources.iter_mut().for_each(|s| s.catch_up(store, authorizer));
    at.fetch_max(revision, Ordering::AcqRel);
}

impl Source {
    fn new(group: &'static str, resource: &'static str) -> Self {
        let in_key = if group.is_empty() { "core" } else { group };
        let prefix = format!("/registry/{in_key}/{resource}/");
        Self { group, resource, prefix, watcher: None, known: BTreeSet::new() }
    }

    fn catch_up(&mut self, store: &Store, authorizer: &Authorizer) {
        if self.watcher.is_none() {
            self.relist(store, authorizer);
        }
        let Some(mut watcher) = self.watcher.take() else { return };
        loop {
            match watcher.try_next() {
                None => break self.watcher = Some(watcher),
                Some(Ok(event)) => self.take(event.kind, &event.entry.key, &event.entry.bytes, authorizer),
                Some(Err(_)) => return self.relist(store, authorizer),
            }
        }
    }

    fn take(&mut self, kind: EventKind, key: &str, bytes: &[u8], authorizer: &Authorizer) {
        let name = self.split(key);
        if kind == EventKind::Delete {
            authorizer.delete(self.group, self.resource, &name.0, &name.1);
            self.known.remove(&name);
        } else if let Ok(object) = Object::from_slice(bytes) {
            authorizer.put(self.group, self.resource, &object);
            self.known.insert(name);
        }
    }

    fn split(&self, key: &str) -> (String, String) {
        let rest = key.strip_prefix(&self.prefix).unwrap_or_default();
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        (namespace.to_owned(), name.to_owned())
    }

    fn relist(&mut self, store: &Store, authorizer: &Authorizer) {
        let Ok(listing) = store.list(&self.prefix, None, None, 0) else { return };
        let old = std::mem::take(&mut self.known);
        for entry in &listing.entries {
            self.take(EventKind::Put, &entry.key, &entry.bytes, authorizer);
        }
        for (namespace, name) in old.difference(&self.known) {
            authorizer.delete(self.group, self.resource, namespace, name);
        }
        self.watcher = store.watch(&self.prefix, listing.revision).ok();
    }
}
