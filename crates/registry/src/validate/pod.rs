//! Pods (`pkg/apis/core/validation/validation.go`: `ValidatePodCreate`, `ValidatePodUpdate` and its kin).

use super::at::{At, Faults};
use super::{pod_spec, pod_update};
use meta::{FieldPath, Object};

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

fn whole(o: &Object, faults: &mut Faults) {
    let spec = At::top(o, "spec");
    let annotations = FieldPath::new("metadata.annotations");
    if let Some(cost) = o.metadata.annotations.get(DELETION_COST) {
        let well_formed = cost == "0" || (!cost.starts_with(['+', '0']) && !cost.starts_with("-0"));
        if cost.parse::<i32>().is_err() || !well_formed {
            let path = annotations.key(DELETION_COST);
            faults.push(meta::FieldError::invalid(&path, cost.as_str(), "must be a 32bit integer"));
        }
    }
    if let Some(mirror) = o.metadata.annotations.get(MIRROR)
        && spec.get("nodeName").is_empty()
    {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        faults.push(meta::FieldError::invalid(&annotations.key(MIRROR), mirror.as_str(), why));
    }
    pod_spec::pod_spec(&spec, &o.metadata.name, true, faults);
}

/// A pod as it is, new or changed.
pub(crate) fn validate_pod(o: &Object) -> Faults {
    let mut faults = Vec::new();
    whole(o, &mut faults);
    let spec = At::top(o, "spec");
    let bound = !spec.get("nodeName").is_empty();
    if bound && !spec.get("schedulingGates").is_empty() {
        faults.push(
            spec.get("nodeName").forbidden("cannot be set until all schedulingGates have been cleared"),
        );
    }
    faults
}

/// A new pod.
pub(crate) fn validate_new_pod(o: &Object) -> Faults {
    let ephemeral = At::top(o, "spec").get("ephemeralContainers");
    if !ephemeral.is_empty() { vec![ephemeral.forbidden("cannot be set on create")] } else { Vec::new() }
}

/// A change of the whole pod.
pub(crate) fn validate_pod_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    pod_update::update(new, old, &mut faults);
    faults
}

/// A change of its status.
pub(crate) fn validate_pod_status_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    pod_update::status(new, old, &mut faults);
    faults
}

/// A change of its ephemeral containers.
pub(crate) fn validate_ephemeral_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    whole(new, &mut faults);
    pod_update::ephemeral(new, old, &mut faults);
    faults
}

/// A change of its resources.
pub(crate) fn validate_resize(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    whole(new, &mut faults);
    pod_update::resize(new, old, &mut faults);
    faults
}
