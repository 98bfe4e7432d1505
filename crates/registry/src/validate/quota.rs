//! Resource quotas and limit ranges (`pkg/apis/core/validation/validation.go`).

use super::at::{At, Faults, Unique};
use super::resources::{is_standard, resource_name, resource_quantity};
use meta::quantity::Quantity;
use meta::{FieldError, Object};
use std::collections::BTreeSet;

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// ResourceQuota.
pub(crate) fn validate_quota(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    for (name, at) in spec.get("hard").entries() {
        resource_name(name, &at, &mut faults);
        if !name.contains('/') && (!is_standard(name) || name == "storage") {
            faults.push(FieldError::invalid(&at.path(), name, "must be a standard resource for quota"));
        }
        resource_quantity(name, &at, &mut faults);
    }
    let scopes = spec.get("scopes");
    let has = |name: &str| scopes.items().any(|s| s.str() == name);
    if scopes.items().any(|s| !SCOPES.contains(&s.str())) {
        faults.push(scopes.invalid("unsupported scope"));
    }
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(a) && has(b) {
            faults.push(scopes.invalid("conflicting scopes"));
        }
    }
    // What is counted by its path or comes from outside fits any scope.
    let hard = spec.get("hard").entries().map(|(name, _)| name);
    let hard: Vec<&str> = hard.filter(|name| !name.contains('/')).collect();
    if scopes.items().any(|s| !scope_fits(s.str(), &hard)) {
        faults.push(scopes.invalid("unsupported scope applied to resource"));
    }
    scope_selector(&spec.get("scopeSelector"), &hard, &mut faults);
    faults
}

/// A change of a ResourceQuota: its scopes stay.
pub(crate) fn validate_quota_update(new: &Object, old: &Object) -> Faults {
    super::immutable(new, old, &["spec", "scopes"], &meta::FieldPath::new("spec.scopes"))
}

/// Whether pods of a scope can be counted by each of the resources (`IsResourceQuotaScopeValidForResource`).
fn scope_fits(scope: &str, hard: &[&str]) -> bool {
    let of_pods = |name: &&str| {
        matches!(*name, "pods" | "cpu" | "memory" | "ephemeral-storage" | "count/pods")
            || ["requests.", "limits."].iter().any(|p| name.starts_with(p) && *name != "requests.storage")
            || name.starts_with("hugepages-")
    };
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => hard.iter().all(of_pods),
        "BestEffort" => hard.iter().all(|name| *name == "pods"),
        "VolumeAttributesClass" => hard.iter().all(|n| {
            matches!(*n, "requests.storage" | "persistentvolumeclaims" | "count/persistentvolumeclaims")
        }),
        _ => true,
    }
}

/// Scopes that are there or not; they have no values.
const PLAIN_SCOPES: [&str; 5] =
    ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity"];

/// Upstream names the list, not the requirement, in all of it.
fn scope_selector(selector: &At<'_>, hard: &[&str], faults: &mut Faults) {
    let list = selector.get("matchExpressions");
    let mut fits = true;
    for requirement in list.items() {
        let of_list = |key: &'static str| At::new(requirement.get(key).value(), list.path().child(key));
        let (scope, operator, values) = (of_list("scopeName"), of_list("operator"), of_list("values"));
        if !SCOPES.contains(&scope.str()) {
            faults.push(FieldError::invalid(&scope.path(), scope.str(), "unsupported scope"));
        }
        fits &= scope_fits(scope.str(), hard);
        if PLAIN_SCOPES.contains(&scope.str()) && operator.str() != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                       ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            faults.push(operator.invalid(why));
        }
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                faults.push(values.missing(
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                ))
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                faults.push(values.invalid(
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                ))
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => faults.push(operator.invalid("not a valid selector operator")),
        }
    }
    if !fits {
        faults.push(list.invalid("unsupported scope applied to resource"));
    }
}

const LIMIT_TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];
const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// LimitRange.
pub(crate) fn validate_limit_range(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let mut types = Unique::default();
    for limit in At::top(o, "spec").get("limits").items() {
        let kind = limit.get("type");
        let rule = meta::names::qualified_name(kind.str()).into_iter();
        let before = faults.len();
        faults.extend(rule.map(|why| FieldError::invalid(&kind.path(), kind.str(), why)));
        if faults.len() == before && !kind.str().contains('/') && !LIMIT_TYPES.contains(&kind.str()) {
            let why = "must be a standard limit type or fully qualified";
            faults.push(FieldError::invalid(&kind.path(), kind.str(), why));
        }
        types.check(&kind, &mut faults);
        if kind.str() == "Pod" {
            for list in ["default", "defaultRequest"] {
                if !limit.get(list).is_empty() {
                    faults.push(limit.get(list).forbidden("may not be specified when `type` is 'Pod'"));
                }
            }
        }
        let names: BTreeSet<&str> =
            LISTS.iter().flat_map(|list| limit.get(list).entries().map(|(n, _)| n)).collect();
        for list in LISTS {
            for (name, at) in limit.get(list).entries() {
                match kind.str() {
                    "Container" => super::resources::container_resource_name(name, &at, &mut faults),
                    _ => drop(resource_name(name, &at, &mut faults)),
                }
            }
        }
        let has_storage = ["min", "max"].iter().any(|l| limit.get(l).value().get("storage").is_some());
        if kind.str() == "PersistentVolumeClaim" && !has_storage {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            faults.push(limit.get("limits").missing(why));
        }
        names.into_iter().for_each(|name| ordered(&limit, name, &mut faults));
    }
    faults
}

fn value<'a>(limit: &At<'a>, list: &'static str, name: &str) -> Option<(At<'a>, Quantity)> {
    let (_, at) = limit.get(list).entries().find(|(n, _)| *n == name)?;
    let q = at.quantity()?;
    Some((at, q))
}

/// min ≤ default request ≤ default ≤ max.
fn ordered(limit: &At<'_>, name: &str, faults: &mut Faults) {
    let [max, min, default, request, ratio] = LISTS.map(|list| value(limit, list, name));
    let mut above =
        |low: &Option<(At<'_>, Quantity)>, high: &Option<(At<'_>, Quantity)>, at: usize, what: [&str; 2]| {
            let (Some((low_at, low)), Some((high_at, high))) = (low, high) else { return };
            if low > high {
                let (place, shown) = if at == 0 { (low_at, low) } else { (high_at, high) };
                let why = format!("{} value {low} is greater than {} value {high}", what[0], what[1]);
                faults.push(FieldError::invalid(&place.path(), shown.to_string(), why));
            }
        };
    above(&min, &max, 0, ["min", "max"]);
    above(&min, &request, 1, ["min", "default request"]);
    above(&request, &max, 0, ["default request", "max"]);
    above(&request, &default, 0, ["default request", "default limit"]);
    // Of these two upstream names the one and shows the other.
    crossed(&min, &default, &default, &min, ["min", "default"], faults);
    crossed(&default, &max, &default, &max, ["default", "max"], faults);
    let Some((at, ratio)) = ratio else { return };
    if ratio.milli_value() < 1000 {
        let why = format!("ratio {ratio} is less than 1");
        faults.push(FieldError::invalid(&at.path(), ratio.to_string(), why));
    }
    if let (Some((_, min)), Some((_, max))) = (min, max) {
        // Shown as upstream shows it: a decision of people, not of the scheduler.
        let most = max.milli_value() as f64 / min.milli_value() as f64;
        if min.milli_value() > 0 && ratio.milli_value() as f64 / 1000.0 > most {
            let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
            faults.push(FieldError::invalid(&at.path(), ratio.to_string(), why));
        }
    }
}

type Limit<'a> = Option<(At<'a>, Quantity)>;

fn crossed(
    low: &Limit<'_>,
    high: &Limit<'_>,
    at: &Limit<'_>,
    shown: &Limit<'_>,
    what: [&str; 2],
    faults: &mut Faults,
) {
    let (Some((_, low)), Some((_, high))) = (low, high) else { return };
    let (Some((at, _)), Some((_, shown))) = (at, shown) else { return };
    if low > high {
        let why = format!("{} value {low} is greater than {} value {high}", what[0], what[1]);
        faults.push(FieldError::invalid(&at.path(), shown.to_string(), why));
    }
}
