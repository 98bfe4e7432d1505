//! Rules for the names of objects; a kind's [`crate::strategy::Strategy::validate_name`] is one of these
//! (`k8s.io/apimachinery/pkg/api/validation/generic.go`, `.../api/validation/path/name.go`).

use meta::names;

/// The part of a `generateName` that is checked: a dash at its end will be followed by something.
fn masked(name: &str, generate: bool) -> String {
    match name.strip_suffix('-') {
        Some(rest) if generate && !rest.is_empty() => format!("{rest}a"),
        _ => name.to_owned(),
    }
}

/// A DNS subdomain: most kinds' names.
pub(crate) fn dns_subdomain(name: &str, generate: bool) -> Vec<String> {
    names::dns1123_subdomain(&masked(name, generate))
}

/// A DNS label (RFC 1123): namespaces.
pub(crate) fn dns_label(name: &str, generate: bool) -> Vec<String> {
    names::dns1123_label(&masked(name, generate))
}

/// Anything that can stand as one segment of a path: RBAC's names, which hold `:`.
pub(crate) fn path_segment(name: &str, generate: bool) -> Vec<String> {
    if generate && matches!(name, "." | "..") {
        return Vec::new();
    }
    names::path_segment(name)
}
