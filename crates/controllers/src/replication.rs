//! Keeps as many pods as a ReplicationController asks for: a ReplicaSet in older words (`pkg/controller/replication`).

use crate::replicaset;
use api::LabelSelector;
use api::MetaExt;
use api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use api::core::v1::{
    Pod, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use client::{Key, View};
use meta::selector::Selector;
use reconcile::controller::owner_key;
use reconcile::{Controller, Cx, Plan, Watch, Write};

/// The controller.
pub(crate) struct ReplicationControllers;

impl Controller for ReplicationControllers {
    fn name(&self) -> &'static str {
        "replication-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<ReplicationController>(),
            Watch::each::<Pod>(keys_of_pod),
            Watch::only::<ReplicaSet>(),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(rc) = cx.view.at::<ReplicationController>(cx.key) else { return Plan::done() };
        let mut plan = replicaset::plan(cx, rc, &as_set(rc), |rc, status| {
            let (metadata, spec) = (rc.metadata.clone(), rc.spec.clone());
            Write::update_status(&ReplicationController { metadata, spec, status: Some(status_of(status)) })
        });
        let told = rc.status.as_ref().map(|s| serde_json::to_value(s).unwrap_or_default());
        // The older kind doesn't count what is going: a status that differs in nothing else isn't written.
        plan.writes.retain(|w| {
            let body: serde_json::Value = serde_json::from_slice(&w.body).unwrap_or_default();
            w.op != reconcile::Op::Update("status") || told.as_ref() != Some(&body["status"])
        });
        plan
    }
}

fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if pod.controller().is_some() {
        keys.extend(owner_key::<Pod, ReplicationController>(pod));
        return;
    }
    let selects = |rc: &&ReplicationController| {
        let labels = rc.spec.as_ref().and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty());
        labels.is_some_and(|l| Selector::from_labels(l).matches(pod.labels()))
    };
    keys.extend(view.list::<ReplicationController>(pod.namespace()).filter(selects).map(|rc| Key::of(rc)));
}

fn as_set(rc: &ReplicationController) -> ReplicaSet {
    let spec = rc.spec.clone().unwrap_or_default();
    let status = rc.status.clone().map(|s| ReplicaSetStatus {
        replicas: s.replicas,
        fully_labeled_replicas: s.fully_labeled_replicas,
        ready_replicas: s.ready_replicas,
        available_replicas: s.available_replicas,
        terminating_replicas: None,
        observed_generation: s.observed_generation,
        conditions: s.conditions.map(|all| all.into_iter().map(condition).collect()),
    });
    ReplicaSet {
        metadata: rc.metadata.clone(),
        spec: ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector { match_labels: spec.selector, match_expressions: None },
            template: spec.template,
        },
        status,
    }
}

fn condition(c: ReplicationControllerCondition) -> ReplicaSetCondition {
    ReplicaSetCondition {
        type_: Some(c.type_),
        status: Some(c.status),
        reason: c.reason,
        message: c.message,
        last_transition_time: c.last_transition_time,
    }
}

fn status_of(s: ReplicaSetStatus) -> ReplicationControllerStatus {
    let condition = |c: ReplicaSetCondition| ReplicationControllerCondition {
        type_: c.type_.unwrap_or_default(),
        status: c.status.unwrap_or_default(),
        reason: c.reason,
        message: c.message,
        last_transition_time: c.last_transition_time,
    };
    ReplicationControllerStatus {
        replicas: s.replicas,
        fully_labeled_replicas: s.fully_labeled_replicas,
        ready_replicas: s.ready_replicas,
        available_replicas: s.available_replicas,
        observed_generation: s.observed_generation,
        conditions: s.conditions.map(|all| all.into_iter().map(condition).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::expect;
    use serde_json::{Value, json};

    fn controller(status: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc", "generation": 1},
            "spec": {"replicas": 1, "selector": {"app": "a"}, "template": {"metadata": {"labels": {"app": "a"}},
                "spec": {"containers": []}}}, "status": status})
    }

    #[test]
    fn pods_are_kept_in_number() {
        expect![[r#"
            update/status replicationcontrollers x/rc {"observedGeneration":1,"replicas":0}
            create pods x/ {"metadata":{"generateName":"rc-","labels":{"app":"a"},"ownerReferences":["ReplicationController/rc"]},"spec":{"containers":[]}}
              ok: Normal SuccessfulCreate ReplicationController/rc Created pod: {}
              or: Warning FailedCreate ReplicationController/rc Error creating: {}
        "#]].assert_eq(&Scene::new([controller(Value::Null)]).show(&ReplicationControllers, "x/rc"));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ReplicationController", "name": "rc", "uid": "rc-uid",
                "controller": true}]}, "status": {"phase": "Running"}});
        let status = json!({"replicas": 1, "fullyLabeledReplicas": 1, "observedGeneration": 1});
        let scene = Scene::new([controller(status), pod]);
        assert_eq!(scene.show(&ReplicationControllers, "x/rc"), "");
    }
}
