//! `statefulsets` (apps/v1).

use crate::fill::{each, make, part, set, set_zero, text};
use crate::kind::Kind;
use crate::strategy::{PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{age, containers, name, number};
use crate::validate::workload::{validate_stateful_set, validate_stateful_set_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .category("all")
        .scale()
        .status_with(json!({"availableReplicas": 0, "replicas": 0}), &STATUS)
        .table(&["Name", "Ready", "Age", "Containers*", "Images*"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STATUS: Update =
    Update { validate: crate::validate::workload::validate_stateful_set_status, ..STATUS_PART };

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::stateful_set,
    validate: validate_stateful_set,
    validate_create: crate::validate::workload::validate_new_stateful_set,
    update: Update { validate: validate_stateful_set_update, ..WHOLE },
    validate_name: crate::names::dns_label,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set_zero(spec, "podManagementPolicy", "OrderedReady");
    let strategy = make(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        strategy["type"] = "RollingUpdate".into();
        make(strategy, "rollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate" && strategy["rollingUpdate"].is_object() {
        set(make(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = make(spec, "persistentVolumeClaimRetentionPolicy");
    set_zero(retention, "whenDeleted", "Retain");
    set_zero(retention, "whenScaled", "Retain");
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    crate::pod::defaults::template(make(spec, "template"));
    for claim in each(spec, "volumeClaimTemplates") {
        set_zero(claim, "apiVersion", "v1");
        set_zero(claim, "kind", "PersistentVolumeClaim");
        make(claim, "metadata");
        crate::pod::defaults::claim_spec(make(claim, "spec"));
        set_zero(make(claim, "status"), "phase", "Pending");
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, &["spec", "template", "spec"]);
    let ready = format!("{}/{}", number(o, &["status", "readyReplicas"]), number(o, &["spec", "replicas"]));
    vec![name(o), ready.into(), age(o, now), names, images]
}
