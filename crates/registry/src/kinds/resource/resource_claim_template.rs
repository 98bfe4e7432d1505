//! `resourceclaimtemplates` (resource.k8s.io/v1).

use super::resource_claim::{claim_spec, immutable_spec};
use crate::fill::{make, part};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::name_and_age;

pub(super) fn kind() -> Kind {
    Kind::namespaced("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates")
        .table(&["Name", "Age"], name_and_age)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| claim_spec(make(part(o, "spec"), "spec")),
    update: Update { validate: immutable_spec, ..WHOLE },
    ..PLAIN
};
