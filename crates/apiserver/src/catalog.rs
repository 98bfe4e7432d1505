//! What is served: every kind by its path, built in or custom. Readers take a snapshot; a change of a
//! CustomResourceDefinition builds a new one aside and swaps it.

use crate::model::Model;
use meta::{GroupKind, Status};
use registry::Kind;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One kind in one version, with its schema.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) kind: Arc<Kind>,
    /// The schema that defaults, prunes, validates and merges; none where any JSON is taken as it is.
    pub(crate) model: Option<Arc<Model>>,
    /// Where a custom resource comes from.
    pub(crate) custom: Option<Arc<Custom>>,
}

/// What only custom resources have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Custom {
    /// Name of the CustomResourceDefinition.
    pub(crate) crd: String,
    /// Its schema as the author wrote it, for OpenAPI.
    pub(crate) openapi: serde_json::Value,
    /// The definition is being deleted: nothing new is created.
    pub(crate) terminating: bool,
    /// The schema of the stored version, where this is another one.
    pub(crate) stored: Option<Arc<Model>>,
    /// The revision since which objects are written by this schema; older ones are defaulted and pruned when read.
    pub(crate) since: u64,
}

impl Served {
    /// Whether an object of this revision was written by a schema that has changed since.
    pub(crate) fn is_outdated(&self, revision: u64) -> bool {
        self.custom.as_ref().is_some_and(|c| revision < c.since)
    }

    /// Whether this is a custom kind in another version than the stored one, whose schema may have other fields.
    pub(crate) fn is_converted(&self) -> bool {
        self.custom.is_some() && !self.kind.served_as_stored()
    }

    /// Whether the stored bytes of this revision are what is served.
    pub(crate) fn is_served_as_stored(&self, revision: u64) -> bool {
        self.kind.served_as_stored() && !self.is_outdated(revision)
    }

    /// Group and kind as errors of validation name it.
    pub(crate) fn group_kind(&self) -> GroupKind {
        self.kind.group_kind()
    }

    /// The warning with which each request is answered.
    pub(crate) fn warning(&self) -> Vec<String> {
        self.kind.deprecated.iter().map(ToString::to_string).collect()
    }

    /// 404 for one object.
    pub(crate) fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.kind.group, &self.kind.resource, name)
    }

    /// Prefix of the keys of a namespace's objects, or of all.
    pub(crate) fn prefix(&self, namespace: &str) -> Option<String> {
        let prefix = self.kind.key_prefix()?;
        Some(if self.kind.namespaced && !namespace.is_empty() {
            format!("{prefix}{namespace}/")
        } else {
            prefix
        })
    }
}

/// A group and its versions in the order of preference.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
}

/// A snapshot of all that is served.
#[derive(Clone, Default)]
pub(crate) struct Catalog {
    by_resource: BTreeMap<(String, String, String), Arc<Served>>,
    /// In the order of discovery.
    pub(crate) list: Vec<Arc<Served>>,
    /// In the order of discovery.
    pub(crate) groups: Vec<Group>,
}

impl Catalog {
    /// Everything in `kinds`, in that order.
    pub(crate) fn new(kinds: impl IntoIterator<Item = Served>) -> Self {
        let mut catalog = Self::default();
        kinds.into_iter().for_each(|k| catalog.add(k));
        for group in &mut catalog.groups {
            group.versions.sort_by_key(|version| Reverse(version_order(version)));
        }
        catalog
    }

    fn add(&mut self, served: Served) {
        let kind = &served.kind;
        let key = (kind.group.to_string(), kind.version.to_string(), kind.resource.to_string());
        if self.by_resource.contains_key(&key) {
            return;
        }
        let at = self.groups.iter().position(|g| g.name == kind.group).unwrap_or_else(|| {
            self.groups.push(Group { name: kind.group.to_string(), versions: Vec::new() });
            self.groups.len() - 1
        });
        if !self.groups[at].versions.iter().any(|v| *v == kind.version) {
            self.groups[at].versions.push(kind.version.to_string());
        }
        let served = Arc::new(served);
        self.by_resource.insert(key, served.clone());
        self.list.push(served);
    }

    /// The kind at a path.
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Served>> {
        self.by_resource.get(&(group.to_owned(), version.to_owned(), resource.to_owned()))
    }

    /// The kind at a path in whatever version is preferred.
    pub(crate) fn find_any(&self, group: &str, resource: &str) -> Option<&Arc<Served>> {
        let versions = self.groups.iter().find(|g| g.name == group).map(|g| g.versions.as_slice());
        versions.unwrap_or_default().iter().find_map(|v| self.find(group, v, resource))
    }

    /// The kind with that name.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Served>> {
        let (group, version) = meta::gvk::parse_api_version(api_version);
        self.list.iter().find(|s| s.kind.kind == kind && s.kind.group == group && s.kind.version == version)
    }

    /// The kinds of one group and version.
    pub(crate) fn of<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Served>> {
        self.list.iter().filter(move |s| s.kind.group == group && s.kind.version == version)
    }
}

/// Stable before beta before alpha, higher before lower; anything else behind, by name
/// (`k8s.io/apimachinery/pkg/version/helpers.go`).
pub(crate) fn version_order(v: &str) -> (u8, u32, u32, Reverse<String>) {
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = v.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let (stage, minor) = match &rest[digits..] {
            "" => (3, "0"),
            tail if tail.starts_with("beta") => (2, &tail[4..]),
            tail if tail.starts_with("alpha") => (1, &tail[5..]),
            _ => return None,
        };
        Some((stage, major, minor.parse().ok()?))
    };
    let (stage, major, minor) = parse().unwrap_or((0, 0, 0));
    (stage, major, minor, Reverse(v.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::version_order;

    #[test]
    fn versions_are_ordered_by_stability() {
        let mut all = vec!["v1alpha1", "foo", "v2beta1", "v1", "v10", "v2", "v1beta2"];
        all.sort_by_key(|version| std::cmp::Reverse(version_order(version)));
        assert_eq!(all, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }
}
