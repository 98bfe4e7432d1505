//! Rules for the names of objects; a kind's [`crate::strategy::Strategy::validate_name`] is one of these
//! (`k8s.io/apimachinery/pkg/api/validation/generic.go`, `.../api/validation/path/name.go`).

/// Longest DNS subdomain.
const SUBDOMAIN_MAX: usize = 253;
/// Longest DNS label.
const LABEL_MAX: usize = 63;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character";
const SUBDOMAIN_REGEX: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character";
const LABEL_REGEX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character";
const LABEL_1035_REGEX: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";

/// The part of a `generateName` that is checked: a dash at its end will be followed by something.
fn masked(name: &str, generate: bool) -> String {
    match name.strip_suffix('-') {
        Some(rest) if generate && !rest.is_empty() => format!("{rest}a"),
        _ => name.to_owned(),
    }
}

fn is_label(s: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let b = s.as_bytes();
    !b.is_empty() && edge(b[0]) && edge(b[b.len() - 1]) && b.iter().all(|b| edge(*b) || *b == b'-')
}

fn regex_fault(what: &str, regex: &str, examples: &[&str]) -> String {
    let examples = examples.iter().map(|e| format!("'{e}'")).collect::<Vec<_>>().join(", or ");
    format!("{what} (e.g. {examples}, regex used for validation is '{regex}')")
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// A DNS subdomain: most kinds' names.
pub(crate) fn dns_subdomain(name: &str, generate: bool) -> Vec<String> {
    let name = masked(name, generate);
    let mut faults = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        faults.push(too_long(SUBDOMAIN_MAX));
    }
    if !name.split('.').all(is_label) {
        faults.push(regex_fault(SUBDOMAIN, SUBDOMAIN_REGEX, &["example.com"]));
    }
    faults
}

/// A DNS label (RFC 1123): namespaces.
pub(crate) fn dns_label(name: &str, generate: bool) -> Vec<String> {
    let name = masked(name, generate);
    let mut faults = Vec::new();
    if name.len() > LABEL_MAX {
        faults.push(too_long(LABEL_MAX));
    }
    if !is_label(&name) {
        faults.push(regex_fault(LABEL, LABEL_REGEX, &["my-name", "123-abc"]));
    }
    faults
}

/// A DNS label that starts with a letter (RFC 1035).
pub(crate) fn dns_1035_label(name: &str, generate: bool) -> Vec<String> {
    let name = masked(name, generate);
    let mut faults = Vec::new();
    if name.len() > LABEL_MAX {
        faults.push(too_long(LABEL_MAX));
    }
    if !is_label(&name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        faults.push(regex_fault(LABEL_1035, LABEL_1035_REGEX, &["my-name", "abc-123"]));
    }
    faults
}

/// Anything that can stand as one segment of a path: RBAC's names, which hold `:`.
pub(crate) fn path_segment(name: &str, generate: bool) -> Vec<String> {
    match name {
        "." | ".." if !generate => return vec![format!("may not be '{name}'")],
        _ => {}
    }
    let contained = ['/', '%'].into_iter().filter(|c| name.contains(*c));
    contained.map(|c| format!("may not contain '{c}'")).collect()
}
