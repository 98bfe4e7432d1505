//! `deployments` (apps/v1).

use crate::fill::{make, part, set, set_zero, text};
use crate::kind::Kind;
use crate::strategy::{PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{age, containers, name, number, selector};
use crate::validate::workload::{validate_deployment, validate_deployment_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "Deployment", "deployments")
        .short(&["deploy"])
        .category("all")
        .scale()
        .status_with(json!({}), &STATUS)
        .table(
            &["Name", "Ready", "Up-to-date", "Available", "Age", "Containers*", "Images*", "Selector*"],
            row,
        )
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::workload,
    validate: validate_deployment,
    update: Update { prepare: count_annotations, validate: validate_deployment_update, ..WHOLE },
    ..PLAIN
};

static STATUS: Update = Update {
    prepare: keep_labels,
    validate: crate::validate::workload::validate_deployment_status,
    ..STATUS_PART
};

/// A change of annotations is a new generation too: they are copied to the ReplicaSets (`deploymentStrategy`).
fn count_annotations(new: &mut Object, old: &Object, context: &crate::Context) {
    (WHOLE.prepare)(new, old, context);
    new.metadata.generation += i64::from(new.metadata.annotations != old.metadata.annotations);
}

fn keep_labels(new: &mut Object, old: &Object, context: &crate::Context) {
    (STATUS_PART.prepare)(new, old, context);
    new.metadata.labels.clone_from(&old.metadata.labels);
}

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set(spec, "replicas", 1);
    let strategy = make(spec, "strategy");
    set_zero(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = make(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", "25%");
        set(rolling, "maxSurge", "25%");
    }
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
    crate::pod::defaults::template(make(spec, "template"));
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let status = |key| number(o, &["status", key]);
    let [names, images] = containers(o, &["spec", "template", "spec"]);
    vec![
        name(o),
        format!("{}/{}", status("readyReplicas"), number(o, &["spec", "replicas"])).into(),
        status("updatedReplicas").into(),
        status("availableReplicas").into(),
        age(o, now),
        names,
        images,
        selector(o.get(&["spec", "selector"])),
    ]
}
