//! `csistoragecapacities` (storage.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities")
}
