//! The constraints of a LimitRange, each with upstream's sentence.

use meta::quantity::Quantity;

/// What one container, pod or claim asks for of one resource.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request: Option<&'a Quantity>,
    pub(super) limit: Option<&'a Quantity>,
}

pub(super) fn min(kind: &str, name: &str, enforced: &Quantity, asked: Asked<'_>) -> Option<String> {
    let says = |what: String| Some(format!("minimum {name} usage per {kind} is {enforced}{what}"));
    match (asked.request, asked.limit) {
        (None, _) => says(".  No request is specified".to_owned()),
        (Some(request), _) if request < enforced => says(format!(", but request is {request}")),
        (_, Some(limit)) if limit < enforced => says(format!(", but limit is {limit}")),
        _ => None,
    }
}

pub(super) fn max_request(kind: &str, name: &str, enforced: &Quantity, asked: Asked<'_>) -> Option<String> {
    let says = |what: String| Some(format!("maximum {name} usage per {kind} is {enforced}{what}"));
    match asked.request {
        None => says(".  No request is specified".to_owned()),
        Some(request) if request > enforced => says(format!(", but request is {request}")),
        _ => None,
    }
}

pub(super) fn max(kind: &str, name: &str, enforced: &Quantity, asked: Asked<'_>) -> Option<String> {
    let says = |what: String| Some(format!("maximum {name} usage per {kind} is {enforced}{what}"));
    match (asked.request, asked.limit) {
        (_, None) => says(".  No limit is specified".to_owned()),
        (_, Some(limit)) if limit > enforced => says(format!(", but limit is {limit}")),
        (Some(request), _) if request > enforced => says(format!(", but request is {request}")),
        _ => None,
    }
}

pub(super) fn ratio(kind: &str, name: &str, enforced: &Quantity, asked: Asked<'_>) -> Option<String> {
    let says = |what: String| {
        Some(format!("{name} max limit to request ratio per {kind} is {enforced}, but {what}"))
    };
    let Some(request) = asked.request.filter(|q| !q.is_zero()) else {
        return says("no request is specified or request is 0".to_owned());
    };
    let Some(limit) = asked.limit.filter(|q| !q.is_zero()) else {
        return says("no limit is specified or limit is 0".to_owned());
    };
    let provided = limit.as_f64() / request.as_f64();
    if provided > enforced.as_f64() { says(format!("provided ratio is {provided:.6}")) } else { None }
}
