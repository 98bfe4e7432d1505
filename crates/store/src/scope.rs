//! Which keys a list or a watch is about.

use std::ops::{Bound, RangeBounds};

use crate::entry::{Entry, Event};

/// Keys below a prefix, and perhaps only the objects with one value in one field.
///
/// A prefix that ends in `/` (or is empty) covers what is below it; any other text is one exact key. So a list of
/// `/registry/core/pods/a` never shows what belongs to namespace `ab` (CVE-2022-3162).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) prefix: Box<str>,
    pub(crate) field: Option<(Box<str>, Box<str>)>,
}

impl Scope {
    pub(crate) fn new(prefix: &str) -> Scope {
        Scope { prefix: prefix.into(), field: None }
    }

    pub(crate) fn covers(&self, key: &str) -> bool {
        covers(&self.prefix, key)
    }

    /// An event matters when the object has the field's value now or had it before: the watcher must see an
    /// object leave as well.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.covers(&event.entry.key)
            && self.field.as_ref().is_none_or(|(name, value)| {
                let has = |entry: &Entry| entry.header.field(name) == Some(value);
                has(&event.entry) || event.prev.as_deref().is_some_and(has)
            })
    }
}

pub(crate) fn is_prefix(text: &str) -> bool {
    text.is_empty() || text.ends_with('/')
}

pub(crate) fn covers(prefix: &str, key: &str) -> bool {
    if is_prefix(prefix) { key.starts_with(prefix) } else { key == prefix }
}

/// A key range that holds its own ends.
pub(crate) struct Range {
    pub(crate) start: Bound<String>,
    pub(crate) end: Bound<String>,
}

impl Range {
    /// The keys that `prefix` covers, after `start_after`; None when there can be none.
    pub(crate) fn new(prefix: &str, start_after: Option<&str>) -> Option<Range> {
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
            _ => Bound::Included(prefix.to_owned()),
        };
        let end = match prefix.strip_suffix('/') {
            // '0' follows '/', so this is the first key that is not below the prefix.
            Some(stem) => Bound::Excluded(format!("{stem}0")),
            None if prefix.is_empty() => Bound::Unbounded,
            None => Bound::Included(prefix.to_owned()),
        };
        let range = Range { start, end };
        range.is_ordered().then_some(range)
    }

    pub(crate) fn bounds(&self) -> (Bound<&str>, Bound<&str>) {
        (self.start.as_ref().map(String::as_str), self.end.as_ref().map(String::as_str))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        RangeBounds::<str>::contains(&self.bounds(), key)
    }

    /// BTree ranges panic when the start lies behind the end, and a client's token chooses the start.
    fn is_ordered(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) => start < end,
            (Bound::Included(start), Bound::Included(end)) => start <= end,
            (Bound::Excluded(start), Bound::Included(end)) => start < end,
            _ => true,
        }
    }
}
