//! `namespaces` (v1).

use crate::kind::{Kind, Verbs};
use crate::strategy::{Context, PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{age, name, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

/// The finalizer in `spec.finalizers` that stands for the namespace's content.
const KUBERNETES: &str = "kubernetes";
/// The label that holds the namespace's own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn kind() -> Kind {
    let mut kind = Kind::cluster("", "v1", "Namespace", "namespaces")
        .short(&["ns"])
        .verbs(Verbs::ALL.without(Verbs::DELETECOLLECTION))
        .part("finalize", &FINALIZE)
        .status_with(json!({"phase": "Active"}), &STATUS)
        .table(&["Name", "Status", "Age"], row)
        .field("status.phase")
        .strategy(&STRATEGY);
    kind.subresources.iter_mut().filter(|s| s.name == "finalize").for_each(|s| s.verbs = Verbs::UPDATE);
    kind
}

static STRATEGY: Strategy = Strategy {
    default: label_with_name,
    prepare_for_create,
    canonicalize: label_with_name,
    update: Update { prepare: |new, old, _| new.set(&["spec"], spec_of(old)), ..WHOLE },
    validate_name: crate::names::dns_label,
    validate: crate::validate::namespace::validate_namespace,
    ..PLAIN
};

/// `namespaces/finalize`: only `spec.finalizers` counts.
static FINALIZE: Update = Update {
    prepare: |new, old, _| {
        new.body.insert("status".into(), old.body.get("status").cloned().unwrap_or_else(|| json!({})));
    },
    validate: |_, _| Vec::new(),
    counts_generation: false,
};

static STATUS: Update =
    Update { validate: crate::validate::namespace::validate_namespace_status, ..STATUS_PART };

fn label_with_name(o: &mut Object) {
    if !o.metadata.name.is_empty() {
        o.metadata.labels.insert(NAME_LABEL.to_owned(), o.metadata.name.clone());
    }
}

fn spec_of(o: &Object) -> Value {
    o.body.get("spec").cloned().unwrap_or_else(|| json!({}))
}

fn prepare_for_create(o: &mut Object, _: &Context) {
    let mut finalizers = match o.get(&["spec", "finalizers"]) {
        Some(Value::Array(items)) => items.clone(),
        _ => Vec::new(),
    };
    if !finalizers.iter().any(|f| f == KUBERNETES) {
        finalizers.push(KUBERNETES.into());
    }
    o.set(&["spec", "finalizers"], finalizers.into());
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), text(o, &["status", "phase"]), age(o, now)]
}
