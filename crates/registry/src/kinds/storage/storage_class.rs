//! `storageclasses` (storage.k8s.io/v1).

use crate::fill::set_in;
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, flag, text, text_or};
use crate::validate::storage::{validate_storage_class, validate_storage_class_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses")
        .short(&["sc"])
        .table(
            &["Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"],
            row,
        )
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    warnings: crate::validate::warnings::storage_class,
    default: |o| {
        set_in(&mut o.body, "reclaimPolicy", "Delete");
        set_in(&mut o.body, "volumeBindingMode", "Immediate");
    },
    validate: validate_storage_class,
    update: Update { validate: validate_storage_class_update, ..WHOLE },
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let is_default =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
            .iter()
            .any(|key| o.metadata.annotations.get(*key).is_some_and(|v| v == "true"));
    let mark = if is_default { " (default)" } else { "" };
    vec![
        format!("{}{mark}", o.metadata.name).into(),
        text(o, &["provisioner"]),
        text_or(o, &["reclaimPolicy"], "Delete"),
        text_or(o, &["volumeBindingMode"], "Immediate"),
        flag(o, &["allowVolumeExpansion"], false),
        age(o, now),
    ]
}
