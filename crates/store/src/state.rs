//! The MVCC cache: every live object by key, and the recent events that lead from older revisions to now.
//!
//! There are no version chains. The state at an older revision is the present one with the events since then
//! undone, which only pages of a long list ask for.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::entry::{Entry, Event, EventKind};
use crate::history::History;
use crate::limits::Limits;
use crate::pages::Pages;
use crate::scope::Range;

/// The revision asked for can't be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// It lies before the window that is kept: 410 Gone, list again.
    #[error("revision {requested} is older than the oldest revision kept, {oldest}")]
    Compacted {
        /// What was asked for.
        requested: u64,
        /// What would still work.
        oldest: u64,
    },
    /// It has not been reached yet.
    #[error("revision {requested} lies in the future: the store is at {current}")]
    Future {
        /// What was asked for.
        requested: u64,
        /// Where the store is.
        current: u64,
    },
}

/// A consistent page of objects.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The revision of the whole list, whatever page this is.
    pub revision: u64,
    /// The objects in the order of their keys.
    pub entries: Vec<Arc<Entry>>,
    /// Whether there are objects after the last one.
    pub more: bool,
    /// How many.
    pub remaining: usize,
}

/// An entry ordered by its key, so that the index needs eight bytes for an object and no second copy of the key.
#[derive(Clone)]
struct Keyed(Arc<Entry>);

impl Borrow<str> for Keyed {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Keyed) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Keyed {}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Keyed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyed {
    fn cmp(&self, other: &Keyed) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

/// The revision of a store that nothing was ever written to. 0 means "any" in the API, so it can't be that.
pub(crate) const FIRST_REVISION: u64 = 1;

pub(crate) struct State {
    pub(crate) revision: u64,
    pub(crate) history: History,
    pub(crate) closed: bool,
    live: BTreeSet<Keyed>,
    expiring: BTreeSet<(u64, Box<str>)>,
    pages: Pages,
}

impl State {
    pub(crate) fn new(limits: &Limits) -> State {
        State {
            revision: FIRST_REVISION,
            history: History::new(limits, FIRST_REVISION),
            closed: false,
            live: BTreeSet::new(),
            expiring: BTreeSet::new(),
            pages: Pages::default(),
        }
    }

    /// Sets the live objects of a fresh state, cheapest when they come in the order of their keys.
    pub(crate) fn load(&mut self, revision: u64, live: Vec<Arc<Entry>>) {
        self.revision = revision;
        self.expiring = live.iter().filter_map(|e| e.expires().map(|at| (at, e.key.clone()))).collect();
        self.live = live.into_iter().map(Keyed).collect();
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.live.get(key).map(|keyed| &keyed.0)
    }

    /// Makes the event the newest one.
    pub(crate) fn apply(&mut self, event: Arc<Event>) {
        let entry = &event.entry;
        if let Some(at) = event.prev.as_ref().and_then(|prev| prev.expires()) {
            self.expiring.remove(&(at, entry.key.clone()));
        }
        match event.kind {
            EventKind::Put => {
                if let Some(at) = entry.expires() {
                    self.expiring.insert((at, entry.key.clone()));
                }
                self.live.replace(Keyed(Arc::clone(entry)));
            }
            EventKind::Delete => {
                self.live.remove::<str>(&entry.key);
            }
        }
        self.revision = event.revision();
        self.history.push(event);
    }

    /// Applies a logged change, whose predecessor is what is here now.
    pub(crate) fn replay(&mut self, kind: EventKind, entry: Entry) {
        let prev = self.get(&entry.key).cloned();
        self.apply(Arc::new(Event { kind, entry: Arc::new(entry), prev }));
    }

    pub(crate) fn list(
        &self,
        prefix: &str,
        at: Option<u64>,
        start_after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, RevisionError> {
        let revision = at.unwrap_or(self.revision);
        self.check(revision)?;
        let mut entries = Vec::new();
        let mut remaining = 0;
        if let Some(range) = Range::new(prefix, start_after) {
            let limit = if limit == 0 { usize::MAX } else { limit };
            let mut all = self.range_at(&range, revision);
            entries.extend(all.by_ref().take(limit).cloned());
            if entries.len() == limit {
                let counted = start_after.and_then(|last| self.pages.after(prefix, revision, last));
                remaining = counted.map_or_else(|| all.count(), |counted| counted.saturating_sub(limit));
            }
        }
        if let Some(last) = entries.last().filter(|_| remaining > 0) {
            self.pages.note(prefix, revision, &last.key, remaining);
        }
        Ok(Listing { revision, entries, more: remaining > 0, remaining })
    }

    /// Whether the state at this revision can be told.
    pub(crate) fn check(&self, revision: u64) -> Result<(), RevisionError> {
        let (oldest, current) = (self.history.compacted(), self.revision);
        if revision > current {
            Err(RevisionError::Future { requested: revision, current })
        } else if revision < oldest {
            Err(RevisionError::Compacted { requested: revision, oldest })
        } else {
            Ok(())
        }
    }

    /// Objects whose time is over.
    pub(crate) fn expired(&self, now: u64, limit: usize) -> Vec<Arc<Entry>> {
        let over = self.expiring.iter().take_while(|(at, _)| *at <= now).take(limit);
        over.filter_map(|(_, key)| self.get(key).cloned()).collect()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.history.tick(now, self.revision);
    }

    fn range_at<'a>(
        &'a self,
        range: &Range,
        revision: u64,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let mut undone: BTreeMap<&str, Option<&Arc<Entry>>> = BTreeMap::new();
        for event in self.history.newest_first().take_while(|event| event.revision() > revision) {
            if range.contains(&event.entry.key) {
                undone.insert(&event.entry.key, event.prev.as_ref());
            }
        }
        let live = self.live.range::<str, _>(range.bounds()).map(|keyed| &keyed.0);
        Merge { live: live.peekable(), undone: undone.into_iter().peekable() }
    }
}

/// Live entries with the undone ones in their places.
struct Merge<'a, L: Iterator<Item = &'a Arc<Entry>>, U: Iterator<Item = (&'a str, Option<&'a Arc<Entry>>)>> {
    live: std::iter::Peekable<L>,
    undone: std::iter::Peekable<U>,
}

impl<'a, L, U> Iterator for Merge<'a, L, U>
where
    L: Iterator<Item = &'a Arc<Entry>>,
    U: Iterator<Item = (&'a str, Option<&'a Arc<Entry>>)>,
{
    type Item = &'a Arc<Entry>;

    fn next(&mut self) -> Option<&'a Arc<Entry>> {
        loop {
            let Some((key, _)) = self.undone.peek() else { return self.live.next() };
            match self.live.peek().map(|entry| entry.key.as_ref().cmp(key)) {
                Some(Ordering::Less) => return self.live.next(),
                Some(Ordering::Equal) => {
                    self.live.next();
                }
                Some(Ordering::Greater) | None => {}
            }
            if let Some((_, Some(entry))) = self.undone.next() {
                return Some(entry);
            }
        }
    }
}
