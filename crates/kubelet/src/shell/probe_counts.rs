//! How many probes there were, by container and answer, for `/metrics/probes` (`pkg/kubelet/prober`).

use crate::core::probe::{Answer, Kind};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Pod's UID, container, what was probed.
pub(crate) type Key = (String, String, Kind);

/// Counts of one probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub successful: u64,
    pub failed: u64,
    pub unknown: u64,
}

/// Counts of all probes of the pods that there are.
#[derive(Default)]
pub(crate) struct ProbeCounts(Mutex<BTreeMap<Key, Counts>>);

impl ProbeCounts {
    /// Counts one answer.
    pub(crate) fn count(&self, uid: &str, container: &str, kind: Kind, answer: &Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = all.entry((uid.to_owned(), container.to_owned(), kind)).or_default();
        match answer {
            Answer::Success | Answer::Warning(_) => counts.successful += 1,
            Answer::Failure(_) => counts.failed += 1,
            Answer::Error(_) => counts.unknown += 1,
        }
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| key.0 != uid);
    }

    /// All of them, as they are now.
    pub(crate) fn all(&self) -> Vec<(Key, Counts)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, counts)| (key.clone(), *counts)).collect()
    }
}
