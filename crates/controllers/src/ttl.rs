//! Deletes finished jobs whose time is over (`pkg/controller/ttlafterfinished`).

use crate::job::finished;
use api::MetaExt;
use api::batch::v1::Job;
use client::{DeleteOptions, Propagation};
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::time::Duration;

/// The controller.
pub(crate) struct TtlAfterFinished;

impl Controller for TtlAfterFinished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<Job>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(job) = cx.view.at::<Job>(cx.key).filter(|j| !j.is_deleting()) else { return Plan::done() };
        let ttl = job.spec.as_ref().and_then(|s| s.ttl_seconds_after_finished);
        let ended = finished(job).and_then(|c| c.last_transition_time.as_ref());
        let (Some(ttl), Some(ended)) = (ttl, ended) else { return Plan::done() };
        let due = ended.0 + Duration::from_secs(u64::from(ttl.max(0).unsigned_abs()));
        if due > cx.now {
            return Plan::later(Duration::try_from(due.duration_since(cx.now)).unwrap_or_default());
        }
        let propagation = Some(Propagation::Foreground);
        Plan::one(Write::delete_with(job, DeleteOptions { propagation, ..DeleteOptions::of_uid(job.uid()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::json;

    #[test]
    fn a_finished_job_goes_in_time() {
        let show = |at: &str| {
            let conditions = json!([{"type": "Complete", "status": "True", "lastTransitionTime": at}]);
            let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
                "spec": {"ttlSecondsAfterFinished": 60, "template": {}}, "status": {"conditions": conditions}});
            Scene::new([job]).show(&TtlAfterFinished, "x/j")
        };
        assert_eq!(show("2025-12-31T23:59:30Z"), "again in 30 s\n");
        assert_eq!(show("2025-12-31T23:58:30Z"), "delete jobs.batch x/j\n");
    }
}
