//! `daemonsets` (apps/v1).

use crate::fill::{make, part, set, set_zero, text};
use crate::kind::Kind;
use crate::strategy::{Context, PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{age, containers, labels, name, number, selector};
use crate::validate::workload::{validate_daemon_set, validate_daemon_set_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

/// Counts changes of the template; older clients read it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "DaemonSet", "daemonsets")
        .short(&["ds"])
        .category("all")
        .status_with(json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}), &STATUS)
        .table(
            &[
                "Name", "Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer",
                "Available:integer", "Node Selector", "Age", "Containers*", "Images*", "Selector*",
            ],
            row,
        )
        .generation()
        .strategy(&STRATEGY)
}

static STATUS: Update =
    Update { validate: crate::validate::workload::validate_daemon_set_status, ..STATUS_PART };

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::workload,
    prepare_for_create: |o, _| {
        let given = o.metadata.annotations.get(TEMPLATE_GENERATION).and_then(|n| n.parse::<i64>().ok());
        let first = given.unwrap_or(0).max(1).to_string();
        o.metadata.annotations.insert(TEMPLATE_GENERATION.into(), first);
    },
    validate: validate_daemon_set,
    update: Update { prepare: count_template, validate: validate_daemon_set_update, ..WHOLE },
    ..PLAIN
};

fn count_template(new: &mut Object, old: &Object, _: &Context) {
    let before =
        old.metadata.annotations.get(TEMPLATE_GENERATION).and_then(|n| n.parse::<i64>().ok()).unwrap_or(0);
    let path = ["spec", "template"];
    let generation = before + i64::from(new.get(&path) != old.get(&path));
    new.metadata.annotations.insert(TEMPLATE_GENERATION.into(), generation.to_string());
}

fn default(o: &mut Object) {
    // Upstream keeps it apart from the annotations, and writes it among them always.
    o.metadata.annotations.entry(TEMPLATE_GENERATION.into()).or_insert_with(|| "0".to_owned());
    let spec = part(o, "spec");
    let strategy = make(spec, "updateStrategy");
    set_zero(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = make(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", 1);
        set(rolling, "maxSurge", 0);
    }
    set(spec, "revisionHistoryLimit", 10);
    crate::pod::defaults::template(make(spec, "template"));
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let status = |key| Value::from(number(o, &["status", key]));
    let [names, images] = containers(o, &["spec", "template", "spec"]);
    vec![
        name(o),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        labels(o.get(&["spec", "template", "spec", "nodeSelector"])),
        age(o, now),
        names,
        images,
        selector(o.get(&["spec", "selector"])),
    ]
}
