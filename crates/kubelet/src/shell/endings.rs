//! How many containers ended, by part, exit code and reason, for `/metrics` (`checkAndRecordTerminations` of
//! `pkg/kubelet/status`).

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Kinds of endings that are told apart, at most: whoever runs containers chooses their codes.
const MAX_KINDS: usize = 4096;

/// The part in the pod, exit code and reason.
pub(crate) type Key = (&'static str, i32, String);

/// Counts of all endings since the agent started.
#[derive(Default)]
pub(crate) struct Endings(Mutex<BTreeMap<Key, u64>>);

impl Endings {
    /// Counts the containers that ended between two states of a pod.
    pub(crate) fn count(&self, old: Option<&PodStatus>, new: &PodStatus) {
        let was = |of: fn(&PodStatus) -> &Option<Vec<ContainerStatus>>| old.and_then(|o| of(o).as_deref());
        self.part("init_container", was(|s| &s.init_container_statuses), &new.init_container_statuses);
        self.part("container", was(|s| &s.container_statuses), &new.container_statuses);
        self.part(
            "ephemeral_container",
            was(|s| &s.ephemeral_container_statuses),
            &new.ephemeral_container_statuses,
        );
    }

    fn part(&self, part: &'static str, old: Option<&[ContainerStatus]>, new: &Option<Vec<ContainerStatus>>) {
        for c in new.iter().flatten() {
            let end = |c: &ContainerStatus| c.state.as_ref().and_then(|s| s.terminated.clone());
            let Some(ended) = end(c) else { continue };
            let before = old.unwrap_or_default().iter().find(|o| o.name == c.name);
            if before.is_some_and(|o| end(o).is_some()) {
                continue;
            }
            let key = (part, ended.exit_code, ended.reason.unwrap_or_default());
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() < MAX_KINDS || all.contains_key(&key) {
                *all.entry(key).or_default() += 1;
            }
        }
    }

    /// All of them, as they are now.
    pub(crate) fn all(&self) -> Vec<(Key, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, n)| (key.clone(), *n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_end_is_counted_once() {
        let status = |state: Value| -> PodStatus {
            let c = json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state});
            serde_json::from_value(json!({"containerStatuses": [c]})).unwrap()
        };
        let up = status(json!({"running": {}}));
        let down = status(json!({"terminated": {"exitCode": 139, "reason": "Error"}}));
        let endings = Endings::default();
        for (old, new) in
            [(None, &up), (Some(&up), &down), (Some(&down), &down), (Some(&down), &up), (None, &down)]
        {
            endings.count(old, new);
        }
        assert_eq!(endings.all(), [(("container", 139, "Error".to_owned()), 2)]);
    }
}
