//! Takes back the word that a pod is about to be disrupted if nobody deletes it in time
//! (`pkg/controller/disruption`, `syncStalePodDisruption`).

use crate::pods;
use api::MetaExt;
use api::core::v1::{Pod, PodCondition};
use client::Key;
use jiff::Timestamp;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use serde_json::json;
use std::time::Duration;

/// How long the word stands (`stalePodDisruptionTimeout`).
const TIMEOUT: Duration = Duration::from_secs(120);
/// Says so, and is only the agent's to take back: its pods may take as long as they want to end.
const BY_AGENT: &str = "TerminationByKubelet";

/// The controller.
pub(crate) struct StaleDisruptions;

impl Controller for StaleDisruptions {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::each::<Pod>(|_, pod, keys| keys.extend(announced(pod).map(|_| Key::of(pod))))]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(pod) = cx.view.at::<Pod>(cx.key) else { return Plan::done() };
        let Some(condition) = announced(pod) else { return Plan::done() };
        let since = condition.last_transition_time.as_ref().map_or(Timestamp::MIN, |t| t.0);
        let due = since.saturating_add(TIMEOUT).unwrap_or(Timestamp::MAX);
        if due > cx.now {
            return Plan::later(Duration::try_from(due.duration_since(cx.now)).unwrap_or(TIMEOUT));
        }
        let condition = json!({"type": "DisruptionTarget", "status": "False", "reason": null, "message": null,
            "lastTransitionTime": api::time(cx.now)});
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        Plan::one(Write::strategic(pod, "status", &patch))
    }
}

/// The word, on a pod that lives.
fn announced(pod: &Pod) -> Option<&PodCondition> {
    let condition = pods::condition(pod, "DisruptionTarget")?;
    let stands = condition.status == "True" && condition.reason.as_deref() != Some(BY_AGENT);
    (stands && !pod.is_deleting() && !pods::is_terminal(pod)).then_some(condition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::expect;

    #[test]
    fn a_disruption_that_does_not_come_is_taken_back() {
        let show = |since: &str, reason: &str| {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "status": {"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True",
                    "reason": reason, "lastTransitionTime": since}]}});
            Scene::new([pod]).show(&StaleDisruptions, "x/p")
        };
        assert_eq!(show("2025-12-31T23:59:00Z", "EvictionByEvictionAPI"), "again in 60 s\n");
        assert_eq!(show("2025-12-31T23:00:00Z", "TerminationByKubelet"), "");
        expect![[r#"
            patch/status pods x/p {"metadata":{"uid":"p-uid"},"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":null,"reason":null,"status":"False","type":"DisruptionTarget"}]}}
        "#]].assert_eq(&show("2025-12-31T23:00:00Z", "EvictionByEvictionAPI"));
    }
}
