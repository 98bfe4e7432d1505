//! Checkers: some look at every revision as it is written, some at the end.

mod model;
mod rules;
mod settled;

pub(crate) use settled::{Objects, unsettled};

use model::{KNOWN, Model};
use rules::RULES;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use store::{Entry, Event, EventKind, Store, Watcher};
use testkit::VirtualClock;

/// Where objects lie in the store.
const ROOT: &str = "/registry/";

/// Writes that are told of a world that doesn't come to rest.
const MAX_SHOWN: usize = 8;

/// Looks at every revision.
pub(crate) struct Checker {
    clock: VirtualClock,
    watcher: Watcher,
    model: Model,
    uids: BTreeSet<String>,
    last: u64,
    pub(crate) violations: Vec<String>,
}

impl Checker {
    pub(crate) fn new(store: &Store, clock: VirtualClock) -> Self {
        let watcher = store.watch(ROOT, store.revision()).expect("the newest revision is there");
        let (model, uids, violations) = Default::default();
        Self { clock, watcher, model, uids, last: store.revision(), violations }
    }

    /// Looks at what was written since the last look, and tells up to which revision that was.
    pub(crate) fn look(&mut self) -> u64 {
        while let Some(event) = self.watcher.try_next() {
            let Ok(event) = event else {
                self.violations.push("the checker fell behind".to_owned());
                return self.last;
            };
            self.follow(&event);
        }
        self.last
    }

    fn follow(&mut self, event: &Event) {
        if event.revision() <= self.last {
            self.violations.push(format!("revision {} came after {}", event.revision(), self.last));
        }
        self.last = event.revision();
        self.see(event.kind, &event.entry);
    }

    fn see(&mut self, kind: EventKind, entry: &Entry) {
        let resource = resource_of(&entry.key);
        self.uids.insert(entry.header.uid().to_owned());
        if !KNOWN.contains(&resource) {
            return;
        }
        let Ok(object) = serde_json::from_slice::<Value>(&entry.bytes) else {
            return self.violations.push(format!("{} holds no JSON", entry.key));
        };
        let gone = matches!(kind, EventKind::Delete);
        let seen = self.model.take(self.clock.elapsed(), resource, &object, gone);
        for (name, rule) in RULES {
            if let Some(wrong) = rule(&self.model, &seen) {
                self.violations.push(format!("{name}: {wrong} (revision {})", self.last));
            }
        }
    }

    /// The store was closed and opened again: all that could be seen in the old one must be in the new one.
    pub(crate) fn reopened(&mut self, old: &Store, new: &Store) {
        self.look();
        let at = old.revision();
        if new.revision() < at {
            let lost = format!("revision {at} was there, and after the start only {}", new.revision());
            return self.violations.push(lost);
        }
        let all = |store: &Store, at| {
            let listing = store.list(ROOT, at, None, 0).map(|l| l.entries).unwrap_or_default();
            listing.iter().map(|e| (e.key.to_string(), e.bytes.clone())).collect::<BTreeMap<_, _>>()
        };
        let (before, after) = (all(old, None), all(new, Some(at)));
        for (key, bytes) in &before {
            if after.get(key) != Some(bytes) {
                self.violations.push(format!("{key} is lost or another one after the start"));
            }
        }
        if after.len() > before.len() {
            self.violations.push("there is more after the start than before".to_owned());
        }
        match new.watch(ROOT, self.last) {
            Ok(watcher) => self.watcher = watcher,
            Err(_) => self.violations.push(format!("no watch goes on from revision {}", self.last)),
        }
    }

    /// Creations that were acknowledged must have happened.
    pub(crate) fn nothing_lost(&mut self, acknowledged: &[String]) {
        for uid in acknowledged.iter().filter(|uid| !self.uids.contains(*uid)) {
            self.violations.push(format!("the creation of {uid} was acknowledged and is lost"));
        }
    }
}

/// The resource of a key: `/registry/GROUP/RESOURCE/...`.
fn resource_of(key: &str) -> &str {
    key.trim_start_matches(ROOT).split('/').nth(1).unwrap_or_default()
}

/// The objects of a resource, by namespace and name, with their revisions.
pub(crate) fn stored(store: &Store, prefix: &str) -> BTreeMap<String, u64> {
    let listing = store.list(&format!("{ROOT}{prefix}/"), None, None, 0);
    let entries = listing.map(|l| l.entries).unwrap_or_default();
    let key = |e: &Entry| e.key.trim_start_matches(&format!("{ROOT}{prefix}/")).to_owned();
    entries.iter().map(|e| (key(e), e.revision)).collect()
}

/// Everything that there is.
pub(crate) fn objects(store: &Store) -> Objects {
    let entries = store.list(ROOT, None, None, 0).map(|l| l.entries).unwrap_or_default();
    let mut all = Objects::default();
    for entry in entries {
        if let Ok(object) = serde_json::from_slice(&entry.bytes) {
            all.put(resource_of(&entry.key), object);
        }
    }
    all
}

/// What is still being written though nothing happens any more.
pub(crate) fn restless(store: &Store, since: u64) -> Vec<String> {
    let Ok(mut watcher) = store.watch(ROOT, since) else { return vec!["the history is gone".to_owned()] };
    let mut writes = Vec::new();
    while let Some(Ok(event)) = watcher.try_next().filter(|_| writes.len() < MAX_SHOWN) {
        let key = &event.entry.key;
        let beats = ["coordination.k8s.io/leases", "core/nodes", "core/events"];
        if !beats.iter().any(|b| key.starts_with(&format!("{ROOT}{b}/"))) {
            writes.push(format!("{key} was written at {} though all was settled", event.revision()));
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Encoded, Expect, Header, SimDisk, Txn, Write};
    use testkit::server::store_on;

    fn put(store: &Store, name: &str) {
        let json = format!("{{\"metadata\":{{}},\"name\":\"{name}\"}}");
        let place = json.find("}").unwrap_or_default();
        let write = Write::Put(Encoded::new(json, place, Header::new(name, [], [])));
        let txn = Txn { key: format!("{ROOT}core/things/x/{name}"), expect: Expect::Any, write };
        store.commit(txn).expect("a commit");
    }

    #[tokio::test]
    async fn a_disk_that_only_says_that_it_synced_is_found_out() {
        let told = |seed: u64, lies: bool| {
            let disk = SimDisk::new(seed);
            let old = store_on(&disk).expect("a store");
            let mut checker = Checker::new(&old, VirtualClock::new());
            put(&old, "a");
            if lies {
                disk.lie();
            }
            (0..20).for_each(|n| put(&old, &format!("b{n}")));
            disk.power_cycle();
            // What is damaged may not even open.
            let Ok(new) = store_on(&disk) else { return 1 };
            checker.reopened(&old, &new);
            checker.violations.len()
        };
        assert!((0..8).all(|seed| told(seed, false) == 0));
        assert!((0..8).any(|seed| told(seed, true) > 0));
    }

    #[tokio::test]
    async fn an_acknowledged_creation_that_is_nowhere_is_found_out() {
        let store = testkit::server::store();
        let mut checker = Checker::new(&store, VirtualClock::new());
        put(&store, "a");
        checker.look();
        checker.nothing_lost(&["a".to_owned()]);
        assert_eq!(checker.violations, [""; 0]);
        checker.nothing_lost(&["b".to_owned()]);
        assert_eq!(checker.violations, ["the creation of b was acknowledged and is lost"]);
    }

    #[test]
    fn what_is_written_though_all_was_settled_is_found_out() {
        let store = testkit::server::store();
        let since = store.revision();
        assert_eq!(restless(&store, since), [""; 0]);
        put(&store, "a");
        assert_eq!(restless(&store, since).len(), 1);
    }
}
