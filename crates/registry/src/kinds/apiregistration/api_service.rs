//! `apiservices` (apiregistration.k8s.io/v1).

use crate::fill::{at, part, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, items, name};
use crate::validate::api_service::validate_api_service;
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("apiregistration.k8s.io", "v1", "APIService", "apiservices")
        .category("api-extensions")
        .status(json!({}))
        .table(&["Name", "Service", "Available", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| at(part(o, "spec"), &["service"]).into_iter().for_each(|s| set(s, "port", 443)),
    validate: validate_api_service,
    unconditional_update: false,
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let service = match o.get(&["spec", "service"]).filter(|s| s.is_object()) {
        Some(_) => {
            format!("{}/{}", o.str(&["spec", "service", "namespace"]), o.str(&["spec", "service", "name"]))
        }
        None => "Local".to_owned(),
    };
    let available = items(o, &["status", "conditions"]).iter().find(|c| c["type"] == "Available");
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    let status = match available {
        None => "Unknown".to_owned(),
        Some(c) if c["status"] == "True" || text(c, "reason").is_empty() => text(c, "status"),
        Some(c) => format!("{} ({})", text(c, "status"), text(c, "reason")),
    };
    vec![name(o), service.into(), status.into(), age(o, now)]
}
