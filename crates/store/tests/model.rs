//! Seeded runs of the whole store against a model that keeps every revision: transactions with preconditions, lists
//! at older revisions in pages, watches from older revisions, compaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{
    Embedded, Encoded, Event, EventKind, Expect, Header, HeaderParser, Limits, Memory, RevisionError, Store,
    Txn, TxnError, Watcher, Write,
};

struct NoParser;

impl HeaderParser for NoParser {
    fn header(&self, _key: &str, _bytes: &[u8]) -> Header {
        Header::default()
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

type Objects = BTreeMap<String, (u64, String)>;

/// A change as watchers should see it: revision, kind, key, node now, node before.
#[derive(Clone)]
struct Change {
    revision: u64,
    kind: EventKind,
    key: String,
    node: String,
    node_before: Option<String>,
}

struct Watching {
    watcher: Watcher,
    prefix: String,
    node: Option<String>,
    next: u64,
    lost: bool,
}

struct Model {
    /// The objects at each revision; index 0 is revision 1.
    states: Vec<Objects>,
    changes: Vec<Change>,
    nodes: BTreeMap<String, String>,
}

const PREFIXES: [&str; 5] =
    ["/registry/", "/registry/core/pods/", "/registry/core/pods/a/", "/registry/x/y/", ""];

fn key(rng: &mut Rng) -> String {
    let resource = ["core/pods", "core/podsx", "x/y"][rng.below(3)];
    format!("/registry/{resource}/{}/{}", ["a", "ab"][rng.below(2)], rng.below(4))
}

fn encoded(serial: usize, node: &str) -> Encoded {
    let json = format!(r#"{{"metadata":{{"uid":"{serial}"}}}}"#);
    let at = json.find(r#""uid""#).unwrap();
    Encoded::new(json, at, Header::new(&serial.to_string(), [], [("spec.nodeName", node)]))
}

impl Model {
    fn revision(&self) -> u64 {
        self.states.len() as u64
    }

    fn step(&mut self, store: &Store, rng: &mut Rng, serial: usize) {
        let key = key(rng);
        let mut next = self.states.last().unwrap().clone();
        let current = next.get(&key).map(|(revision, _)| *revision);
        let expect = match rng.below(4) {
            0 => Expect::Absent,
            1 => Expect::Revision(current.unwrap_or(3)),
            2 => Expect::Revision(current.map_or(1, |revision| revision - 1)),
            _ => Expect::Any,
        };
        let delete = rng.below(3) == 0;
        let holds = match expect {
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current == Some(revision),
            Expect::Any => true,
        };
        let node = format!("n{}", rng.below(3));
        let write = match (delete, rng.below(2)) {
            (true, 0) => Write::Delete(None),
            (true, _) => Write::Delete(Some(encoded(serial, &node))),
            _ => Write::Put(encoded(serial, &node)),
        };
        let keeps_node = matches!(write, Write::Delete(None));
        let outcome = store.commit(Txn { key: key.clone(), expect, write });
        if !holds || (delete && current.is_none()) {
            let Err(TxnError::Conflict { current: found }) = outcome else { panic!("{outcome:?}") };
            assert_eq!(found.map(|entry| entry.revision), current);
            return;
        }
        let committed = outcome.unwrap();
        assert_eq!(committed.revision, self.revision() + 1);
        assert_eq!(committed.prev.map(|entry| entry.revision), current);
        let text = String::from_utf8(committed.entry.bytes.to_vec()).unwrap();
        assert!(text.contains(&format!(r#""resourceVersion":"{}","#, committed.revision)), "{text}");
        let node_before = self.nodes.get(&key).cloned();
        let node = node_before.clone().filter(|_| keeps_node).unwrap_or(node);
        let kind = if delete { EventKind::Delete } else { EventKind::Put };
        if delete {
            next.remove(&key);
            self.nodes.remove(&key);
        } else {
            next.insert(key.clone(), (committed.revision, text));
            self.nodes.insert(key.clone(), node.clone());
        }
        self.states.push(next);
        self.changes.push(Change { revision: committed.revision, kind, key, node, node_before });
    }

    fn check_list(&self, store: &Store, rng: &mut Rng) {
        let prefix = PREFIXES[rng.below(PREFIXES.len())];
        let at = 1 + rng.below(self.states.len() + 1) as u64;
        let mut listed = Vec::new();
        let mut after: Option<String> = None;
        let limit = rng.below(4);
        loop {
            let page = match store.list(prefix, Some(at), after.as_deref(), limit) {
                Ok(page) => page,
                Err(RevisionError::Compacted { oldest, .. }) => return assert!(at < oldest),
                Err(RevisionError::Future { .. }) => return assert!(at > self.revision()),
            };
            assert_eq!((page.revision, page.more), (at, page.remaining > 0));
            listed.extend(page.entries.iter().map(|entry| (entry.key.to_string(), entry.revision)));
            let Some(last) = page.entries.last().filter(|_| page.more) else { break };
            after = Some(last.key.to_string());
        }
        let state = &self.states[at as usize - 1];
        let expected: Vec<_> = state
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, (r, _))| (key.clone(), *r))
            .collect();
        assert_eq!(listed, expected, "{prefix} at {at}");
    }

    fn watch(&self, store: &Store, rng: &mut Rng) -> Option<Watching> {
        let prefix = PREFIXES[rng.below(PREFIXES.len())].to_owned();
        let from = 1 + rng.below(self.states.len()) as u64;
        let node = (rng.below(2) == 0).then(|| format!("n{}", rng.below(3)));
        let watcher = match &node {
            Some(node) => store.watch_field(&prefix, from, "spec.nodeName", node),
            None => store.watch(&prefix, from),
        };
        match watcher {
            Ok(watcher) => Some(Watching { watcher, prefix, node, next: from, lost: false }),
            Err(error) => {
                assert!(matches!(error, RevisionError::Compacted { oldest, .. } if from < oldest));
                None
            }
        }
    }
}

impl Watching {
    fn wants(&self, change: &Change) -> bool {
        let node = self.node.as_ref();
        change.key.starts_with(&self.prefix)
            && node.is_none_or(|node| *node == change.node || Some(node) == change.node_before.as_ref())
    }

    fn read(&mut self, model: &Model, count: usize) {
        for _ in 0..count {
            let got = self.watcher.try_next();
            let expected = model.changes.iter().find(|c| c.revision > self.next && self.wants(c));
            match (got, expected) {
                (None, None) => {
                    assert_eq!(self.watcher.progress(), model.revision());
                    return;
                }
                (Some(Ok(event)), Some(change)) => self.same(&event, change),
                (Some(Err(lagged)), _) => {
                    assert!(lagged.seen < lagged.oldest);
                    self.lost = true;
                    return;
                }
                (got, expected) => panic!("{got:?}, expected {:?}", expected.map(|change| change.revision)),
            }
        }
    }

    fn same(&mut self, event: &Event, change: &Change) {
        assert_eq!((event.revision(), event.kind), (change.revision, change.kind));
        assert_eq!(*event.entry.key, *change.key);
        self.next = change.revision;
        assert!(self.watcher.progress() >= self.next);
    }
}

fn run(seed: u64, open: &dyn Fn() -> Store, steps: usize) {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut store = open();
    let mut model = Model { states: vec![Objects::new()], changes: Vec::new(), nodes: BTreeMap::new() };
    let mut watching: Vec<Watching> = Vec::new();
    for serial in 0..steps {
        model.step(&store, &mut rng, serial);
        if rng.below(4) == 0 {
            model.check_list(&store, &mut rng);
        }
        if rng.below(8) == 0 && watching.len() < 8 {
            watching.extend(model.watch(&store, &mut rng));
        }
        if let Some(some) = (!watching.is_empty()).then(|| rng.below(watching.len())) {
            watching[some].read(&model, 1 + serial % 9);
            if watching[some].lost || rng.below(20) == 0 {
                watching.swap_remove(some);
            }
        }
        if rng.below(100) == 0 {
            store.compact(model.revision().saturating_sub(rng.below(10) as u64));
        }
        if rng.below(80) == 0 && seed.is_multiple_of(2) {
            watching.clear();
            drop(store);
            store = open();
            let memory = store.revision() == 1;
            if memory {
                return;
            }
            assert_eq!(store.revision(), model.revision());
        }
    }
    watching.iter_mut().for_each(|watching| watching.read(&model, usize::MAX));
}

fn limits() -> Limits {
    Limits { history_events: 50, ..Limits::default() }
}

#[test]
fn in_memory_it_behaves_as_the_model() {
    for seed in 0..60 {
        run(seed, &|| Store::open(Box::new(Memory), Arc::new(NoParser), limits()).unwrap(), 300);
    }
}

#[test]
fn on_disk_it_behaves_as_the_model_across_restarts() {
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(Box::new(Embedded::new(dir.path())), Arc::new(NoParser), limits()).unwrap();
        run(seed, &open, 200);
    }
}
