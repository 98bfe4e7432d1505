//! Checkers: some look at every revision as it is written, some at the end.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{Entry, EventKind, Store, Watcher};
use testkit::VirtualClock;

/// How long a decision may rest on an old wish: lag, barriers and back-off together.
const MEMORY: Duration = Duration::from_secs(120);
/// Where objects lie in the store.
const ROOT: &str = "/registry/";

/// A pod as the checkers see it.
#[derive(Clone, Debug, Default)]
struct PodFacts {
    owner: String,
    node: String,
    cpu: u64,
    active: bool,
    ended: bool,
}

/// A number that was wished for, and until when it counts.
type Wishes = Vec<(Duration, u64)>;

/// Looks at every revision.
pub(crate) struct Checker {
    clock: VirtualClock,
    watcher: Watcher,
    pods: BTreeMap<String, PodFacts>,
    /// UID of a set: how many pods it wanted, with the time of the wish's end.
    wished: BTreeMap<String, Wishes>,
    /// UID of a set: its Deployment.
    parents: BTreeMap<String, String>,
    nodes: BTreeMap<String, u64>,
    uids: BTreeSet<String>,
    last: u64,
    pub(crate) violations: Vec<String>,
}

fn text<'a>(v: &'a Value, path: &str) -> &'a str {
    v.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// Thousandths of a processor.
fn cpu(v: &Value) -> u64 {
    let text = v.as_str().unwrap_or_default();
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap_or(0),
        None => text.parse::<u64>().unwrap_or(0) * 1000,
    }
}

fn controller(v: &Value) -> &str {
    let owners = v.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let managing = owners.and_then(|all| all.iter().find(|o| o["controller"] == true));
    managing.map(|o| o["uid"].as_str().unwrap_or_default()).unwrap_or_default()
}

impl Checker {
    pub(crate) fn new(store: &Store, clock: VirtualClock) -> Self {
        let watcher = store.watch(ROOT, store.revision()).expect("the newest revision is there");
        let (pods, wished, parents, nodes) = Default::default();
        Self {
            clock,
            watcher,
            pods,
            wished,
            parents,
            nodes,
            uids: BTreeSet::new(),
            last: store.revision(),
            violations: Vec::new(),
        }
    }

    /// Looks at what was written since the last look, and tells up to which revision that was.
    pub(crate) fn look(&mut self) -> u64 {
        while let Some(event) = self.watcher.try_next() {
            let Ok(event) = event else {
                self.violations.push("the checker fell behind".to_owned());
                return self.last;
            };
            if event.revision() <= self.last {
                self.violations.push(format!("revision {} came after {}", event.revision(), self.last));
            }
            self.last = event.revision();
            self.see(event.kind, &event.entry);
        }
        self.last
    }

    fn see(&mut self, kind: EventKind, entry: &Entry) {
        let gone = matches!(kind, EventKind::Delete);
        let mut parts = entry.key.trim_start_matches(ROOT).split('/').skip(1);
        let resource = parts.next().unwrap_or_default();
        self.uids.insert(entry.header.uid().to_owned());
        if !matches!(resource, "pods" | "replicasets" | "statefulsets" | "deployments" | "nodes") {
            return;
        }
        let Ok(object) = serde_json::from_slice::<Value>(&entry.bytes) else {
            return self.violations.push(format!("{} holds no JSON", entry.key));
        };
        match resource {
            "pods" => self.pod(&object, gone),
            "nodes" => {
                let size = object.pointer("/status/allocatable/cpu").map_or(0, cpu);
                self.nodes.insert(text(&object, "/metadata/name").to_owned(), size);
            }
            _ => self.set(resource, &object, gone),
        }
    }

    fn set(&mut self, resource: &str, object: &Value, gone: bool) {
        let uid = text(object, "/metadata/uid").to_owned();
        let mut wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        if resource == "replicasets" {
            self.family(&uid, if gone { "" } else { controller(object) });
        }
        if resource == "deployments" && text(object, "/spec/strategy/type") == "RollingUpdate" {
            wanted +=
                object.pointer("/spec/strategy/rollingUpdate/maxSurge").and_then(Value::as_u64).unwrap_or(0);
        }
        let now = self.clock.elapsed();
        let wishes = self.wished.entry(uid).or_default();
        if let Some(last) = wishes.last_mut() {
            last.0 = now + MEMORY;
        }
        wishes.push((Duration::MAX, wanted));
        wishes.retain(|(until, _)| *until > now);
    }

    /// A ReplicaSet comes to a Deployment, or leaves it. One that comes with pods of its own brings their wish
    /// along until the Deployment has had the time to scale it.
    fn family(&mut self, uid: &str, parent: &str) {
        let old = self.parents.insert(uid.to_owned(), parent.to_owned());
        if old.as_deref() == Some(parent) || parent.is_empty() {
            return;
        }
        let of_parent = |p: &&PodFacts| self.parents.get(&p.owner).is_some_and(|o| o == parent);
        let brought = self.pods.values().filter(|p| p.active).filter(of_parent).count() as u64;
        let until = self.clock.elapsed() + MEMORY;
        if brought > 0 {
            let more = self.wished.get(parent).and_then(|w| w.last()).map_or(0, |(_, n)| *n);
            self.wished.entry(parent.to_owned()).or_default().insert(0, (until, brought + more));
        }
    }

    /// The most that was wished for lately.
    fn allowed(&self, uid: &str) -> Option<u64> {
        let now = self.clock.elapsed();
        self.wished.get(uid)?.iter().filter(|(until, _)| *until > now).map(|(_, n)| *n).max()
    }

    fn pod(&mut self, object: &Value, gone: bool) {
        let uid = text(object, "/metadata/uid").to_owned();
        let phase = text(object, "/status/phase");
        let ended = gone || phase == "Succeeded" || phase == "Failed";
        let requests = object.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let facts = PodFacts {
            owner: controller(object).to_owned(),
            node: text(object, "/spec/nodeName").to_owned(),
            cpu: requests.filter_map(|c| c.pointer("/resources/requests/cpu")).map(cpu).sum(),
            active: !ended && text(object, "/metadata/deletionTimestamp").is_empty(),
            ended,
        };
        let old = self.pods.insert(uid, facts.clone());
        if old.is_none() && facts.active {
            self.not_too_many(&facts.owner);
        }
        if old.is_none_or(|o| o.node.is_empty()) && !facts.node.is_empty() && !ended {
            self.not_too_full(&facts.node);
        }
    }

    fn not_too_many(&mut self, owner: &str) {
        let count = |of: &dyn Fn(&str) -> bool| {
            self.pods.values().filter(|p| p.active && of(&p.owner)).count() as u64
        };
        let own = count(&|o| o == owner);
        if let Some(allowed) = self.allowed(owner).filter(|n| own > *n) {
            self.violations.push(format!("{own} pods of {owner}, which wants {allowed}"));
        }
        let Some(parent) = self.parents.get(owner).filter(|p| !p.is_empty()) else { return };
        let all = count(&|o| self.parents.get(o) == Some(parent));
        if let Some(allowed) = self.allowed(parent).filter(|n| all > *n) {
            self.violations.push(format!("{all} pods of the deployment {parent}, which allows {allowed}"));
        }
    }

    fn not_too_full(&mut self, node: &str) {
        let used: u64 = self.pods.values().filter(|p| p.node == node && !p.ended).map(|p| p.cpu).sum();
        let size = self.nodes.get(node).copied().unwrap_or(0);
        if used > size {
            self.violations.push(format!("{used}m of processor on {node}, which has {size}m"));
        }
    }

    /// Creations that were acknowledged must have happened.
    pub(crate) fn nothing_lost(&mut self, acknowledged: &[String]) {
        for uid in acknowledged.iter().filter(|uid| !self.uids.contains(*uid)) {
            self.violations.push(format!("the creation of {uid} was acknowledged and is lost"));
        }
    }
}

/// The objects of a resource, by namespace and name, with their revisions.
pub(crate) fn stored(store: &Store, prefix: &str) -> BTreeMap<String, u64> {
    let listing = store.list(&format!("{ROOT}{prefix}/"), None, None, 0);
    let entries = listing.map(|l| l.entries).unwrap_or_default();
    let key = |e: &Entry| e.key.trim_start_matches(&format!("{ROOT}{prefix}/")).to_owned();
    entries.iter().map(|e| (key(e), e.revision)).collect()
}

fn objects(store: &Store, prefix: &str) -> Vec<Value> {
    let listing = store.list(&format!("{ROOT}{prefix}/"), None, None, 0);
    let entries = listing.map(|l| l.entries).unwrap_or_default();
    entries.iter().filter_map(|e| serde_json::from_slice(&e.bytes).ok()).collect()
}

/// What hasn't come about though there was time enough.
pub(crate) fn not_converged(store: &Store) -> Vec<String> {
    let mut wrong = Vec::new();
    let number = |o: &Value, path: &str| o.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    for (prefix, wanted, counts) in [
        (
            "apps/deployments",
            "/spec/replicas",
            ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"],
        ),
        (
            "apps/replicasets",
            "/spec/replicas",
            ["replicas", "readyReplicas", "availableReplicas", "replicas"],
        ),
        (
            "apps/statefulsets",
            "/spec/replicas",
            ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"],
        ),
        (
            "apps/daemonsets",
            "/status/desiredNumberScheduled",
            ["currentNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable"],
        ),
    ] {
        for o in objects(store, prefix) {
            let (name, n) = (text(&o, "/metadata/name"), number(&o, wanted));
            for count in counts {
                let have = number(&o, &format!("/status/{count}"));
                if have != n {
                    wrong.push(format!("{prefix} {name}: {count} is {have}, not {n}; {}", o["status"]));
                }
            }
            if number(&o, "/status/observedGeneration") != number(&o, "/metadata/generation") {
                wrong.push(format!("{prefix} {name}: its newest generation was not observed"));
            }
        }
    }
    for o in objects(store, "batch/jobs") {
        let conditions = o.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        if !conditions.into_iter().any(|c| c["type"] == "Complete" && c["status"] == "True") {
            wrong.push(format!("job {} is not complete: {}", text(&o, "/metadata/name"), o["status"]));
        }
        if number(&o, "/status/succeeded") != number(&o, "/spec/completions") {
            wrong.push(format!("job {} counted {}", text(&o, "/metadata/name"), o["status"]));
        }
    }
    wrong.extend(pods_unsettled(store));
    wrong.extend(endpoints_wrong(store));
    wrong
}

fn pods_unsettled(store: &Store) -> Vec<String> {
    let unsettled = |o: &Value| {
        let going = !text(o, "/metadata/deletionTimestamp").is_empty();
        // A job's pod may have failed: another one has been run in its place.
        let of_job = text(o, "/metadata/ownerReferences/0/kind") == "Job";
        let phase = text(o, "/status/phase");
        going || !(matches!(phase, "Running" | "Succeeded") || (of_job && phase == "Failed"))
    };
    let all = objects(store, "core/pods").into_iter().filter(unsettled);
    all.map(|o| format!("pod {} is {} {}", text(&o, "/metadata/name"), o["status"], o["metadata"])).collect()
}

/// The service's slices must hold the ready pods and no others.
fn endpoints_wrong(store: &Store) -> Vec<String> {
    let ready = |o: &Value| {
        let conditions = o.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let web = |o: &Value| text(o, "/metadata/labels/app") == "web";
    let pods = objects(store, "core/pods").into_iter().filter(|o| web(o) && ready(o));
    let wanted: BTreeSet<String> = pods.map(|o| text(&o, "/status/podIP").to_owned()).collect();
    let mut have = BTreeSet::new();
    for slice in objects(store, "discovery.k8s.io/endpointslices") {
        if text(&slice, "/metadata/labels/kubernetes.io~1service-name") != "web" {
            continue;
        }
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint.pointer("/conditions/ready") == Some(&Value::Bool(true)) {
                have.insert(text(endpoint, "/addresses/0").to_owned());
            }
        }
    }
    if have == wanted { Vec::new() } else { vec![format!("endpoints are {have:?}, ready pods {wanted:?}")] }
}

/// What is still being written though nothing happens any more.
pub(crate) fn restless(store: &Store, since: u64) -> Vec<String> {
    let Ok(mut watcher) = store.watch(ROOT, since) else { return vec!["the history is gone".to_owned()] };
    let mut writes = Vec::new();
    while let Some(Ok(event)) = watcher.try_next() {
        let key = &event.entry.key;
        let beats = ["coordination.k8s.io/leases", "core/nodes", "core/events"];
        if !beats.iter().any(|b| key.starts_with(&format!("{ROOT}{b}/"))) {
            writes.push(format!("{key} was written at {} though all was settled", event.revision()));
        }
    }
    writes
}
