//! `persistentvolumes` (v1).

use crate::fill::{at, part, quantities, set, set_zero};
use crate::kind::Kind;
use crate::strategy::{Context, PLAIN, STATUS_PART, Strategy, Update, WHOLE, keep_all_but_status};
use crate::table::{age, items, name, text, text_or};
use crate::validate::storage::{validate_volume, validate_volume_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("", "v1", "PersistentVolume", "persistentvolumes")
        .short(&["pv"])
        .status_with(json!({"phase": "Pending"}), &STATUS)
        .table(
            &[
                "Name",
                "Capacity",
                "Access Modes",
                "Reclaim Policy",
                "Status",
                "Claim",
                "StorageClass",
                "VolumeAttributesClass",
                "Reason",
                "Age",
                "VolumeMode*",
            ],
            row,
        )
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    prepare_for_create: |o, context| o.set(&["status", "lastPhaseTransitionTime"], time(context)),
    validate: validate_volume,
    update: Update { validate: validate_volume_update, ..WHOLE },
    warnings: crate::validate::warnings::persistent_volume,
    ..PLAIN
};

static STATUS: Update = Update { prepare: note_phase_change, ..STATUS_PART };

fn time(context: &Context) -> Value {
    meta::Time::new(context.now).to_string().into()
}

fn note_phase_change(new: &mut Object, old: &Object, context: &Context) {
    keep_all_but_status(new, old, context);
    const PATH: &[&str] = &["status", "lastPhaseTransitionTime"];
    if new.str(&["status", "phase"]) != old.str(&["status", "phase"]) && new.get(PATH) == old.get(PATH) {
        new.set(PATH, time(context));
    }
}

fn default(o: &mut Object) {
    set_zero(part(o, "status"), "phase", "Pending");
    let spec = part(o, "spec");
    set_zero(spec, "persistentVolumeReclaimPolicy", "Retain");
    set(spec, "volumeMode", "Filesystem");
    quantities(spec.get_mut("capacity"));
    at(spec, &["hostPath"]).into_iter().for_each(|h| set(h, "type", ""));
    at(spec, &["iscsi"]).into_iter().for_each(|v| set_zero(v, "iscsiInterface", "default"));
    if let Some(rbd) = at(spec, &["rbd"]) {
        set_zero(rbd, "pool", "rbd");
        set_zero(rbd, "user", "admin");
        set_zero(rbd, "keyring", "/etc/ceph/keyring");
    }
}

/// Access modes in the short form of tables: `RWO,ROX,RWX,RWOP`.
pub(super) fn access_modes(list: &[Value]) -> String {
    let has = |mode: &str| list.iter().any(|m| m == mode);
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    short.iter().filter(|(mode, _)| has(mode)).map(|(_, s)| *s).collect::<Vec<_>>().join(",")
}

/// The class: the field, or the annotation that came before it.
pub(super) fn class(o: &Object) -> String {
    let annotation = o.metadata.annotations.get("volume.beta.kubernetes.io/storage-class");
    annotation.cloned().unwrap_or_else(|| o.str(&["spec", "storageClassName"]).to_owned())
}

/// The phase, or that it is going.
pub(super) fn phase(o: &Object) -> Value {
    if o.metadata.is_deleting() { "Terminating".into() } else { text(o, &["status", "phase"]) }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let claim = match o.get(&["spec", "claimRef"]).filter(|c| c.is_object()) {
        Some(c) => {
            let part = |key| c.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{}/{}", part("namespace"), part("name"))
        }
        None => String::new(),
    };
    vec![
        name(o),
        text_or(o, &["spec", "capacity", "storage"], "0"),
        access_modes(items(o, &["spec", "accessModes"])).into(),
        text(o, &["spec", "persistentVolumeReclaimPolicy"]),
        phase(o),
        claim.into(),
        class(o).into(),
        text_or(o, &["spec", "volumeAttributesClassName"], "<unset>"),
        text(o, &["status", "reason"]),
        age(o, now),
        text_or(o, &["spec", "volumeMode"], "<unset>"),
    ]
}
