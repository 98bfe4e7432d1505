//! Amounts of resources as integers: what a pod asks for, what a node has
//! (`k8s.io/component-helpers/resource`, `pkg/scheduler/framework/types.go`).

use api::Quantity;
use api::core::v1::{Container, Pod, PodSpec};
use std::collections::BTreeMap;

/// What a container that asks for nothing counts as when nodes are compared.
const DEFAULT_MILLI_CPU: i64 = 100;
/// The same for memory, in bytes.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts. CPU in thousandths of a core, the rest in the resource's own unit (bytes, pieces).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of local storage.
    pub ephemeral_storage: i64,
    /// Everything else that has a name: devices, huge pages.
    pub scalar: BTreeMap<String, i64>,
}

type Amounts = BTreeMap<String, Quantity>;

fn parse(q: &Quantity) -> Option<meta::quantity::Quantity> {
    meta::quantity::Quantity::parse(&q.0).ok()
}

impl Resources {
    /// From the API's map; text that is no quantity counts as nothing (validation lets none through).
    pub fn from_map(map: &Amounts) -> Self {
        let mut all = Self::default();
        for (name, text) in map {
            let Some(q) = parse(text) else { continue };
            match name.as_str() {
                "cpu" => all.milli_cpu = q.milli_value(),
                "memory" => all.memory = q.value(),
                "ephemeral-storage" => all.ephemeral_storage = q.value(),
                "pods" => {}
                _ => drop(all.scalar.insert(name.clone(), q.value())),
            }
        }
        all
    }

    /// Adds `other`, `times` times (−1 subtracts).
    pub fn add(&mut self, other: &Self, times: i64) {
        self.milli_cpu += times * other.milli_cpu;
        self.memory += times * other.memory;
        self.ephemeral_storage += times * other.ephemeral_storage;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_default() += times * amount;
        }
    }

    /// The greater amount of each resource.
    pub fn max(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            let mine = self.scalar.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// How many pods a node takes (`status.allocatable.pods`).
pub fn pod_slots(map: &Amounts) -> i64 {
    map.get("pods").and_then(parse).map_or(0, |q| q.value())
}

fn requests(c: &Container) -> Resources {
    c.resources.as_ref().and_then(|r| r.requests.as_ref()).map(Resources::from_map).unwrap_or_default()
}

fn is_sidecar(c: &Container) -> bool {
    c.restart_policy.as_deref() == Some("Always")
}

/// What a pod asks for: its containers together, or its hungriest init container beside the sidecars that are already
/// running then, whichever is more; and the overhead of its runtime class. `of` reads one container.
fn total(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut sum = Resources::default();
    for c in &spec.containers {
        sum.add(&of(c), 1);
    }
    let (mut sidecars, mut init) = (Resources::default(), Resources::default());
    for c in spec.init_containers.iter().flatten() {
        let mut now = sidecars.clone();
        now.add(&of(c), 1);
        if is_sidecar(c) {
            sum.add(&of(c), 1);
            sidecars = now.clone();
        }
        init.max(&now);
    }
    sum.max(&init);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        let whole = Resources::from_map(pod_level);
        let set = |key: &str, mine: &mut i64, theirs: i64| {
            if pod_level.contains_key(key) {
                *mine = theirs;
            }
        };
        set("cpu", &mut sum.milli_cpu, whole.milli_cpu);
        set("memory", &mut sum.memory, whole.memory);
    }
    if let Some(overhead) = &spec.overhead {
        sum.add(&Resources::from_map(overhead), 1);
    }
    sum
}

/// What the pod asks for.
pub fn pod_requests(pod: &Pod) -> Resources {
    pod.spec.as_ref().map(|s| total(s, requests)).unwrap_or_default()
}

/// What the pod counts as when nodes are compared: a container that asks for nothing still uses something.
pub fn pod_requests_for_scoring(pod: &Pod) -> (i64, i64) {
    let of = |c: &Container| {
        let set = c.resources.as_ref().and_then(|r| r.requests.as_ref());
        let has = |key: &str| set.is_some_and(|r| r.contains_key(key));
        let mut r = requests(c);
        if !has("cpu") {
            r.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !has("memory") {
            r.memory = DEFAULT_MEMORY;
        }
        r
    };
    let sum = pod.spec.as_ref().map(|s| total(s, of)).unwrap_or_default();
    (sum.milli_cpu, sum.memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sum(spec: serde_json::Value) -> (i64, i64) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let r = pod_requests(&pod);
        (r.milli_cpu, r.memory)
    }

    fn c(cpu: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn init_containers_run_one_after_the_other() {
        assert_eq!(sum(json!({"containers": [c("1"), c("500m")]})).0, 1500);
        assert_eq!(sum(json!({"containers": [c("1")], "initContainers": [c("2"), c("3")]})).0, 3000);
    }

    #[test]
    fn sidecars_stay() {
        let mut sidecar = c("200m");
        sidecar["restartPolicy"] = "Always".into();
        assert_eq!(sum(json!({"containers": [c("1")], "initContainers": [sidecar.clone(), c("2")]})).0, 2200);
        assert_eq!(sum(json!({"containers": [c("1")], "initContainers": [c("900m"), sidecar]})).0, 1200);
    }

    #[test]
    fn overhead_is_added() {
        let spec = json!({"containers": [c("1")], "overhead": {"cpu": "250m", "memory": "64Mi"}});
        assert_eq!(sum(spec), (1250, 64 << 20));
    }
}
