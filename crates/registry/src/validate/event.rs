//! Events, in their stored form (`pkg/apis/core/validation/events.go`).

use super::at::{At, Faults};
use meta::{FieldError, FieldPath, Object, names};

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
    let by = At::top(o, "reportingComponent");
    let by = At::new(by.value(), FieldPath::new("reportingController"));
    by.required_rule(names::qualified_name, &mut faults);
    for key in ["reportingInstance", "action", "reason"] {
        let at = At::top(o, key);
        at.required(&mut faults);
        at_most(&at, WORD_MAX, &mut faults);
    }
    at_most(&At::top(o, "message"), NOTE_MAX, &mut faults);
    let (kind, series) = (At::top(o, "type"), At::top(o, "series"));
    if !matches!(kind.str(), "Normal" | "Warning") {
        faults.push(FieldError::invalid(&kind.path(), "", format!("has invalid value: {}", kind.str())));
    }
    if series.is_set() {
        if series.get("count").int().unwrap_or(0) < 2 {
            faults.push(FieldError::invalid(&series.get("count").path(), "", "should be at least 2"));
        }
        series.get("lastObservedTime").required(&mut faults);
    }
    faults
}

/// A new event of the new form.
pub(crate) fn validate_new_event(o: &Object) -> Faults {
    let mut faults = Vec::new();
    At::top(o, "eventTime").required(&mut faults);
    faults
}

fn at_most(at: &At<'_>, max: usize, faults: &mut Faults) {
    if at.str().len() > max {
        faults.push(FieldError::invalid(&at.path(), "", format!("can have at most {max} characters")));
    }
}
