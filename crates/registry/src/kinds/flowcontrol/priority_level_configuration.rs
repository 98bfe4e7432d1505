//! `prioritylevelconfigurations` (flowcontrol.apiserver.k8s.io/v1).

use crate::fill::{at, part, set, set_zero};
use crate::kind::Kind;
use crate::strategy::{CUSTOM_STATUS, PLAIN, Strategy, Update};
use crate::table::{age, name, text};
use crate::validate::flowcontrol;
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
    )
    .status_with(json!({}), &STATUS)
    .table(
        &["Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"],
        row,
    )
    .generation()
    .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy { default, validate: flowcontrol::validate_priority_level, ..PLAIN };

static STATUS: Update = Update { validate: flowcontrol::validate_status, ..CUSTOM_STATUS };

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    for (kind, shares) in [("exempt", 0), ("limited", 30)] {
        if let Some(level) = at(spec, &[kind]) {
            set(level, "nominalConcurrencyShares", shares);
            set(level, "lendablePercent", 0);
        }
    }
    if let Some(queuing) = at(spec, &["limited", "limitResponse", "queuing"]) {
        set_zero(queuing, "handSize", 8);
        set_zero(queuing, "queues", 64);
        set_zero(queuing, "queueLengthLimit", 50);
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let limited = |path: &[&str]| {
        let path: Vec<&str> = ["spec", "limited"].iter().chain(path).copied().collect();
        o.get(&path).cloned().unwrap_or_else(|| "<none>".into())
    };
    let queuing = |key| limited(&["limitResponse", "queuing", key]);
    vec![
        name(o),
        text(o, &["spec", "type"]),
        limited(&["nominalConcurrencyShares"]),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        age(o, now),
    ]
}
