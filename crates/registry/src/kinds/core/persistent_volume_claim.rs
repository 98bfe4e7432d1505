//! `persistentvolumeclaims` (v1).

use super::persistent_volume::{access_modes, class, phase};
use crate::fill::{part, quantities, set_zero};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
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
    validate: validate_claim,
    update: Update { validate: validate_claim_update, ..WHOLE },
    ..PLAIN
};

fn default(o: &mut Object) {
    let status = part(o, "status");
    set_zero(status, "phase", "Pending");
    quantities(status.get_mut("capacity"));
    let spec = part(o, "spec");
    crate::pod::defaults::claim_spec(spec);
    same_data_source(spec);
}

/// `dataSource` and `dataSourceRef` say the same, where a client gives one of them.
fn same_data_source(spec: &mut Value) {
    let get = |key: &str| spec.get(key).filter(|v| v.is_object()).cloned();
    match (get("dataSource"), get("dataSourceRef")) {
        (Some(source), None) => spec["dataSourceRef"] = source,
        (None, Some(reference)) if reference.get("namespace").is_none_or(Value::is_null) => {
            let group = reference["apiGroup"].as_str().unwrap_or_default();
            let known = matches!(
                (group, reference["kind"].as_str().unwrap_or_default()),
                ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
            );
            if known {
                spec["dataSource"] = reference;
            }
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
