//! A work queue of keys: each at most once, not worked on twice at the same time, later or at once
//! (`client-go/util/workqueue`), as a plain state machine.

use client::Key;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// The first and the longest back-off of a key (`workqueue.DefaultControllerRateLimiter`).
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1000));

/// A queue of keys.
#[derive(Default)]
pub struct Queue {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    active: HashSet<Key>,
    timers: BTreeMap<(Timestamp, u64), Key>,
    timer_of: HashMap<Key, (Timestamp, u64)>,
    failures: HashMap<Key, u32>,
    sequence: u64,
}

impl Queue {
    /// Wants `key` looked at, as soon as may be.
    pub fn add(&mut self, key: Key) {
        if self.queued.insert(key.clone()) && !self.active.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// Wants `key` looked at when it is `due`; an earlier wish stands, a later one is dropped.
    pub fn add_at(&mut self, key: Key, due: Timestamp) {
        if let Some(old) = self.timer_of.get(&key).copied() {
            if old.0 <= due {
                return;
            }
            self.timers.remove(&old);
        }
        self.sequence += 1;
        self.timers.insert((due, self.sequence), key.clone());
        self.timer_of.insert(key, (due, self.sequence));
    }

    /// Wants `key` looked at after a back-off that doubles with each failure in a row.
    pub fn add_failed(&mut self, key: Key, now: Timestamp) {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let delay = BACKOFF.0.saturating_mul(1 << (*failures - 1).min(20)).min(BACKOFF.1);
        self.add_at(key, now + delay);
    }

    /// Forgets the failures of `key`.
    pub fn forget(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// Moves what is due to the ready ones.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.timer_of.remove(&key);
            self.add(key);
        }
    }

    /// Takes the next key to work on.
    pub fn take(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.active.insert(key.clone());
        // The plan to come decides anew when to look again.
        if let Some(timer) = self.timer_of.remove(&key) {
            self.timers.remove(&timer);
        }
        Some(key)
    }

    /// The work on `key` ended; if it was wanted in between, it is ready again.
    pub fn done(&mut self, key: &Key) {
        if self.active.remove(key) && self.queued.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.keys().next().map(|(due, _)| *due)
    }

    /// How many keys are ready.
    pub fn depth(&self) -> usize {
        self.ready.len()
    }

    /// How many keys are being worked on.
    pub fn active(&self) -> usize {
        self.active.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_worked_on_twice_at_once() {
        let (mut q, key) = (Queue::default(), Key::new("x", "a"));
        q.add(key.clone());
        q.add(key.clone());
        assert_eq!(q.take(), Some(key.clone()));
        assert_eq!(q.take(), None);
        q.add(key.clone());
        assert_eq!(q.take(), None, "it is active");
        q.done(&key);
        assert_eq!(q.take(), Some(key.clone()));
        q.done(&key);
        assert_eq!(q.take(), None);
    }

    #[test]
    fn timers_fire_once_at_the_earliest_wish() {
        let (mut q, key, zero) = (Queue::default(), Key::new("x", "a"), Timestamp::UNIX_EPOCH);
        q.add_at(key.clone(), zero + Duration::from_secs(9));
        q.add_at(key.clone(), zero + Duration::from_secs(3));
        q.add_at(key.clone(), zero + Duration::from_secs(5));
        q.tick(zero + Duration::from_secs(2));
        assert_eq!(q.take(), None);
        q.tick(zero + Duration::from_secs(3));
        assert_eq!(q.take(), Some(key.clone()));
        q.done(&key);
        q.tick(zero + Duration::from_secs(10));
        assert_eq!(q.take(), None);
        for expected in [5, 10, 20] {
            q.add_failed(key.clone(), zero);
            assert_eq!(q.next_due(), Some(zero + Duration::from_millis(expected)));
            q.tick(zero + Duration::from_secs(1));
            q.take();
            q.done(&key);
        }
    }
}
