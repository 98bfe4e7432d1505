//! What a controller is told again of a key though no object says it: how often something failed, and when last
//! (`client-go/util/flowcontrol.Backoff`). Plans stay functions: the memory comes in with the rest, and goes out again.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use stdx::Backoff;

/// Names that are remembered of one key; beyond them nothing more is.
const MAX_NAMES: usize = 5000;

/// Failures by name. No memory outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, (u32, Timestamp)>);

impl Memory {
    /// Nothing.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long the pause after the last failure of `name` still lasts; none when there is none or it is over.
    pub fn pause(&self, name: &str, now: Timestamp, pauses: &Backoff) -> Option<Duration> {
        let (times, last) = self.0.get(name)?;
        let end = *last + pauses.delay(times.saturating_sub(1));
        Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
    }

    /// One more failure of `name`. What was quiet for twice the longest pause begins anew.
    pub fn failed(&mut self, name: &str, now: Timestamp, pauses: &Backoff) {
        let quiet = pauses.max * 2;
        self.0.retain(|_, (_, last)| *last + quiet > now);
        if self.0.len() < MAX_NAMES || self.0.contains_key(name) {
            let (times, last) = self.0.entry(name.to_owned()).or_insert((0, now));
            (*times, *last) = (times.saturating_add(1), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_forgotten() {
        let pauses = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        let (mut memory, mut now) = (Memory::new(), Timestamp::UNIX_EPOCH);
        assert_eq!(memory.pause("a", now, &pauses), None);
        for seconds in [1, 2, 4, 4] {
            memory.failed("a", now, &pauses);
            assert_eq!(memory.pause("a", now, &pauses), Some(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(memory.pause("a", now, &pauses), None);
        }
        now += Duration::from_secs(9);
        memory.failed("a", now, &pauses);
        assert_eq!(memory.pause("a", now, &pauses), Some(Duration::from_secs(1)));
        memory.failed("b", now + Duration::from_secs(9), &pauses);
        assert_eq!(memory.0.len(), 1);
    }
}
