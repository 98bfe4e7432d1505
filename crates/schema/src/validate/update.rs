//! Ratcheting: an object that broke the schema before may keep what it has (KEP-4008).

use meta::FieldError;
use serde_json::Value;

/// Whether the fault is in a value that stands in the old object as it does in the new one.
pub(super) fn left_alone(e: &FieldError, new: &Value, old: &Value) -> bool {
    let path = e.path.as_str();
    if path.is_empty() {
        return new == old;
    }
    let missing = e.kind == meta::field::FieldErrorKind::Required;
    let steps: Vec<&str> = path.split(['.', '[', ']']).filter(|s| !s.is_empty()).collect();
    let steps = &steps[..steps.len() - usize::from(missing)];
    let (mut a, mut b) = (new, old);
    for step in steps {
        // Items of lists are matched by their content, so a list is left alone as a whole or not at all.
        if a.is_array() {
            break;
        }
        match (a.get(*step), b.get(*step)) {
            (Some(x), Some(y)) => (a, b) = (x, y),
            // A key with dots in it: what holds it decides.
            _ => break,
        }
    }
    a == b
}

/// Whether CEL rules aren't run over an object with this fault: they could meet values of types that they don't expect.
#[cfg(feature = "cel")]
pub(super) fn hides_rules(e: &FieldError) -> bool {
    use meta::field::FieldErrorKind::{Required, TooLong, TooMany, TypeInvalid};
    matches!(e.kind, Required | TooLong | TooMany | TypeInvalid)
}

#[cfg(test)]
mod tests {
    use crate::{Schema, validate_change};
    use serde_json::json;

    #[test]
    fn a_change_is_blamed_for_what_it_changes() {
        let s = Schema::from_json(&json!({"type": "object", "properties": {
            "a": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "minimum": 5}}},
            "l": {"type": "array", "items": {"type": "string", "maxLength": 1}}}}));
        let old = json!({"a": {"y": 1}, "l": ["long"]});
        let count = |new| validate_change(&s, &new, Some(&old)).len();
        assert_eq!(validate_change(&s, &old, None).len(), 3);
        assert_eq!(count(json!({"a": {"y": 1}, "l": ["long"], "b": 1})), 0);
        assert_eq!(count(json!({"a": {"y": 2}, "l": ["long"]})), 2);
        assert_eq!(count(json!({"a": {"y": 1}, "l": ["long", "x"]})), 1);
    }
}
