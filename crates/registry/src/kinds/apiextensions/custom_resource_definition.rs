//! `customresourcedefinitions` (apiextensions.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .category("api-extensions")
        .status(json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": ["v1"]}))
        .generation()
}
