//! Decoded objects for those inside the server who decide: authenticators, the authorizer, admission. Decoded once for
//! each revision while it is asked for.

use crate::catalog::Catalog;
use crate::codec;
use meta::Object;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Entry, Store};

/// How many decoded objects are kept.
const MAX_DECODED: usize = 512;

/// Decoded objects by key, each with its revision.
#[derive(Debug, Default)]
pub(crate) struct Decoded(Mutex<HashMap<Box<str>, AtRevision>>);

type AtRevision = (u64, Arc<Object>);

/// Read access to the stored objects as of the newest revision.
pub(crate) struct Objects<'a> {
    pub(crate) store: &'a Store,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) decoded: &'a Decoded,
}

impl Objects<'_> {
    /// The object, decoded.
    pub(crate) fn get(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let served = self.catalog.find_any(group, resource)?;
        let entry = self.store.get(&served.kind.key(namespace, name)?)?;
        let mut known = self.decoded.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, object)) = known.get(&entry.key)
            && *revision == entry.revision
        {
            return Some(object.clone());
        }
        let object = Arc::new(codec::decode(served, &entry).ok()?);
        if known.len() >= MAX_DECODED {
            known.clear();
        }
        known.insert(entry.key.clone(), (entry.revision, object.clone()));
        Some(object)
    }

    /// All objects of a namespace, or of all.
    pub(crate) fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        let Some(served) = self.catalog.find_any(group, resource) else { return Vec::new() };
        let entries = self.entries(group, resource, namespace);
        entries.iter().filter_map(|e| codec::decode(served, e).ok().map(Arc::new)).collect()
    }

    /// The stored entries of a namespace, or of all.
    pub(crate) fn entries(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Entry>> {
        let served = self.catalog.find_any(group, resource);
        let Some(prefix) = served.and_then(|s| s.prefix(namespace)) else { return Vec::new() };
        self.store.list(&prefix, None, None, 0).map(|l| l.entries).unwrap_or_default()
    }
}

impl auth::Lookup for Objects<'_> {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        Objects::get(self, group, resource, namespace, name)
    }
}
