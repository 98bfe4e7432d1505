//! Small kinds of policy and scheduling: disruption budgets, priority classes, leases, runtime classes, signing requests
//! (`pkg/apis/{policy,scheduling,coordination,node,certificates}/validation`).

use super::at::{At, Faults};
use super::workload::{at_most_all, int_or_percent};
use super::{immutable, resources};
use meta::{FieldError, FieldPath, Object, names};

/// PodDisruptionBudget.
pub(crate) fn validate_budget(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let amounts = [spec.get("minAvailable"), spec.get("maxUnavailable")];
    if amounts.iter().all(At::is_set) {
        faults.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
    }
    for amount in &amounts {
        int_or_percent(amount, &mut faults);
        at_most_all(amount, &mut faults);
    }
    spec.get("selector").selector(&mut faults);
    spec.get("unhealthyPodEvictionPolicy").optional_one_of(&["AlwaysAllow", "IfHealthyBudget"], &mut faults);
    faults
}

/// The highest priority that users may give.
const PRIORITY_MAX: i64 = 1_000_000_000;
/// The classes that only the system may have.
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// PriorityClass.
pub(crate) fn validate_priority_class(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let (name, value) = (o.metadata.name.as_str(), At::top(o, "value"));
    let number = value.int().unwrap_or(0);
    if name.starts_with("system-") {
        let why = match SYSTEM.iter().find(|(known, _)| *known == name) {
            Some((_, expected)) if number != *expected => {
                Some(format!("value of {name} PriorityClass must be {expected}"))
            }
            Some(_) if At::top(o, "globalDefault").flag() => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
            None => Some(format!("{name} is not a known system priority class")),
        };
        if let Some(why) = why {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            );
            faults.push(FieldError::forbidden(&FieldPath::new("metadata.name"), why));
        }
    } else if number > PRIORITY_MAX {
        faults.push(
            value.forbidden(format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}")),
        );
    }
    At::top(o, "preemptionPolicy").optional_one_of(&["PreemptLowerPriority", "Never"], &mut faults);
    faults
}

/// A change of a PriorityClass: what it is worth stays.
pub(crate) fn validate_priority_class_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let value = At::top(new, "value");
    if value.int() != At::top(old, "value").int() {
        faults.push(value.forbidden("may not be changed in an update."));
    }
    faults.extend(immutable(new, old, &["preemptionPolicy"], &FieldPath::new("preemptionPolicy")));
    faults
}

/// Lease.
pub(crate) fn validate_lease(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let duration = spec.get("leaseDurationSeconds");
    if duration.int().is_some_and(|n| n <= 0) {
        faults.push(duration.invalid("must be greater than 0"));
    }
    spec.get("leaseTransitions").non_negative(&mut faults);
    let (strategy, holder) = (spec.get("strategy"), spec.get("preferredHolder"));
    if holder.is_set() && strategy.is_empty() {
        faults.push(holder.forbidden("may only be specified when `strategy` is defined"));
    }
    faults
}

/// RuntimeClass.
pub(crate) fn validate_runtime_class(o: &Object) -> Faults {
    let mut faults = Vec::new();
    At::top(o, "handler").rule(names::dns1123_label, &mut faults);
    let overhead = At::top(o, "overhead");
    resources::overhead(&overhead.get("podFixed"), &overhead.path(), &mut faults);
    At::top(o, "scheduling").get("nodeSelector").labels(&mut faults);
    super::tolerations::tolerations(&At::top(o, "scheduling").get("tolerations"), &mut faults);
    faults
}

/// A change of a RuntimeClass: its handler stays.
pub(crate) fn validate_runtime_class_update(new: &Object, old: &Object) -> Faults {
    immutable(new, old, &["handler"], &FieldPath::new("handler"))
}
