//! Events, in their stored form (`pkg/apis/core/validation/events.go`).

use super::at::{At, Faults};
use meta::{FieldError, FieldPath, Object, names};

/// Longest reason, action and reporting instance.
const WORD_MAX: usize = 128;
/// Longest message of an event of the new form.
const NOTE_MAX: usize = 1024;

/// What must not change once an event of the new form is there.
const FIXED: [&str; 12] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

/// Event of the core group.
pub(crate) fn validate_event(o: &Object) -> Faults {
    faults(o, "reportingComponent")
}

/// Event of `events.k8s.io`.
pub(crate) fn validate_new_form(o: &Object) -> Faults {
    faults(o, "reportingController")
}

/// What else a new event of `events.k8s.io` must be.
pub(crate) fn validate_new_form_create(o: &Object) -> Faults {
    let mut faults = series(o);
    At::top(o, "eventTime").required(&mut faults);
    let kind = At::top(o, "type");
    if !["Normal", "Warning"].contains(&kind.str()) {
        faults.push(FieldError::invalid(&kind.path(), "", format!("has invalid value: {}", kind.str())));
    }
    let source = At::top(o, "source");
    let old = ["firstTimestamp", "lastTimestamp", "count"].map(|key| (key, At::top(o, key).is_set()));
    let sourced = ["component", "host"].iter().any(|key| source.get(key).is_set());
    for (key, _) in old.into_iter().chain([("source", sourced)]).filter(|(_, set)| *set) {
        faults.push(FieldError::invalid(&At::top(o, key).path(), "", "needs to be unset"));
    }
    faults
}

/// What of an event of `events.k8s.io` may change: its series.
pub(crate) fn validate_new_form_update(new: &Object, old: &Object) -> Faults {
    let changed = |key: &&'static str| At::top(new, key).value() != At::top(old, key).value();
    let mut faults = if changed(&"series") { series(new) } else { Vec::new() };
    for key in FIXED.into_iter().filter(changed) {
        let at = At::top(new, key);
        faults.push(FieldError::invalid(&at.path(), at.value().clone(), "field is immutable"));
    }
    faults
}

fn series(o: &Object) -> Faults {
    let (mut faults, series) = (Vec::new(), At::top(o, "series"));
    if series.is_set() {
        let count = series.get("count");
        if count.int().unwrap_or_default() < 2 {
            faults.push(FieldError::invalid(&count.path(), "", "should be at least 2"));
        }
        series.get("lastObservedTime").required(&mut faults);
    }
    faults
}

fn faults(o: &Object, reporting: &str) -> Faults {
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
    let controller = At::new(At::top(o, "reportingComponent").value(), FieldPath::new(reporting));
    controller.required_rule(names::qualified_name, &mut faults);
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
