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

fn container_resource_name(name: &str, at: &At<'_>, faults: &mut Faults) {
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
    for (name, at) in limits.entries() {
        container_resource_name(name, &at, faults);
        resource_quantity(name, &at, faults);
    }
    for (name, at) in requests.entries() {
        container_resource_name(name, &at, faults);
        let Some(request) = resource_quantity(name, &at, faults) else { continue };
        let limit = limits.entries().find(|(n, _)| *n == name).and_then(|(_, at)| at.quantity());
        compare(name, &request, limit.as_ref(), &requests, &limits, faults);
    }
    let names = || limits.entries().chain(requests.entries()).map(|(n, _)| n);
    if names().any(is_huge_page) && !names().any(|n| matches!(n, "cpu" | "memory")) {
        faults.push(resources.forbidden("HugePages require cpu or memory"));
    }
    for claim in resources.get("claims").items() {
        let name = claim.get("name");
        if name.required(faults) && !claims.contains(name.str()) {
            let why = "must be one of the names in pod.spec.resourceClaims";
            let mut fault = FieldError::not_found(&claim.path(), name.str());
            why.clone_into(&mut fault.detail);
            faults.push(fault);
        }
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
