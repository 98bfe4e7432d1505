//! Steps into objects that are JSON: what isn't there, or is of another type, reads as empty.

use meta::Object;
use meta::quantity::Quantity;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Quantities by resource name.
pub(crate) type Resources = BTreeMap<String, Quantity>;

static NULL: Value = Value::Null;

/// The value at `path` below `v`; `null` where a step is absent.
pub(crate) fn at<'a>(v: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(v, |v, step| v.get(step)).unwrap_or(&NULL)
}

/// The string at `path`.
pub(crate) fn text<'a>(v: &'a Value, path: &[&str]) -> &'a str {
    at(v, path).as_str().unwrap_or_default()
}

/// Whether `true` stands at `path`.
pub(crate) fn is_true(v: &Value, path: &[&str]) -> bool {
    at(v, path) == &Value::Bool(true)
}

/// Whether something other than `null` stands at `path`.
pub(crate) fn is_set(v: &Value, path: &[&str]) -> bool {
    !at(v, path).is_null()
}

/// The items of the list at `path`.
pub(crate) fn items<'a>(v: &'a Value, path: &[&str]) -> &'a [Value] {
    at(v, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The strings of the list at `path`.
pub(crate) fn strings<'a>(v: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a str> + use<'a> {
    items(v, path).iter().filter_map(Value::as_str)
}

/// `spec` of an object.
pub(crate) fn spec(object: &Object) -> &Value {
    object.body.get("spec").unwrap_or(&NULL)
}

/// The list at `key` of the map `v`, made if it isn't there; none if `v` is no map.
pub(crate) fn list_mut<'a>(v: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    let slot = v.as_object_mut()?.entry(key).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut()
}

/// The map at `key` of the map `v`, made if it isn't there; none if `v` is no map.
pub(crate) fn map_mut<'a>(v: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = v.as_object_mut()?.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// The quantity that a JSON string or number holds.
pub(crate) fn quantity(v: &Value) -> Option<Quantity> {
    match v {
        Value::String(s) => Quantity::parse(s).ok(),
        Value::Number(n) => Quantity::parse(&n.to_string()).ok(),
        _ => None,
    }
}

/// The quantities of the map at `path`; what is none is left out, validation says so.
pub(crate) fn resources(v: &Value, path: &[&str]) -> Resources {
    let entries = at(v, path).as_object().into_iter().flatten();
    entries.filter_map(|(name, v)| Some((name.clone(), quantity(v)?))).collect()
}

/// A resource map as JSON.
pub(crate) fn to_value(resources: &Resources) -> Value {
    resources.iter().map(|(name, q)| (name.clone(), Value::from(q.to_string()))).collect::<Map<_, _>>().into()
}

/// Adds to the total, name by name.
pub(crate) fn add(total: &mut Resources, more: &Resources) {
    for (name, q) in more {
        match total.get_mut(name) {
            Some(sum) => sum.add(q),
            None => drop(total.insert(name.clone(), q.clone())),
        }
    }
}

/// Raises the total to at least `floor`, name by name.
fn raise(total: &mut Resources, floor: &Resources) {
    for (name, q) in floor {
        if total.get(name).is_none_or(|t| t < q) {
            total.insert(name.clone(), q.clone());
        }
    }
}

/// Every container of a pod's spec: init, ordinary, ephemeral, in upstream's order of visiting.
pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|which| items(spec, &[which]))
}

/// What a pod uses of `requests` or `limits` (`k8s.io/component-helpers/resource/helpers.go`): the containers
/// that run together summed, at least what each init container needs beside the sidecars before it, replaced
/// by what is set for the pod as a whole.
pub(crate) fn pod_resources(spec: &Value, which: &str) -> Resources {
    let mut total = Resources::new();
    for container in items(spec, &["containers"]) {
        add(&mut total, &resources(container, &["resources", which]));
    }
    let (mut sidecars, mut init) = (Resources::new(), Resources::new());
    for container in items(spec, &["initContainers"]) {
        let mut needs = resources(container, &["resources", which]);
        if text(container, &["restartPolicy"]) == "Always" {
            add(&mut total, &needs);
            add(&mut sidecars, &needs);
            needs.clone_from(&sidecars);
        } else {
            add(&mut needs, &sidecars);
        }
        raise(&mut init, &needs);
    }
    raise(&mut total, &init);
    let own = resources(spec, &["resources", which]);
    total.extend(own.into_iter().filter(|(name, _)| is_pod_level(name)));
    total
}

/// Resources that may be set for a pod as a whole.
fn is_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}
