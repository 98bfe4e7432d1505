//! `csistoragecapacities` (storage.k8s.io/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};

pub(super) fn kind() -> Kind {
    Kind::namespaced("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities").strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy { unconditional_update: false, ..PLAIN };
