//! `resourcequotas` (v1).

use crate::fill::{at, part, quantities};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, name};
use crate::validate::quota::{validate_quota, validate_quota_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .status(json!({}))
        .table(&["Name", "Request", "Limit", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: validate_quota,
    update: Update { validate: validate_quota_update, ..WHOLE },
    ..PLAIN
};

fn default(o: &mut Object) {
    quantities(part(o, "spec").get_mut("hard"));
    if let Some(status) = o.body.get_mut("status").and_then(|s| at(s, &[])) {
        quantities(status.get_mut("hard"));
        quantities(status.get_mut("used"));
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let hard = o.get(&["status", "hard"]).and_then(Value::as_object).into_iter().flatten();
    let mut hard: Vec<_> = hard.collect();
    hard.sort_by_key(|(resource, _)| *resource);
    for (resource, limit) in hard {
        let used = o.str(&["status", "used", resource]);
        let used = if used.is_empty() { "0" } else { used };
        let cell = format!("{resource}: {used}/{}", limit.as_str().unwrap_or_default());
        if resource.starts_with("limits.") { &mut limits } else { &mut requests }.push(cell);
    }
    vec![name(o), requests.join(", ").into(), limits.join(", ").into(), age(o, now)]
}
