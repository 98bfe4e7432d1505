//! `limitranges` (v1).

use crate::fill::{each, make, quantities, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use meta::Object;
use serde_json::{Map, Value};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "LimitRange", "limitranges").short(&["limits"]).strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    // One without a name gets one (`pkg/registry/core/limitrange/strategy.go`).
    prepare_for_create: |o, _| {
        if o.metadata.name.is_empty() && o.metadata.generate_name.is_empty() {
            o.metadata.name.clone_from(&o.metadata.uid);
        }
    },
    validate: crate::validate::quota::validate_limit_range,
    create_on_update: true,
    ..PLAIN
};

fn default(o: &mut Object) {
    let Some(spec) = o.body.get_mut("spec") else { return };
    for item in each(spec, "limits") {
        for list in ["default", "defaultRequest", "max", "min", "maxLimitRequestRatio"] {
            quantities(item.get_mut(list));
        }
        if item["type"] != "Container" {
            continue;
        }
        copy_missing(item, "max", "default");
        copy_missing(item, "default", "defaultRequest");
        copy_missing(item, "min", "defaultRequest");
    }
}

fn copy_missing(item: &mut Value, from: &str, to: &str) {
    let entries: Map<String, Value> = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
    for (resource, quantity) in entries {
        set(make(item, to), &resource, quantity);
    }
}
