//! `customresourcedefinitions` (apiextensions.k8s.io/v1).

use crate::fill::{at, each, make, part, set, set_zero, text};
use crate::kind::Kind;
use crate::strategy::{Context, PLAIN, Strategy, Update, WHOLE};
use crate::table::items;
use crate::validate::crd::{validate_definition, validate_definition_update};
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .category("api-extensions")
        .status(
            json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": []}),
        )
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    prepare_for_create: |o, _| note_storage_version(o),
    warnings: crate::validate::warnings::definition,
    validate: validate_definition,
    update: Update {
        prepare: |new, _, _: &Context| note_storage_version(new),
        validate: validate_definition_update,
        ..WHOLE
    },
    unconditional_update: false,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    let names = make(spec, "names");
    let kind = text(names, "kind").to_owned();
    set_zero(names, "singular", kind.to_lowercase());
    if !kind.is_empty() {
        set_zero(names, "listKind", format!("{kind}List"));
    }
    set(spec, "conversion", json!({"strategy": "None"}));
    if let Some(service) = at(spec, &["conversion", "webhook", "clientConfig", "service"]) {
        set(service, "port", 443);
    }
    for version in each(spec, "versions") {
        for column in each(version, "additionalPrinterColumns") {
            if column["priority"] == 0 {
                column.as_object_mut().map(|c| c.remove("priority"));
            }
        }
    }
}

/// The version in which new objects are stored is one in which objects are stored.
fn note_storage_version(o: &mut Object) {
    let storage = items(o, &["spec", "versions"]).iter().find(|v| v["storage"] == true);
    let Some(version) = storage.and_then(|v| v["name"].as_str()).map(str::to_owned) else { return };
    let mut stored = items(o, &["status", "storedVersions"]).to_vec();
    if !stored.iter().any(|v| v == version.as_str()) {
        stored.push(Value::from(version));
        o.set(&["status", "storedVersions"], stored.into());
    }
}
