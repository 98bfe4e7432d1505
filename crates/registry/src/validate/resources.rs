//! Quantities and resource names (`pkg/apis/core/validation/validation.go`, `pkg/apis/core/helper/helpers.go`).

use super::at::{At, Faults, Unique};
use meta::FieldError;
use meta::names::qualified_name;
use meta::quantity::Quantity;

/// Resources of a container.
const CONTAINER: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources that are counted in whole numbers.
const INTEGER: [&str; 11] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
    "count/pods",
    "count/services",
];
/// Names without a domain, beside those that are counted.
const STANDARD: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
];

pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// A resource of the API's own: without a domain, or with `kubernetes.io`.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A device or the like that a node advertises.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether pods may together be limited to more than there is.
fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn is_integer(name: &str) -> bool {
    INTEGER.contains(&name) || is_extended(name)
}

pub(crate) fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name)
        || INTEGER.contains(&name)
        || name == "limits.ephemeral-storage"
        || is_quota_huge_page(name)
}

fn is_quota_huge_page(name: &str) -> bool {
    is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// A resource's name: qualified, and known where it has no domain.
pub(crate) fn resource_name(name: &str, at: &At<'_>, faults: &mut Faults) -> bool {
    let before = faults.len();
    faults.extend(qualified_name(name).into_iter().map(|why| FieldError::invalid(&at.path(), name, why)));
    if faults.len() == before && !name.contains('/') && !is_standard(name) {
        let why = "must be a standard resource type or fully qualified";
        faults.push(FieldError::invalid(&at.path(), name, why));
    }
    faults.len() == before
}

/// A resource's name as containers may have it.
pub(super) fn container_resource_name(name: &str, at: &At<'_>, faults: &mut Faults) {
    resource_name(name, at, faults);
    if !name.contains('/') {
        if !CONTAINER.contains(&name) && !is_huge_page(name) {
            faults.push(FieldError::invalid(&at.path(), name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        faults.push(FieldError::invalid(&at.path(), name, "doesn't follow extended resource name standard"));
    }
}

/// A quantity that isn't negative, and whole where the resource is counted.
pub(crate) fn resource_quantity(name: &str, at: &At<'_>, faults: &mut Faults) -> Option<Quantity> {
    let q = at.quantity()?;
    non_negative(&q, at, faults);
    if is_integer(name) && q.milli_value() % 1000 != 0 {
        faults.push(at.invalid("must be an integer"));
    }
    Some(q)
}

pub(crate) fn non_negative(q: &Quantity, at: &At<'_>, faults: &mut Faults) {
    if q.signum() < 0 {
        faults.push(FieldError::invalid(&at.path(), q.to_string(), super::NEGATIVE));
    }
}

/// A map of quantities whose names the kind allows.
pub(crate) fn resource_list(list: &At<'_>, faults: &mut Faults) {
    for (name, at) in list.entries() {
        resource_name(name, &at, faults);
        resource_quantity(name, &at, faults);
    }
}

/// A container's `resources`.
pub(crate) fn container_resources(resources: &At<'_>, claims: &Unique, faults: &mut Faults) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    requirements(&limits, &requests, container_resource_name, faults);
    let names = || limits.entries().chain(requests.entries()).map(|(n, _)| n);
    if names().any(is_huge_page) && !names().any(|n| matches!(n, "cpu" | "memory")) {
        faults.push(resources.forbidden("HugePages require cpu or memory"));
    }
    let mut seen = Unique::default();
    for claim in resources.get("claims").items() {
        let (name, request) = (claim.get("name").str(), claim.get("request"));
        if name.is_empty() {
            faults.push(claim.missing(""));
            continue;
        }
        request.optional_rule(meta::names::dns1123_label, faults);
        let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{}", request.str()) };
        if seen.contains(name) {
            faults.push(FieldError::duplicate(&claim.path(), name));
        } else if seen.has(&key) || (request.is_empty() && seen.any(|k| k.starts_with(&format!("{name}/")))) {
            faults.push(FieldError::duplicate(&claim.path(), key));
        }
        if !claims.contains(name) {
            faults.push(no_such_claim(&claim, name, claims));
        }
    }
}

fn no_such_claim(claim: &At<'_>, name: &str, claims: &Unique) -> FieldError {
    let mut fault = FieldError::not_found(&claim.path(), name);
    fault.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
    match claims.joined() {
        names if names.is_empty() => fault.detail.push_str(" which is empty"),
        names => fault.detail.push_str(&format!(": {names}")),
    }
    fault
}

type NameRule = fn(&str, &At<'_>, &mut Faults);

fn requirements(limits: &At<'_>, requests: &At<'_>, rule: NameRule, faults: &mut Faults) {
    for (name, at) in limits.entries() {
        rule(name, &at, faults);
        resource_quantity(name, &at, faults);
        huge_pages(name, &at, faults);
    }
    for (name, at) in requests.entries() {
        rule(name, &at, faults);
        let Some(request) = resource_quantity(name, &at, faults) else { continue };
        let limit = limits.entries().find(|(n, _)| *n == name).and_then(|(_, at)| at.quantity());
        compare(name, &request, limit.as_ref(), requests, limits, faults);
        huge_pages(name, &at, faults);
    }
}

/// Huge pages come in whole ones.
fn huge_pages(name: &str, at: &At<'_>, faults: &mut Faults) {
    let size = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    let (Some(size), Some(q)) = (size, at.quantity()) else { return };
    let (size, bytes) = (size.milli_value(), q.milli_value());
    if size > 0 && (bytes <= 0 || bytes % size != 0) && q.signum() >= 0 {
        let why = format!("{q} is not positive integer multiple of {name}");
        faults.push(FieldError::invalid(&at.path(), q.to_string(), why));
    }
}

/// What a pod of a runtime class needs beside its containers; told as if it were limits.
pub(crate) fn overhead(list: &At<'_>, path: &meta::FieldPath, faults: &mut Faults) {
    let limits = At::new(list.value(), path.child("limits"));
    requirements(
        &limits,
        &At::new(&serde_json::Value::Null, path.child("requests")),
        container_resource_name,
        faults,
    );
}

/// `spec.resources` of a pod (KEP-2837).
pub(super) fn pod_resources(spec: &At<'_>, faults: &mut Faults) {
    let resources = spec.get("resources");
    if spec.get("os").get("name").str() == "windows" {
        return faults.push(resources.forbidden("may not be set for a windows pod"));
    }
    if resources.get("claims").is_set() {
        faults.push(resources.get("claims").forbidden("claims may not be set for Resources at pod-level"));
    }
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    requirements(&limits, &requests, pod_resource_name, faults);
    let of_containers = crate::pod::resources::requests(spec.value());
    for (name, at) in requests.entries() {
        if let Some((own, sum)) = at.quantity().zip(of_containers.get(name)).filter(|(own, sum)| *sum > own) {
            let why = format!("must be greater than or equal to aggregate container requests of {sum}");
            faults.push(FieldError::invalid(&at.path(), own.to_string(), why));
        }
    }
    for (i, container) in spec.get("containers").items().enumerate() {
        for (name, at) in container.get("resources").get("limits").entries() {
            let whole = limits.entries().find(|(n, _)| *n == name).and_then(|(_, at)| at.quantity());
            if let Some((own, max)) = at.quantity().zip(whole).filter(|(own, max)| own > max) {
                let path = resources.path().child("containers").index(i).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {max}");
                faults.push(FieldError::invalid(&path, own.to_string(), why));
            }
        }
    }
}

fn pod_resource_name(name: &str, at: &At<'_>, faults: &mut Faults) {
    if resource_name(name, at, faults) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        let why = ["cpu", "hugepages-", "memory"];
        faults.push(FieldError::not_supported(&at.path(), name, &why));
    }
}

fn compare(
    name: &str,
    request: &Quantity,
    limit: Option<&Quantity>,
    requests: &At<'_>,
    limits: &At<'_>,
    faults: &mut Faults,
) {
    let Some(limit) = limit else {
        if !may_overcommit(name) {
            faults.push(limits.missing("Limit must be set for non overcommitable resources"));
        }
        return;
    };
    let mut wrong = |what: &str| {
        let why = format!("must be {what} {name} limit of {limit}");
        faults.push(FieldError::invalid(&requests.path(), request.to_string(), why));
    };
    if request != limit && !may_overcommit(name) {
        wrong("equal to");
    } else if request > limit {
        wrong("less than or equal to");
    }
}
