//! `servicecidrs` (networking.k8s.io/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, items, joined, name};
use crate::validate::network::{validate_service_cidr, validate_service_cidr_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs")
        .status(json!({}))
        .table(&["Name", "CIDRs", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate: validate_service_cidr,
    update: Update { validate: validate_service_cidr_update, ..WHOLE },
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), joined(items(o, &["spec", "cidrs"]), ",").into(), age(o, now)]
}
