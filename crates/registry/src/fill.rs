//! Filling in defaults on JSON: small steps that do nothing where the shape isn't as expected, because validation
//! will say so.

use meta::Object;
use meta::quantity::Quantity;
use serde_json::{Map, Value};

/// Whether upstream's typed form would hold nothing here: absent, null, `""`, 0.
pub(crate) fn is_unset(v: Option<&Value>) -> bool {
    match v {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Number(n)) => n.as_f64() == Some(0.0),
        Some(_) => false,
    }
}

/// Sets `key` where it is absent or null (upstream: a nil pointer).
pub(crate) fn set(at: &mut Value, key: &str, value: impl Into<Value>) {
    if let Value::Object(map) = at {
        set_in(map, key, value);
    }
}

/// Sets `key` where it is absent, null, empty or 0 (upstream: a zero value).
pub(crate) fn set_zero(at: &mut Value, key: &str, value: impl Into<Value>) {
    if is_unset(at.get(key)) && at.is_object() {
        at[key] = value.into();
    }
}

/// [`set`] on a map.
pub(crate) fn set_in(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// The object at `key`, made where it is absent or null.
pub(crate) fn make<'a>(at: &'a mut Value, key: &str) -> &'a mut Value {
    set(at, key, Map::new());
    match at {
        Value::Object(map) => map.entry(key).or_insert(Value::Null),
        other => other,
    }
}

/// The object at a top-level `key` of an object, made where it is absent or null.
pub(crate) fn part<'a>(object: &'a mut Object, key: &str) -> &'a mut Value {
    set_in(&mut object.body, key, Map::new());
    object.body.entry(key).or_insert(Value::Null)
}

/// The object at `path`, if it is there.
pub(crate) fn at<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |v, key| v.get_mut(*key)).filter(|v| v.is_object())
}

/// The items of the list at `key`; none where there is no list.
pub(crate) fn each<'a>(at: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let items = at.get_mut(key).and_then(Value::as_array_mut);
    items.map(|i| i.iter_mut()).into_iter().flatten()
}

/// The text at `key`, or the empty one.
pub(crate) fn text<'a>(at: &'a Value, key: &str) -> &'a str {
    at.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Writes the quantities of a resource list in their canonical form, no finer than a thousandth, as upstream does.
pub(crate) fn quantities(list: Option<&mut Value>) {
    let Some(Value::Object(list)) = list else { return };
    list.values_mut().for_each(quantity);
}

/// Writes one quantity in its canonical form.
pub(crate) fn quantity(value: &mut Value) {
    let text = match &*value {
        Value::String(s) => s.clone(),
        Value::Number(n) => n.to_string(),
        _ => return,
    };
    if let Ok(q) = Quantity::parse(&text) {
        let whole = q.scaled_value(-9) % 1_000_000 == 0;
        let q = if whole { q } else { Quantity::from_milli(q.milli_value(), q.format()) };
        *value = q.to_string().into();
    }
}
