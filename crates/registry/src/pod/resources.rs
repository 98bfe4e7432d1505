//! What a pod asks for in sum (`k8s.io/component-helpers/resource/helpers.go`), and the class of service that follows
//! (`pkg/apis/core/v1/helper/qos`).

use meta::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Quantities by resource name.
pub(crate) type Resources = BTreeMap<String, Quantity>;

fn list(container: &Value, which: &str) -> Resources {
    let entries = container.get("resources").and_then(|r| r.get(which)).and_then(Value::as_object);
    let parse = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((name.clone(), Quantity::parse(&text).ok()?))
    };
    entries.into_iter().flatten().filter_map(parse).collect()
}

fn add(total: &mut Resources, more: &Resources) {
    for (name, q) in more {
        match total.get_mut(name) {
            Some(sum) => sum.add(q),
            None => drop(total.insert(name.clone(), q.clone())),
        }
    }
}

fn raise(total: &mut Resources, more: &Resources) {
    for (name, q) in more {
        if total.get(name).is_none_or(|t| t < q) {
            total.insert(name.clone(), q.clone());
        }
    }
}

fn containers<'a>(spec: &'a Value, which: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(which).and_then(Value::as_array).into_iter().flatten()
}

fn is_sidecar(container: &Value) -> bool {
    container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
}

/// The containers' requests: those that run together summed, and at least what each init container needs beside the
/// sidecars that were started before it.
pub(crate) fn requests(spec: &Value) -> Resources {
    let mut total = Resources::new();
    containers(spec, "containers").for_each(|c| add(&mut total, &list(c, "requests")));
    let (mut sidecars, mut init) = (Resources::new(), Resources::new());
    for container in containers(spec, "initContainers") {
        let mut needs = list(container, "requests");
        if is_sidecar(container) {
            add(&mut total, &needs);
            add(&mut sidecars, &needs);
            needs = sidecars.clone();
        } else {
            add(&mut needs, &sidecars);
        }
        raise(&mut init, &needs);
    }
    raise(&mut total, &init);
    total
}

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    if spec.get("resources").is_some_and(|r| r.as_object().is_some_and(|r| !r.is_empty())) {
        return class(std::iter::once(spec));
    }
    class(containers(spec, "containers").chain(containers(spec, "initContainers")))
}

fn class<'a>(holders: impl Iterator<Item = &'a Value>) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for holder in holders {
        let mut at = |which| {
            let mut found = list(holder, which);
            found.retain(|name, q| COUNTED.contains(&name.as_str()) && !q.is_zero());
            any |= !found.is_empty();
            found
        };
        let (requests, limits) = (at("requests"), at("limits"));
        guaranteed &= limits.len() == COUNTED.len() && requests == limits;
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
