//! Events, in their stored form (`pkg/apis/core/validation/events.go`).

use super::at::{At, Faults};
use meta::{FieldError, Object, names};

/// Longest reason, action and reporting instance.
const WORD_MAX: usize = 128;
/// Longest message of an event of the new form.
const NOTE_MAX: usize = 1024;

/// Event.
pub(crate) fn validate_event(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let namespace = At::top(o, "involvedObject").get("namespace");
    let own = o.metadata.namespace.as_str();
    let new_form = At::top(o, "eventTime").is_set();
    let allowed = match namespace.str() {
        "" if new_form => matches!(own, "default" | "kube-system"),
        "" => matches!(own, "" | "default"),
        involved => new_form || involved == own,
    };
    if !allowed {
        let why = "does not match event.namespace";
        faults.push(FieldError::invalid(&namespace.path(), namespace.str(), why));
    }
    if !new_form {
        return faults;
    }
    At::top(o, "reportingComponent").required_rule(names::qualified_name, &mut faults);
    for key in ["reportingInstance", "action", "reason"] {
        let at = At::top(o, key);
        at.required(&mut faults);
        at_most(&at, WORD_MAX, &mut faults);
    }
    at_most(&At::top(o, "message"), NOTE_MAX, &mut faults);
    faults
}

fn at_most(at: &At<'_>, max: usize, faults: &mut Faults) {
    if at.str().len() > max {
        faults.push(FieldError::invalid(&at.path(), "", format!("can have at most {max} characters")));
    }
}
