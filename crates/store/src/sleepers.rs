//! Watchers that have seen everything and wait. An event wakes those whose scope it is in, and no others, found by
//! the key's own prefixes: 5,000 watchers of one node's pods each cost nothing to a pod of another node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::entry::Event;
use crate::scope::Scope;

/// The value of a sleeper's `resume` while no event has come for it.
pub(crate) const ASLEEP: u64 = u64::MAX;

pub(crate) struct Sleeper {
    pub(crate) waker: Waker,
    /// Where the event stands that ended the sleep. What came in between was not for this watcher.
    pub(crate) resume: Arc<AtomicU64>,
}

type Row = BTreeMap<u64, Sleeper>;

#[derive(Default)]
struct Group {
    all: Row,
    by_field: HashMap<(Box<str>, Box<str>), Row>,
}

/// Sleeping watchers by prefix, then by field.
#[derive(Default)]
pub(crate) struct Sleepers {
    groups: HashMap<Box<str>, Group>,
}

impl Sleepers {
    /// Puts a watcher to sleep, or replaces its waker.
    pub(crate) fn add(&mut self, id: u64, scope: &Scope, sleeper: Sleeper) {
        let group = self.groups.entry(scope.prefix.clone()).or_default();
        match &scope.field {
            None => group.all.insert(id, sleeper),
            Some(field) => group.by_field.entry(field.clone()).or_default().insert(id, sleeper),
        };
    }

    /// Takes out a watcher that is dropped.
    pub(crate) fn remove(&mut self, id: u64, scope: &Scope) {
        let Some(group) = self.groups.get_mut(&scope.prefix) else { return };
        match &scope.field {
            None => {
                group.all.remove(&id);
            }
            Some(field) => {
                if let Some(row) = group.by_field.get_mut(field) {
                    row.remove(&id);
                    if row.is_empty() {
                        group.by_field.remove(field);
                    }
                }
            }
        }
        if group.all.is_empty() && group.by_field.is_empty() {
            self.groups.remove(&scope.prefix);
        }
    }

    /// Ends the sleep of everyone the event at `position` is for. Their wakers go to `woken`, to be called when
    /// the state's lock is free again.
    pub(crate) fn wake(&mut self, event: &Event, position: u64, woken: &mut Vec<Waker>) {
        if self.groups.is_empty() {
            return;
        }
        let key = &event.entry.key;
        let below = key.match_indices('/').map(|(at, _)| &key[..=at]);
        for prefix in below.chain([&key[..], ""]) {
            let Some(group) = self.groups.get_mut(prefix) else { continue };
            rouse(&mut group.all, position, woken);
            if !group.by_field.is_empty() {
                group.wake_by_field(event, position, woken);
            }
            if group.all.is_empty() && group.by_field.is_empty() {
                self.groups.remove(prefix);
            }
        }
    }

    /// Wakes everyone, because the store closes.
    pub(crate) fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        for (_, mut group) in self.groups.drain() {
            rouse(&mut group.all, 0, woken);
            for row in group.by_field.values_mut() {
                rouse(row, 0, woken);
            }
        }
    }
}

impl Group {
    fn wake_by_field(&mut self, event: &Event, position: u64, woken: &mut Vec<Waker>) {
        let prev = event.prev.iter().flat_map(|entry| entry.header.fields());
        for (name, value) in event.entry.header.fields().chain(prev) {
            if let Some(mut row) = self.by_field.remove(&(Box::from(name), Box::from(value))) {
                rouse(&mut row, position, woken);
            }
        }
    }
}

fn rouse(row: &mut Row, position: u64, woken: &mut Vec<Waker>) {
    while let Some((_, sleeper)) = row.pop_first() {
        sleeper.resume.store(position, Ordering::Release);
        woken.push(sleeper.waker);
    }
}
