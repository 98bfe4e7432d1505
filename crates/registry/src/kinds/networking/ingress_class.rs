//! `ingressclasses` (networking.k8s.io/v1).

use crate::fill::{at, part, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("networking.k8s.io", "v1", "IngressClass", "ingressclasses")
        .table(&["Name", "Controller", "Parameters", "Age"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| at(part(o, "spec"), &["parameters"]).into_iter().for_each(|p| set(p, "scope", "Cluster")),
    validate: crate::validate::network::validate_ingress_class,
    update: Update { validate: crate::validate::network::validate_ingress_class_update, ..WHOLE },
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let default = o.metadata.annotations.get("ingressclass.kubernetes.io/is-default-class");
    let mark = if default.is_some_and(|v| v == "true") { " (default)" } else { "" };
    let parameters = match o.get(&["spec", "parameters"]).filter(|p| p.is_object()) {
        Some(p) => {
            let part = |key| p.get(key).and_then(Value::as_str).unwrap_or_default();
            let group =
                if part("apiGroup").is_empty() { String::new() } else { format!(".{}", part("apiGroup")) };
            format!("{}{group}/{}", part("kind"), part("name"))
        }
        None => "<none>".to_owned(),
    };
    let shown = format!("{}{mark}", o.metadata.name);
    vec![shown.into(), text(o, &["spec", "controller"]), parameters.into(), age(o, now)]
}
