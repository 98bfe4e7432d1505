//! The window of recent events, in the order of their revisions, bounded by count, bytes and age.
//!
//! Watchers read it in place: there is no buffer for each watcher, and a slow one costs the writer nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::entry::Event;
use crate::limits::Limits;

/// How many points in time are remembered; with a tick each few seconds that is far more than the window's age.
const MAX_MARKS: usize = 256;

pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    /// The position of the first event kept; positions count events and never go back.
    base: u64,
    bytes: usize,
    /// Every event after this revision is here.
    compacted: u64,
    marks: VecDeque<(Instant, u64)>,
    max_events: usize,
    max_bytes: usize,
    max_age: Duration,
}

impl History {
    pub(crate) fn new(limits: &Limits, compacted: u64) -> History {
        History {
            events: VecDeque::new(),
            base: 0,
            bytes: 0,
            compacted,
            marks: VecDeque::new(),
            max_events: limits.history_events,
            max_bytes: limits.history_bytes,
            max_age: limits.history_age,
        }
    }

    /// Forgets everything, and says from where on the events that follow are complete.
    pub(crate) fn restart(&mut self, compacted: u64) {
        self.base = self.end();
        self.events.clear();
        self.bytes = 0;
        self.compacted = compacted;
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.retained_bytes();
        self.events.push_back(event);
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            if self.drop_oldest().is_none() {
                break;
            }
        }
    }

    /// The revision before the oldest event kept.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Drops events up to and including `revision`.
    pub(crate) fn compact(&mut self, revision: u64) {
        while self.events.front().is_some_and(|event| event.revision() <= revision) {
            self.drop_oldest();
        }
        self.compacted = self.compacted.max(revision);
    }

    /// Remembers that `revision` was reached by `now`, and drops what is older than the window's age.
    pub(crate) fn tick(&mut self, now: Instant, revision: u64) {
        let mut old = None;
        while let Some(&(at, marked)) = self.marks.front() {
            if now.saturating_duration_since(at) < self.max_age && self.marks.len() < MAX_MARKS {
                break;
            }
            old = Some(marked);
            self.marks.pop_front();
        }
        if let Some(revision) = old {
            self.compact(revision);
        }
        if self.marks.back().is_none_or(|&(_, marked)| marked < revision) {
            self.marks.push_back((now, revision));
        }
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter().rev()
    }

    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }

    /// The position of the first event after `revision`.
    pub(crate) fn position_after(&self, revision: u64) -> u64 {
        self.base + self.events.partition_point(|event| event.revision() <= revision) as u64
    }

    /// The position that the next event will get.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.events.len() as u64
    }

    /// The events from a position on; None when some of them are gone.
    pub(crate) fn from(&self, position: u64) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let skip = usize::try_from(position.checked_sub(self.base)?).ok()?;
        Some(self.events.range(skip.min(self.events.len())..))
    }

    fn drop_oldest(&mut self) -> Option<()> {
        let event = self.events.pop_front()?;
        self.bytes -= event.retained_bytes();
        self.base += 1;
        self.compacted = self.compacted.max(event.revision());
        Some(())
    }
}
