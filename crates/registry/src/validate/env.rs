//! Environment variables of containers (`pkg/apis/core/validation/validation.go`: `ValidateEnv`, `ValidateEnvFrom`).

use super::at::{At, Faults};
use meta::names;

/// What a variable may take from its pod.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file may hold of its pod.
pub(super) const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// What can be said of a container's resources.
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const BYTE_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub(super) fn env(list: &At<'_>, faults: &mut Faults) {
    for var in list.items() {
        var.get("name").required_rule(names::relaxed_env_var_name, faults);
        let from = var.get("valueFrom");
        if from.is_set() {
            value_from(&var, &from, faults);
        }
    }
}

fn value_from(var: &At<'_>, from: &At<'_>, faults: &mut Faults) {
    let count = SOURCES.iter().filter(|s| from.get(s).is_set()).count();
    if from.get("fieldRef").is_set() {
        field_ref(&from.get("fieldRef"), &ENV_FIELDS, faults);
    }
    if from.get("resourceFieldRef").is_set() {
        resource_field_ref(&from.get("resourceFieldRef"), false, faults);
    }
    for source in ["configMapKeyRef", "secretKeyRef"] {
        let source = from.get(source);
        if source.is_set() {
            let name = source.get("name");
            faults.extend(
                crate::names::dns_subdomain(name.str(), false).into_iter().map(|why| text(&name, why)),
            );
            source.get("key").required_rule(names::config_map_key, faults);
        }
    }
    if from.get("fileKeyRef").is_set() {
        file_key(&from.get("fileKeyRef"), faults);
    }
    let why = match count {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !var.get("value").is_empty() => "may not be specified when `value` is not empty",
        2.. => "may not have more than one field specified at a time",
        _ => return,
    };
    faults.push(meta::FieldError::invalid(&from.path(), "", why));
}

/// `validateFileKeySelector`.
fn file_key(file: &At<'_>, faults: &mut Faults) {
    file.get("key").required_rule(names::relaxed_env_var_name, faults);
    file.get("volumeName").required_rule(names::dns1123_label, faults);
    let path = file.get("path");
    if path.required(faults) {
        super::volume::no_back_steps(&path, faults);
    }
}

fn text(at: &At<'_>, why: String) -> meta::FieldError {
    meta::FieldError::invalid(&at.path(), at.str(), why)
}

/// `metadata.labels['a']` as (`metadata.labels`, `a`).
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// A reference to a field of the pod.
pub(super) fn field_ref(field: &At<'_>, known: &[&str], faults: &mut Faults) {
    if !field.get("apiVersion").required(faults) || !field.get("fieldPath").required(faults) {
        return;
    }
    let path = field.get("fieldPath");
    if field.get("apiVersion").str() != "v1" {
        let why =
            format!("error converting fieldPath: unsupported pod version: {}", field.get("apiVersion").str());
        faults.push(path.invalid(why));
        return;
    }
    let mut qualified = |key: &str| {
        let rule = names::qualified_name(key).into_iter();
        faults.extend(rule.map(|why| meta::FieldError::invalid(&field.path(), key, why)));
    };
    match subscripted(path.str()) {
        Some(("metadata.annotations", key)) => qualified(&key.to_lowercase()),
        Some(("metadata.labels", key)) => qualified(key),
        Some((other, _)) => {
            let why = format!("error converting fieldPath: field label does not support subscript: {other}");
            faults.push(path.invalid(why));
        }
        None if known.contains(&path.str()) => {}
        None if ENV_FIELDS.contains(&path.str()) || VOLUME_FIELDS.contains(&path.str()) => {
            path.known(known, faults)
        }
        None => {
            let why = format!("error converting fieldPath: field label not supported: {}", path.str());
            faults.push(path.invalid(why));
        }
    }
}

/// A reference to a container's resources.
pub(super) fn resource_field_ref(field: &At<'_>, volume: bool, faults: &mut Faults) {
    let resource = field.get("resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|p| resource.str().starts_with(p));
    if volume && field.get("containerName").is_empty() {
        faults.push(field.get("containerName").missing(""));
    } else if resource.required(faults) && !huge {
        resource.known(&RESOURCES, faults);
    }
    let Some(divisor) = field.get("divisor").quantity().filter(|d| !d.is_zero()) else { return };
    let divisor = divisor.to_string();
    let mut wrong = |list: &str, what: &str| {
        let why = format!("only divisor's values {list} are supported with the {what} resource");
        faults.push(meta::FieldError::invalid(&field.get("divisor").path(), resource.str(), why));
    };
    let bytes = BYTE_DIVISORS.join(", ");
    match resource.str().split_once('.').map_or("", |(_, r)| r) {
        "cpu" if !["1m", "1"].contains(&divisor.as_str()) => wrong("1m and 1", "cpu"),
        "memory" if !BYTE_DIVISORS.contains(&divisor.as_str()) => wrong(&bytes, "memory"),
        "ephemeral-storage" if !BYTE_DIVISORS.contains(&divisor.as_str()) => {
            wrong(&bytes, "local ephemeral storage")
        }
        r if r.starts_with("hugepages-") && !BYTE_DIVISORS.contains(&divisor.as_str()) => {
            wrong(&bytes, "hugepages")
        }
        _ => {}
    }
}

pub(super) fn env_from(list: &At<'_>, faults: &mut Faults) {
    for source in list.items() {
        source.get("prefix").optional_rule(names::relaxed_env_var_name, faults);
        let refs = [source.get("configMapRef"), source.get("secretRef")];
        for reference in refs.iter().filter(|r| r.is_set()) {
            let name = reference.get("name");
            if name.required(faults) {
                faults.extend(
                    crate::names::dns_subdomain(name.str(), false).into_iter().map(|why| text(&name, why)),
                );
            }
        }
        let why = match refs.iter().filter(|r| r.is_set()).count() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        faults.push(meta::FieldError::invalid(&list.path(), "", why));
    }
}
