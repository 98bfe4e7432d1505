//! `persistentvolumeclaims` (v1).

use super::persistent_volume::{access_modes, class, phase};
use crate::fill::{part, quantities, set_zero};
use crate::kind::Kind;
use crate::strategy::{Context, PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, items, name, text, text_or};
use crate::validate::storage::{validate_claim, validate_claim_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
        .short(&["pvc"])
        .status(json!({"phase": "Pending"}))
        .table(
            &[
                "Name",
                "Status",
                "Volume",
                "Capacity",
                "Access Modes",
                "StorageClass",
                "VolumeAttributesClass",
                "Age",
                "VolumeMode*",
            ],
            row,
        )
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    prepare_for_create,
    warnings: crate::validate::warnings::claim,
    validate: validate_claim,
    update: Update { prepare: prepare_for_update, validate: validate_claim_update, ..WHOLE },
    ..PLAIN
};

fn default(o: &mut Object) {
    let status = part(o, "status");
    set_zero(status, "phase", "Pending");
    quantities(status.get_mut("capacity"));
    let spec = part(o, "spec");
    crate::pod::defaults::claim_spec(spec);
}

/// Whether `dataSource` may name it; `dataSourceRef` may name anything.
fn is_plain_source(source: &Value) -> bool {
    let text = |key: &str| source[key].as_str().unwrap_or_default();
    matches!(
        (text("apiGroup"), text("kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// A new claim's `dataSource` that names something else is not taken (`EnforceDataSourceBackwardsCompatibility`).
fn prepare_for_create(o: &mut Object, _: &Context) {
    let Some(spec) = o.body.get_mut("spec").filter(|s| s.is_object()) else { return };
    let unknown = spec["dataSource"].is_object() && !is_plain_source(&spec["dataSource"]);
    if unknown && spec["dataSourceRef"].is_null() {
        spec.as_object_mut().map(|s| s.remove("dataSource"));
    }
    same_data_source(spec);
}

/// A client that sends one of the two says as much as one that sends both.
fn prepare_for_update(o: &mut Object, _: &Object, _: &Context) {
    if let Some(spec) = o.body.get_mut("spec").filter(|s| s.is_object()) {
        same_data_source(spec);
    }
}

/// `dataSource` and `dataSourceRef` say the same, where a client gives one of them.
fn same_data_source(spec: &mut Value) {
    let get = |key: &str| spec.get(key).filter(|v| v.is_object()).cloned();
    match (get("dataSource"), get("dataSourceRef")) {
        (Some(source), None) => spec["dataSourceRef"] = source,
        (None, Some(reference)) if reference.get("namespace").is_none_or(Value::is_null) => {
            spec["dataSource"] = reference;
        }
        _ => {}
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let bound = !o.str(&["spec", "volumeName"]).is_empty();
    let (capacity, modes) = match bound {
        true => (
            text_or(o, &["status", "capacity", "storage"], "0"),
            access_modes(items(o, &["status", "accessModes"])),
        ),
        false => ("".into(), String::new()),
    };
    vec![
        name(o),
        phase(o),
        text(o, &["spec", "volumeName"]),
        capacity,
        modes.into(),
        class(o).into(),
        text_or(o, &["spec", "volumeAttributesClassName"], "<unset>"),
        age(o, now),
        text_or(o, &["spec", "volumeMode"], "<unset>"),
    ]
}
