//! `componentstatuses` (v1): deprecated upstream since 1.19; ours are made up by the API server on request.

use crate::kind::{Kind, Verbs};
use crate::table::{items, name};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("", "v1", "ComponentStatus", "componentstatuses")
        .short(&["cs"])
        .deprecated("v1 ComponentStatus is deprecated in v1.19+")
        .not_stored(Verbs::GET.and(Verbs::LIST))
        .table(&["Name", "Status", "Message", "Error"], row)
}

fn row(o: &Object, _: Timestamp) -> Vec<Value> {
    let healthy = items(o, &["conditions"]).iter().find(|c| c["type"] == "Healthy");
    let text = |key: &str| healthy.and_then(|c| c[key].as_str()).unwrap_or_default();
    let status = match text("status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![name(o), status.into(), text("message").into(), text("error").into()]
}
