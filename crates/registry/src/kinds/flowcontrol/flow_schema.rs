//! `flowschemas` (flowcontrol.apiserver.k8s.io/v1).

use crate::fill::{part, set_zero};
use crate::kind::Kind;
use crate::strategy::{CUSTOM_STATUS, PLAIN, Strategy, Update};
use crate::table::{age, items, name, number, text, text_or};
use crate::validate::flowcontrol;
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas")
        .status_with(json!({}), &STATUS)
        .table(
            &["Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"],
            row,
        )
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| set_zero(part(o, "spec"), "matchingPrecedence", 1000),
    validate: flowcontrol::validate_flow_schema,
    ..PLAIN
};

static STATUS: Update = Update { validate: flowcontrol::validate_status, ..CUSTOM_STATUS };

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let dangling = items(o, &["status", "conditions"]).iter().find(|c| c["type"] == "Dangling");
    vec![
        name(o),
        text(o, &["spec", "priorityLevelConfiguration", "name"]),
        number(o, &["spec", "matchingPrecedence"]).into(),
        text_or(o, &["spec", "distinguisherMethod", "type"], "<none>"),
        age(o, now),
        dangling.and_then(|c| c["status"].as_str()).unwrap_or("?").into(),
    ]
}
