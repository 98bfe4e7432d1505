//! How many objects follow the pages handed out last. Counting them again for each page of a list of a million
//! would cost more than the pages; the state at a revision never changes, so what was counted stays true.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many lists under way are remembered. One that is forgotten is counted again.
const MAX_PAGES: usize = 64;

struct Page {
    prefix: Box<str>,
    revision: u64,
    last: Box<str>,
    remaining: usize,
}

#[derive(Default)]
pub(crate) struct Pages(Mutex<VecDeque<Page>>);

impl Pages {
    /// How many objects follow the key `last` in this list, if that was told before.
    pub(crate) fn after(&self, prefix: &str, revision: u64, last: &str) -> Option<usize> {
        let pages = self.lock();
        let mut newest_first = pages.iter().rev();
        let page = newest_first.find(|p| p.revision == revision && *p.last == *last && *p.prefix == *prefix);
        page.map(|page| page.remaining)
    }

    /// Remembers it.
    pub(crate) fn note(&self, prefix: &str, revision: u64, last: &str, remaining: usize) {
        let mut pages = self.lock();
        if pages.len() >= MAX_PAGES {
            pages.pop_front();
        }
        pages.push_back(Page { prefix: prefix.into(), revision, last: last.into(), remaining });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
