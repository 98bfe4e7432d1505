//! The log on a simulated disk: whatever is done to it, nothing acknowledged is lost and nothing is made up.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Feed, OpenError};
use crate::engine::Engine;
use crate::entry::{Encoded, EventKind, Header, HeaderParser};
use crate::limits::Limits;
use crate::shared::Shared;
use crate::txn::{Done, Expect, Outcome, Pending, Txn, TxnError, Write};

use super::journal::{Journal, Sizes};
use super::simulated::{Rng, SimDisk, SimLog};
use super::{names, recover};

const SIZES: Sizes = Sizes { ready: 256, checkpoint: 600, retry: 200 };
const KEYS: u64 = 8;

struct NoParser;

impl HeaderParser for NoParser {
    fn header(&self, _key: &str, _bytes: &[u8]) -> Header {
        panic!("the stored headers are good")
    }
}

/// What is in the store: every change in order.
type Changes = Vec<(String, Option<Bytes>)>;
type Objects = BTreeMap<String, Bytes>;

struct World {
    disk: SimDisk,
    rng: Rng,
    /// Revision 2 is `changes[0]`.
    changes: Changes,
    serial: u64,
    crash_points: u64,
    checkpoints: u64,
    refused: u64,
}

fn feed() -> Feed {
    let limits = Limits { history_events: 40, ..Limits::default() };
    Feed { shared: Arc::new(Shared::new(limits)), parse: Arc::new(NoParser) }
}

fn objects(changes: &[(String, Option<Bytes>)]) -> Objects {
    let mut objects = Objects::new();
    for (key, bytes) in changes {
        match bytes {
            Some(bytes) => objects.insert(key.clone(), bytes.clone()),
            None => objects.remove(key),
        };
    }
    objects
}

impl World {
    fn new(seed: u64) -> World {
        let (disk, rng) = (SimDisk::new(seed), Rng::new(!seed));
        World { disk, rng, changes: Vec::new(), serial: 0, crash_points: 0, checkpoints: 0, refused: 0 }
    }

    fn open(&self) -> Result<(Feed, Journal), OpenError> {
        let feed = feed();
        let journal = recover::recover(Arc::new(self.disk.clone()), &feed, SIZES)?;
        Ok((feed, journal))
    }

    fn txn(&mut self) -> Txn {
        self.serial += 1;
        let key = format!("/registry/core/pods/ns/{}", self.rng.below(KEYS));
        let text = format!("{{\"metadata\":{{\"serial\":{},", self.serial);
        let json = format!("{text}\"pad\":\"{}\"}}}}", "x".repeat(self.rng.below(90) as usize));
        let header = Header::new(&self.serial.to_string(), [("app", "a")], [("spec.nodeName", key.as_str())]);
        let encoded = Encoded::new(json, text.len(), header).expires(self.serial % 3);
        let write = match self.rng.below(4) {
            0 => Write::Delete(None),
            1 => Write::Delete(Some(encoded)),
            _ => Write::Put(encoded),
        };
        let expect = if self.rng.one_in(4) { Expect::Absent } else { Expect::Any };
        Txn { key, expect, write }
    }

    /// Runs a batch; its outcomes in order.
    fn batch(&mut self, engine: &mut Engine<SimLog>) -> Vec<Outcome> {
        let count = 1 + self.rng.below(4);
        let (txns, pendings): (Vec<(Txn, Done)>, Vec<Pending>) = (0..count)
            .map(|_| {
                let (done, pending) = Pending::new();
                ((self.txn(), done), pending)
            })
            .unzip();
        engine.run(txns);
        pendings.into_iter().map(Pending::wait).collect()
    }

    fn record(&mut self, outcomes: &[Outcome]) {
        for committed in outcomes.iter().flatten() {
            assert_eq!(committed.revision, self.changes.len() as u64 + 2, "revisions have no gaps");
            let key = committed.entry.key.to_string();
            self.changes.push((key, Some(committed.entry.bytes.clone())));
        }
    }

    /// One life of the process: it ends by losing power, by a failed sync, or by being killed.
    fn live(&mut self) {
        let (feed, journal) = match self.open() {
            Ok(opened) => opened,
            // The power or a sync may fail in the middle of a recovery as well.
            Err(OpenError::Io(error)) if error.kind() == std::io::ErrorKind::Other => return self.end(),
            Err(error) => panic!("acknowledged data can't be read: {error}"),
        };
        self.check(&feed);
        let mut engine = Engine::new(feed.clone(), SimLog::new(journal));
        let broken = loop {
            if self.rng.one_in(2) && engine.log.step() {
                self.checkpoints += 1;
            }
            if self.rng.one_in(12) {
                let used = self.disk.used();
                self.disk.inner().capacity = Some(used + self.rng.below(400) as usize);
            } else if self.rng.one_in(4) {
                self.disk.inner().capacity = None;
            }
            let before = self.changes.len();
            let outcomes = self.batch(&mut engine);
            let full = outcomes.iter().any(|outcome| matches!(outcome, Err(TxnError::NoSpace)));
            let io = outcomes.iter().any(|o| matches!(o, Err(TxnError::Io(_) | TxnError::ReadOnly(_))));
            assert!(!full || outcomes.iter().all(Result::is_err), "a batch is there wholly or not at all");
            assert!(!io || outcomes.iter().all(Result::is_err), "a batch is there wholly or not at all");
            self.refused += u64::from(full);
            self.apply(before, &feed, &outcomes);
            if io || self.disk.inner().crashed || self.rng.one_in(60) {
                break io;
            }
        };
        if broken && self.rng.one_in(2) {
            let after = self.batch(&mut engine);
            assert!(after.iter().all(|o| matches!(o, Err(TxnError::ReadOnly(_)))), "{after:?}");
        }
        drop(engine);
        self.end();
    }

    /// Follows what was acknowledged: deletes are told from puts by the cache.
    fn apply(&mut self, before: usize, feed: &Feed, outcomes: &[Outcome]) {
        self.record(outcomes);
        let state = feed.shared.read();
        let newest: Vec<_> = state.history.newest_first().take(self.changes.len() - before).collect();
        for (event, change) in newest.into_iter().rev().zip(&mut self.changes[before..]) {
            assert_eq!(change.0, event.entry.key.as_ref());
            if event.kind == EventKind::Delete {
                change.1 = None;
            }
        }
    }

    fn end(&mut self) {
        self.crash_points += 1;
        // kill −9 in the middle of an operation, or the power fails there.
        if self.rng.below(3) > 0 {
            self.disk.power_cycle();
        } else {
            self.disk.process_restart();
        }
        let (crash, sync) = (self.rng.below(60), self.rng.below(40));
        let mut inner = self.disk.inner();
        match crash % 4 {
            0 => inner.fail_sync_in = Some(sync),
            _ => inner.crash_in = Some(crash),
        }
    }

    /// What was recovered is what was acknowledged, with at most the one batch that was under way.
    fn check(&mut self, feed: &Feed) {
        let state = feed.shared.read();
        let acknowledged = self.changes.len() as u64 + 1;
        assert!(state.revision >= acknowledged, "revision {} lost, at {}", acknowledged, state.revision);
        let extra = (state.revision - acknowledged) as usize;
        assert!(extra <= 4, "{extra} more than one batch");
        let newest: Vec<_> = state.history.newest_first().take(extra).cloned().collect();
        for event in newest.into_iter().rev() {
            let bytes = (event.kind == EventKind::Put).then(|| event.entry.bytes.clone());
            self.changes.push((event.entry.key.to_string(), bytes));
        }
        let kept = (state.revision - state.history.compacted()) as usize;
        assert_eq!(kept, self.changes.len().min(40), "the history survives a restart");
        for back in 0..=kept.min(12) {
            let at = self.changes.len() - back;
            let listing = state.list("/registry/", Some(at as u64 + 1), None, 0).unwrap();
            let listed: Objects =
                listing.entries.iter().map(|entry| (entry.key.to_string(), entry.bytes.clone())).collect();
            assert_eq!(listed, objects(&self.changes[..at]), "at revision {}", at + 1);
        }
        for entry in state.list("", None, None, 0).unwrap().entries {
            assert_eq!(entry.header.field("spec.nodeName"), Some(entry.key.as_ref()));
        }
    }
}

fn run(seeds: std::ops::Range<u64>, lives: usize) -> (u64, u64, u64) {
    let mut totals = (0, 0, 0);
    for seed in seeds {
        let mut world = World::new(seed);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..lives).for_each(|_| world.live());
        }));
        assert!(ended.is_ok(), "seed {seed} failed after {} crashes", world.crash_points);
        totals.0 += world.crash_points;
        totals.1 += world.checkpoints;
        totals.2 += world.refused;
    }
    totals
}

/// `STORE_SIM_SEEDS=1000000 cargo test --release -p store crash_points` goes further.
#[test]
fn nothing_acknowledged_is_lost_at_ten_thousand_crash_points() {
    let seeds = std::env::var("STORE_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(520);
    let (crashes, checkpoints, refused) = run(0..seeds, 20);
    eprintln!("{crashes} crash points, {checkpoints} checkpoints, {refused} batches refused by a full disk");
    assert!(crashes >= seeds * 20 && checkpoints > seeds && refused > seeds);
}

#[test]
fn damage_in_the_middle_is_refused_and_not_cut_off() {
    let mut world = World::new(7);
    let (feed, journal) = world.open().unwrap();
    let mut engine = Engine::new(feed, SimLog::new(journal));
    while world.changes.len() < 3 {
        let outcomes = world.batch(&mut engine);
        world.record(&outcomes);
    }
    drop(engine);
    world.disk.damage(&names::log(2), 60);
    let error = world.open().err().map(|error| error.to_string());
    let expected = "the store is damaged: a batch is damaged in log-00000000000000000002; \
                    restore the directory from a backup";
    assert_eq!(error.as_deref(), Some(expected));
}
