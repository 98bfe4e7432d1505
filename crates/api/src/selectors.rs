//! Label selectors of typed objects as matchers.

use crate::LabelSelector;
use meta::selector::{Operator, Requirement, Selector};

/// What `s` matches; an unreadable selector matches nothing. Empty matches everything.
pub fn selector(s: &LabelSelector) -> Selector {
    let labels = s.match_labels.iter().flatten();
    let equal = labels.map(|(k, v)| (k.clone(), Some(Operator::Equals), vec![v.clone()]));
    let expressions = s.match_expressions.iter().flatten().map(|e| {
        let operator = match e.operator.as_str() {
            "In" => Some(Operator::In),
            "NotIn" => Some(Operator::NotIn),
            "Exists" => Some(Operator::Exists),
            "DoesNotExist" => Some(Operator::DoesNotExist),
            _ => None,
        };
        (e.key.clone(), operator, e.values.clone().unwrap_or_default())
    });
    let mut all = Vec::new();
    for (key, operator, values) in equal.chain(expressions) {
        let Some(operator) = operator else { return Selector::nothing() };
        all.push(Requirement { key, operator, values });
    }
    Selector::from_requirements(all)
}

/// What an owner with this selector may adopt: an empty selector means nothing there, not everything.
pub fn owning_selector(s: &LabelSelector) -> Selector {
    let matcher = selector(s);
    if matcher.is_empty() { Selector::nothing() } else { matcher }
}
