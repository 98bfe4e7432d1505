//! `leases` (coordination.k8s.io/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, name, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases")
        .table(&["Name", "Holder", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate: crate::validate::policy::validate_lease,
    create_on_update: true,
    unconditional_update: false,
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), text(o, &["spec", "holderIdentity"]), age(o, now)]
}
