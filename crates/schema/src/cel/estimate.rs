//! The most that a rule can cost, from what its schema lets in (`apiserver/pkg/cel/library/cost.go`,
//! `apiserver/pkg/cel/common/schemas.go`, cel-go's `checker/cost.go`).
//!
//! Where upstream takes an unknown size for boundless, it is taken for one here: what upstream takes is never refused, and
//! the budget of running rules bounds the rest.

use serde_json::Value;

/// What one rule may cost (`StaticEstimatedCostLimit`).
pub(super) const RULE_COST_MAX: f64 = 10_000_000.0;
/// What all rules of a schema may cost (`StaticEstimatedCRDCostLimit`).
pub(super) const SCHEMA_COST_MAX: f64 = 100_000_000.0;
/// Bytes of the largest request (`MaxRequestSizeBytes`).
const REQUEST_MAX: f64 = 3_145_728.0;
/// Bytes of a pattern that a named format is taken to have (`MaxNameFormatRegexSize`).
const FORMAT_PATTERN: f64 = 128.0;

/// Bytes of the smallest value of a schema.
pub(super) fn least_bytes(schema: &Value) -> f64 {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("type"), text("format")) {
        ("boolean", _) => 4.0,
        ("string", "date-time") => 22.0,
        ("string", "date") => 12.0,
        ("string", "duration") => 4.0,
        ("string" | "array", _) => 2.0,
        ("object", _) => {
            let properties = schema.get("properties");
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let of = |name: &str| {
                let schema = properties.and_then(|p| p.get(name)).filter(|s| s.get("default").is_none());
                schema.map_or(0.0, |s| name.len() as f64 + least_bytes(s) + 4.0)
            };
            2.0 + required.filter_map(Value::as_str).map(of).sum::<f64>()
        }
        _ => 1.0,
    }
}

/// The most items of a list, entries of a map, or bytes of a text.
pub(super) fn most(schema: &Value) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64).map(|n| n.max(0.0));
    match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
        "array" => bound("maxItems").unwrap_or_else(|| {
            ((REQUEST_MAX - 2.0) / (schema.get("items").map_or(1.0, least_bytes) + 1.0)).floor()
        }),
        "object" => match schema.get("additionalProperties").filter(|a| a.is_object()) {
            Some(values) => bound("maxProperties")
                .unwrap_or_else(|| ((REQUEST_MAX - 2.0) / (least_bytes(values) + 6.0)).floor()),
            // Comparing objects with named fields is taken for nothing.
            None => 0.0,
        },
        "string" => longest(schema, bound("maxLength")),
        // And so is comparing numbers.
        _ => 0.0,
    }
}

/// Bytes of the longest text.
fn longest(schema: &Value, max_length: Option<f64>) -> f64 {
    let values = schema.get("enum").and_then(Value::as_array);
    let of_enum =
        values.map(|all| all.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0) as f64);
    match schema.get("format").and_then(Value::as_str).unwrap_or_default() {
        "duration" => 32.0,
        "date" => 12.0,
        "date-time" => 37.0,
        // A character has up to four bytes.
        _ => max_length.map(|n| n * 4.0).or(of_enum).unwrap_or(REQUEST_MAX - 2.0),
    }
}

/// How often a value of this schema may stand in a request.
pub(super) fn most_in_request(schema: &Value) -> f64 {
    (REQUEST_MAX / (least_bytes(schema) + 1.0)).floor()
}

fn tenth(size: f64) -> f64 {
    (size * 0.1).ceil()
}

/// What a pattern costs on a text of this size.
fn search(text: f64, pattern: f64) -> f64 {
    tenth(text + 1.0) * (pattern * 0.25).ceil()
}

/// What a call costs at most, and how large its result is. `sizes` are those of its target, if it has one, and of its
/// arguments; `items` is the size of an item of the first of them.
pub(super) fn call(name: &str, sizes: &[f64], items: Option<f64>) -> (f64, f64) {
    let at = |i: usize| sizes.get(i).copied().unwrap_or(1.0);
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => match items {
            Some(item) => (at(0) * (1.0 + if item > 1.0 { tenth(item) } else { 0.0 }), 1.0),
            None => (tenth(at(0)), 1.0),
        },
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => {
            (tenth(at(0)), at(0))
        }
        "replace" => (tenth(at(0) * 2.0), at(0)),
        "split" => (tenth(at(0) * 2.0), at(0)),
        "join" => {
            let size = at(0) * items.unwrap_or(1.0) + (at(0) - 1.0).max(0.0) * at(1);
            (tenth(size), size)
        }
        "find" | "findAll" => (search(at(0), at(1)), at(0)),
        "matches" => (search(at(0), at(1)), 1.0),
        "contains" => (tenth(at(0)) * tenth(at(1)), 1.0),
        "startsWith" | "endsWith" => (tenth(at(1)), 1.0),
        "isIP" | "isCIDR" | "ip" | "cidr" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            (tenth(at(0)), 1.0)
        }
        "ip.isCanonical" => (tenth(at(0) * 2.0), 1.0),
        "containsIP" | "containsCIDR" => (7.0 + tenth(at(1)), 1.0),
        "validate" => ((tenth(at(1)) * FORMAT_PATTERN * 0.25).ceil(), 1.0),
        "_+_" => (tenth(at(0) + at(1)).max(1.0), at(0) + at(1)),
        "@in" => (at(1), 1.0),
        "_==_" | "_!=_" => (tenth(at(0).min(at(1))), 1.0),
        "_<_" | "_<=_" | "_>_" | "_>=_" => (tenth(at(0).min(at(1))).max(1.0), 1.0),
        _ => (1.0, 1.0),
    }
}
