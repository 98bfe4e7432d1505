//! Probes and lifecycle handlers (`pkg/apis/core/validation/validation.go`: `validateProbe`, `validateHandler`).

use super::at::{At, Faults};
use meta::names;

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// All probes and hooks of a container.
pub(super) fn probes(container: &At<'_>, grace: Option<i64>, faults: &mut Faults) {
    let lifecycle = container.get("lifecycle");
    for hook in ["postStart", "preStop"] {
        let hook = lifecycle.get(hook);
        if hook.is_set() {
            handler(&hook, grace, faults);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let at = container.get(name);
        if !at.is_set() {
            continue;
        }
        probe(&at, grace, faults);
        let threshold = at.get("successThreshold");
        let own_grace = at.get("terminationGracePeriodSeconds");
        if name == "readinessProbe" && own_grace.is_set() {
            faults.push(own_grace.invalid("must not be set for readinessProbes"));
        } else if name != "readinessProbe" && threshold.int() != Some(1) {
            faults.push(threshold.invalid("must be 1"));
        }
    }
}

fn probe(probe: &At<'_>, grace: Option<i64>, faults: &mut Faults) {
    handler(probe, grace, faults);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        probe.get(key).non_negative(faults);
    }
    let own_grace = probe.get("terminationGracePeriodSeconds");
    if own_grace.int().is_some_and(|n| n <= 0) {
        faults.push(own_grace.invalid("must be greater than 0"));
    }
}

fn handler(holder: &At<'_>, grace: Option<i64>, faults: &mut Faults) {
    let mut found = HANDLERS.iter().map(|name| (*name, holder.get(name))).filter(|(_, at)| at.is_set());
    let Some((name, at)) = found.next() else {
        faults.push(holder.missing("must specify a handler type"));
        return;
    };
    match name {
        "exec" => drop(at.get("command").required(faults)),
        "httpGet" => http_get(&at, faults),
        "sleep" => sleep(&at, grace, faults),
        _ => at.get("port").port_or_name(faults),
    }
    faults.extend(found.map(|(_, at)| at.forbidden("may not specify more than 1 handler type")));
}

fn http_get(http: &At<'_>, faults: &mut Faults) {
    http.get("path").required(faults);
    http.get("port").port_or_name(faults);
    http.get("scheme").known(&["HTTP", "HTTPS"], faults);
    let headers = http.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").str();
        let rule = names::http_header_name(name).into_iter();
        faults.extend(rule.map(|why| meta::FieldError::invalid(&headers.path(), name, why)));
    }
}

fn sleep(sleep: &At<'_>, grace: Option<i64>, faults: &mut Faults) {
    if let (Some(n), Some(grace)) = (sleep.get("seconds").int(), grace)
        && !(0..=grace).contains(&n)
    {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        faults.push(meta::FieldError::invalid(&sleep.path(), n, why));
    }
}
