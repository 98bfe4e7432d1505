//! `csidrivers` (storage.k8s.io/v1).

use crate::fill::{part, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, each_joined, flag, items, joined, name};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "CSIDriver", "csidrivers")
        .table(
            &[
                "Name",
                "AttachRequired:boolean",
                "PodInfoOnMount:boolean",
                "StorageCapacity:boolean",
                "TokenRequests",
                "RequiresRepublish:boolean",
                "Modes",
                "Age",
            ],
            row,
        )
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    warnings: |o, _| {
        let asks = !items(o, &["spec", "tokenRequests"]).is_empty();
        let says = o.get(&["spec", "serviceAccountTokenInSecrets"]).is_some_and(|v| !v.is_null());
        let text = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";
        (asks && !says).then(|| text.to_owned()).into_iter().collect()
    },
    validate: crate::validate::storage::validate_csi_driver,
    unconditional_update: false,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set(spec, "attachRequired", true);
    for key in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set(spec, key, false);
    }
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec["volumeLifecycleModes"].as_array().is_none_or(Vec::is_empty) {
        spec["volumeLifecycleModes"] = json!(["Persistent"]);
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let modes = joined(items(o, &["spec", "volumeLifecycleModes"]), ",");
    let tokens = match o.get(&["spec", "tokenRequests"]).and_then(Value::as_array) {
        Some(tokens) => each_joined(tokens, "audience"),
        None => "<unset>".to_owned(),
    };
    vec![
        name(o),
        flag(o, &["spec", "attachRequired"], true),
        flag(o, &["spec", "podInfoOnMount"], false),
        flag(o, &["spec", "storageCapacity"], false),
        tokens.into(),
        flag(o, &["spec", "requiresRepublish"], false),
        if modes.is_empty() { "<none>".into() } else { modes.into() },
        age(o, now),
    ]
}
