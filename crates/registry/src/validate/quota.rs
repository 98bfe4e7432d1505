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
    for requirement in spec.get("scopeSelector").get("matchExpressions").items() {
        requirement.get("scopeName").one_of(&SCOPES, &mut faults);
        let (operator, values) = (requirement.get("operator"), requirement.get("values"));
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
    faults
}

const LIMIT_TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];
const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// LimitRange.
pub(crate) fn validate_limit_range(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let mut types = Unique::default();
    for limit in At::top(o, "spec").get("limits").items() {
        let kind = limit.get("type");
        if !kind.str().contains('/') && !LIMIT_TYPES.contains(&kind.str()) {
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
                resource_name(name, &at, &mut faults);
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
    above(&min, &default, 1, ["min", "default"]);
    above(&default, &max, 0, ["default", "max"]);
    if let Some((at, ratio)) = ratio
        && ratio.milli_value() < 1000
    {
        let why = format!("ratio {ratio} is less than 1");
        faults.push(FieldError::invalid(&at.path(), ratio.to_string(), why));
    }
}
