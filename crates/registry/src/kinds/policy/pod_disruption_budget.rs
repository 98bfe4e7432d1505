//! `poddisruptionbudgets` (policy/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, name, number};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .status(json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}))
        .table(&["Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate_name: crate::names::path_segment,
    validate: crate::validate::policy::validate_budget,
    unconditional_update: false,
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let amount = |key| match o.get(&["spec", key]) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        _ => "N/A".to_owned(),
    };
    vec![
        name(o),
        amount("minAvailable").into(),
        amount("maxUnavailable").into(),
        number(o, &["status", "disruptionsAllowed"]).into(),
        age(o, now),
    ]
}
