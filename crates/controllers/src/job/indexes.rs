//! Sets of completion indexes as the API writes them: `0-3,5,7,8` (`indexed_job_utils.go`).

use std::collections::BTreeSet;
use std::fmt;

/// Indexes in one text at the most.
const MAX_INDEXES: i32 = 1_000_000;

/// A set of completion indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Reads `0-3,5`; what is unreadable is left out.
    pub(super) fn parse(text: Option<&str>) -> Self {
        let mut all = BTreeSet::new();
        for part in text.unwrap_or_default().split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>())
                && from >= 0
                && to.saturating_sub(from) < MAX_INDEXES
            {
                all.extend(from..=to);
            }
        }
        Self(all)
    }

    pub(super) fn insert(&mut self, index: i32) -> bool {
        self.0.insert(index)
    }

    pub(super) fn contains(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of these are in `others`.
    pub(super) fn common(&self, others: &Self) -> usize {
        self.0.intersection(&others.0).count()
    }

    /// Leaves only indexes below `end`.
    pub(super) fn truncate(&mut self, end: i32) {
        self.0.retain(|i| *i < end);
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(i32, i32)> = Vec::new();
        for i in &self.0 {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == *i => *end = *i,
                _ => runs.push((*i, *i)),
            }
        }
        let text = |(from, to): &(i32, i32)| match to - from {
            0 => from.to_string(),
            1 => format!("{from},{to}"),
            _ => format!("{from}-{to}"),
        };
        f.write_str(&runs.iter().map(text).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined() {
        let show = |text| Indexes::parse(Some(text)).to_string();
        assert_eq!(show("7,0,1,2,3,5,8"), "0-3,5,7,8");
        assert_eq!(show("0-2,x,-1,9-"), "0-2");
        assert_eq!(Indexes::parse(None).to_string(), "");
    }
}
