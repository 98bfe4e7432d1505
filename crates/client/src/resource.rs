//! Which resource a call is about.

use api::{Kind, KindInfo};
use meta::GroupVersionKind;
use std::borrow::Cow;

/// A resource as discovery tells it or as a typed kind knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version, for example `v1`.
    pub version: Cow<'static, str>,
    /// Plural resource, for example `deployments`.
    pub resource: Cow<'static, str>,
    /// Kind, for example `Deployment`.
    pub kind: Cow<'static, str>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Resource {
    /// The resource of a typed kind.
    pub const fn of<K: Kind>() -> Self {
        Self::from_info(&K::INFO)
    }

    /// The resource that `info` describes.
    pub const fn from_info(info: &KindInfo) -> Self {
        Self {
            group: Cow::Borrowed(info.group),
            version: Cow::Borrowed(info.version),
            resource: Cow::Borrowed(info.resource),
            kind: Cow::Borrowed(info.kind),
            namespaced: info.namespaced,
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        meta::gvk::api_version(&self.group, &self.version)
    }

    /// Group, version and kind of its objects.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(&self.api_version(), &self.kind)
    }

    /// The URL path of the collection, in `namespace` or (empty) across all.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let (version, resource) = (&self.version, &self.resource);
        match (self.namespaced, namespace) {
            (true, ns) if !ns.is_empty() => format!("{root}/{version}/namespaces/{ns}/{resource}"),
            _ => format!("{root}/{version}/{resource}"),
        }
    }
}

impl std::fmt::Display for Resource {
    /// `deployments.apps`, or `pods` in the core group.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}
