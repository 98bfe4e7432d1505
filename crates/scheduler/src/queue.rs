//! Which pod is next: by priority, then by age. A pod that fitted nowhere waits until something changes that may help,
//! and then for its back-off (`pkg/scheduler/backend/queue`).

use client::Key;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Pause after the first failure; doubles with each.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A pod that nothing woke is tried again after so long.
const MAX_PARKED: Duration = Duration::from_secs(300);

type Rank = (Reverse<i32>, i64, Key);

#[derive(Clone, Debug)]
struct Waiting {
    priority: i32,
    /// When it came into the queue; earlier ones go first among equals.
    since: i64,
    failures: u32,
    /// Not before this instant.
    not_before: Timestamp,
    /// Fitted nowhere; waits for a change.
    parked: bool,
}

/// Pods without a node.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Key, Waiting>,
    ready: BTreeSet<Rank>,
    later: BTreeMap<(Timestamp, Key), ()>,
}

impl Queue {
    /// Adds a pod, or notes its new priority. A pod that waits for its back-off goes on waiting, a parked one is woken:
    /// it may have changed so that it fits.
    pub fn add(&mut self, key: Key, priority: i32, created: i64, now: Timestamp) {
        let old = self.remove(&key);
        let fresh = Waiting { priority, since: created, failures: 0, not_before: now, parked: false };
        let waiting = old.map_or(fresh, |w| Waiting { priority, parked: false, ..w });
        self.place(key, waiting, now);
    }

    /// Forgets a pod: bound, or gone.
    pub fn forget(&mut self, key: &Key) {
        self.remove(key);
    }

    /// The next pod to decide about; it is out of the queue until [`Queue::failed`] or [`Queue::add`] puts it back.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        while let Some((when, key)) = self.later.keys().next().cloned() {
            if when > now {
                break;
            }
            self.later.remove(&(when, key.clone()));
            if let Some(w) = self.pods.get_mut(&key) {
                w.parked = false;
                self.ready.insert((Reverse(w.priority), w.since, key));
            }
        }
        Some(self.ready.pop_first()?.2)
    }

    /// The pod fitted nowhere, or could not be bound: it waits.
    pub fn failed(&mut self, key: &Key, unschedulable: bool, now: Timestamp) {
        let Some(mut w) = self.remove(key) else { return };
        w.failures += 1;
        let pause = BACKOFF.saturating_mul(1 << (w.failures - 1).min(10)).min(MAX_BACKOFF);
        w.not_before = now + pause;
        w.parked = unschedulable;
        self.place(key.clone(), w, now);
    }

    /// Something changed that may help: parked pods are tried again as soon as their back-off is over.
    pub fn wake(&mut self, now: Timestamp) {
        let mut parked: Vec<Key> =
            self.pods.iter().filter(|(_, w)| w.parked).map(|(k, _)| k.clone()).collect();
        // In an order: the same events must lead to the same decisions.
        parked.sort();
        for key in parked {
            if let Some(w) = self.remove(&key) {
                self.place(key, Waiting { parked: false, ..w }, now);
            }
        }
    }

    /// When [`Queue::pop`] will have something that it doesn't have now.
    pub fn next_time(&self) -> Option<Timestamp> {
        self.later.keys().next().map(|(when, _)| *when)
    }

    /// How many pods wait.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn place(&mut self, key: Key, w: Waiting, now: Timestamp) {
        let when = if w.parked { w.not_before + MAX_PARKED } else { w.not_before };
        if when <= now {
            self.ready.insert((Reverse(w.priority), w.since, key.clone()));
        } else {
            self.later.insert((when, key.clone()), ());
        }
        self.pods.insert(key, w);
    }

    fn remove(&mut self, key: &Key) -> Option<Waiting> {
        let w = self.pods.remove(key)?;
        self.ready.remove(&(Reverse(w.priority), w.since, key.clone()));
        let when = if w.parked { w.not_before + MAX_PARKED } else { w.not_before };
        self.later.remove(&(when, key.clone()));
        Some(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    fn key(name: &str) -> Key {
        Key::new("default", name)
    }

    #[test]
    fn by_priority_then_age() {
        let mut q = Queue::default();
        q.add(key("young"), 0, 20, at(0));
        q.add(key("old"), 0, 10, at(0));
        q.add(key("urgent"), 5, 30, at(0));
        let order: Vec<String> = std::iter::from_fn(|| q.pop(at(0))).map(|k| k.name.to_string()).collect();
        assert_eq!(order, ["urgent", "old", "young"]);
    }

    #[test]
    fn a_parked_pod_waits_for_a_change_and_its_back_off() {
        let mut q = Queue::default();
        q.add(key("p"), 0, 0, at(0));
        assert_eq!(q.pop(at(0)), Some(key("p")));
        q.failed(&key("p"), true, at(0));
        assert_eq!(q.pop(at(100)), None);
        q.wake(at(100));
        assert_eq!(q.pop(at(100)), Some(key("p")));
        q.failed(&key("p"), true, at(100));
        q.wake(at(100));
        assert_eq!((q.pop(at(101)), q.next_time()), (None, Some(at(102))));
        assert_eq!(q.pop(at(102)), Some(key("p")));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut q = Queue::default();
        q.add(key("p"), 0, 0, at(0));
        q.pop(at(0));
        q.failed(&key("p"), true, at(0));
        assert_eq!(q.next_time(), Some(at(301)));
        assert_eq!(q.pop(at(301)), Some(key("p")));
        q.forget(&key("p"));
        assert!(q.is_empty() && q.next_time().is_none());
    }
}
