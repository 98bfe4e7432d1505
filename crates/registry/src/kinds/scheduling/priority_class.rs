//! `priorityclasses` (scheduling.k8s.io/v1).

use crate::fill::set_in;
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, flag, name, number, text};
use crate::validate::policy::{validate_priority_class, validate_priority_class_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        .short(&["pc"])
        .table(&["Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| set_in(&mut o.body, "preemptionPolicy", "PreemptLowerPriority"),
    validate: validate_priority_class,
    update: Update { validate: validate_priority_class_update, ..WHOLE },
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let global = flag(o, &["globalDefault"], false);
    vec![name(o), number(o, &["value"]).into(), global, age(o, now), text(o, &["preemptionPolicy"])]
}
