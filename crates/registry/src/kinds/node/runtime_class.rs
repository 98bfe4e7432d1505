//! `runtimeclasses` (node.k8s.io/v1).

use crate::fill::{at, quantities};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, name, text};
use crate::validate::policy::{validate_runtime_class, validate_runtime_class_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses")
        .table(&["Name", "Handler", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| {
        let overhead = o.body.get_mut("overhead").and_then(|v| at(v, &[]));
        overhead.into_iter().for_each(|v| quantities(v.get_mut("podFixed")));
    },
    validate: validate_runtime_class,
    update: Update { validate: validate_runtime_class_update, ..WHOLE },
    create_on_update: true,
    unconditional_update: false,
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), text(o, &["handler"]), age(o, now)]
}
