//! Read access to stored objects, for checks of bound tokens and bootstrap tokens.

use meta::Object;
use std::sync::Arc;

/// Gives the stored object of `group`/`resource` as of the newest revision; `namespace` is empty for
/// cluster-scoped resources.
pub trait Lookup {
    /// The object, or none.
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>>;
}
