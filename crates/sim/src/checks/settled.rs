//! What must be so once nothing happens any more: one function a check, over all that there is.

use super::model::{controller, has_condition, items, number, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where the user's quota is: what lives there may want more than it gets.
const LIMITED: &str = crate::user::LIMITED;

/// All objects, by resource.
#[derive(Default)]
pub(crate) struct Objects(BTreeMap<String, Vec<Value>>);

impl Objects {
    pub(crate) fn put(&mut self, resource: &str, object: Value) {
        self.0.entry(resource.to_owned()).or_default().push(object);
    }

    fn of(&self, resource: &str) -> impl Iterator<Item = &Value> {
        self.0.get(resource).into_iter().flatten()
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().flat_map(|(resource, all)| all.iter().map(|o| (resource.as_str(), o)))
    }
}

/// A check: its name, and what is wrong.
type Check = (&'static str, fn(&Objects) -> Vec<String>);

/// Every check; one line each.
const CHECKS: &[Check] = &[
    ("workloads are as wanted", workloads),
    ("jobs have ended", jobs),
    ("cron jobs keep what they should", cron_jobs),
    ("pods have settled", pods),
    ("endpoints are the ready pods", endpoints),
    ("claims are bound", claims),
    ("volumes are in use", volumes),
    ("namespaces are whole", namespaces),
    ("owners exist", owners),
    ("quotas are counted", quotas),
    ("budgets are counted", budgets),
    ("nodes are well", nodes),
];

/// What hasn't come about though there was time enough.
pub(crate) fn unsettled(all: &Objects) -> Vec<String> {
    let told =
        CHECKS.iter().flat_map(|(name, check)| check(all).into_iter().map(move |w| format!("{name}: {w}")));
    told.collect()
}

fn name(o: &Value) -> &str {
    text(o, "/metadata/name")
}

fn namespace(o: &Value) -> &str {
    text(o, "/metadata/namespace")
}

/// Where each workload says what it wants, and the counts that must say the same.
const WORKLOADS: &[(&str, &str, &[&str])] = &[
    ("deployments", "/spec/replicas", &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]),
    ("replicasets", "/spec/replicas", &["replicas", "readyReplicas", "availableReplicas"]),
    ("replicationcontrollers", "/spec/replicas", &["replicas", "readyReplicas", "availableReplicas"]),
    (
        "statefulsets",
        "/spec/replicas",
        &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"],
    ),
    (
        "daemonsets",
        "/status/desiredNumberScheduled",
        &["currentNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable"],
    ),
];

fn workloads(all: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for (resource, wanted, counts) in WORKLOADS {
        for o in all.of(resource).filter(|o| namespace(o) != LIMITED) {
            let n = number(o, wanted);
            for count in *counts {
                let have = number(o, &format!("/status/{count}"));
                if have != n {
                    wrong.push(format!(
                        "{resource} {}: {count} is {have}, not {n}; {}",
                        name(o),
                        o["status"]
                    ));
                }
            }
            if number(o, "/status/observedGeneration") != number(o, "/metadata/generation") {
                wrong.push(format!("{resource} {}: its newest generation was not observed", name(o)));
            }
        }
    }
    wrong
}

/// Jobs tell by their image how they must end: `exit-0` completes, `exit-1` fails, the others may do either.
fn jobs(all: &Objects) -> Vec<String> {
    let wrong = |o: &Value| {
        let (complete, failed) = (has_condition(o, "Complete"), has_condition(o, "Failed"));
        let image = text(o, "/spec/template/spec/containers/0/image");
        let ended = match image {
            "exit-0" => complete,
            "exit-1" => failed,
            _ => complete || failed,
        };
        let counted = !complete || number(o, "/status/succeeded") == number(o, "/spec/completions");
        let quiet = number(o, "/status/active") == 0 && number(o, "/status/terminating") == 0;
        (!(ended && counted && quiet)).then(|| format!("{} with {image} is {}", name(o), o["status"]))
    };
    all.of("jobs").filter_map(wrong).collect()
}

/// The user has suspended them: nothing runs, and no more is kept than is asked for.
fn cron_jobs(all: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for o in all.of("cronjobs") {
        if items(o, "/status/active").next().is_some() {
            wrong.push(format!("{} still has {}", name(o), o["status"]));
        }
        for (condition, limit) in
            [("Complete", "/spec/successfulJobsHistoryLimit"), ("Failed", "/spec/failedJobsHistoryLimit")]
        {
            let kept = |j: &&Value| controller(j) == text(o, "/metadata/uid") && has_condition(j, condition);
            let (kept, limit) = (all.of("jobs").filter(kept).count() as u64, number(o, limit));
            if kept > limit {
                wrong.push(format!("{} keeps {kept} jobs that are {condition}, not {limit}", name(o)));
            }
        }
    }
    wrong
}

fn pods(all: &Objects) -> Vec<String> {
    let unsettled = |o: &&Value| {
        let going = !text(o, "/metadata/deletionTimestamp").is_empty();
        // A job's pod may have failed: another one has been run in its place.
        let of_job = text(o, "/metadata/ownerReferences/0/kind") == "Job";
        let phase = text(o, "/status/phase");
        // Somebody's word that it will go is taken back, if it doesn't.
        let announced = phase == "Running" && has_condition(o, "DisruptionTarget");
        going || announced || !(matches!(phase, "Running" | "Succeeded") || (of_job && phase == "Failed"))
    };
    let all = all.of("pods").filter(unsettled);
    all.map(|o| format!("{} is {} {}", name(o), o["status"], o["metadata"])).collect()
}

/// The service's slices must hold the ready pods and no others.
fn endpoints(all: &Objects) -> Vec<String> {
    let web = |o: &&Value| text(o, "/metadata/labels/app") == "web" && has_condition(o, "Ready");
    let wanted: BTreeSet<&str> = all.of("pods").filter(web).map(|o| text(o, "/status/podIP")).collect();
    let of_web = |o: &&Value| text(o, "/metadata/labels/kubernetes.io~1service-name") == "web";
    let in_slices = all.of("endpointslices").filter(of_web).flat_map(|o| items(o, "/endpoints"));
    let ready = in_slices.filter(|e| e.pointer("/conditions/ready") == Some(&Value::Bool(true)));
    let have: BTreeSet<&str> = ready.map(|e| text(e, "/addresses/0")).collect();
    if have == wanted { Vec::new() } else { vec![format!("endpoints are {have:?}, ready pods {wanted:?}")] }
}

/// A claim that a pod uses has its volume, and the volume knows it.
fn claims(all: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for o in all.of("persistentvolumeclaims") {
        let uses = |p: &&Value| {
            let of = |v: &Value| text(v, "/persistentVolumeClaim/claimName") == name(o);
            namespace(p) == namespace(o) && items(p, "/spec/volumes").any(of)
        };
        let volume = all.of("persistentvolumes").find(|v| name(v) == text(o, "/spec/volumeName"));
        let mutual = volume.is_some_and(|v| text(v, "/spec/claimRef/uid") == text(o, "/metadata/uid"));
        let bound = text(o, "/status/phase") == "Bound" && mutual;
        let half = !text(o, "/spec/volumeName").is_empty() && !bound;
        let going = !text(o, "/metadata/deletionTimestamp").is_empty();
        if half || going || (!bound && all.of("pods").any(|p| uses(&p))) {
            wrong.push(format!("{} is {} {}", name(o), o["status"], o["metadata"]));
        }
    }
    wrong
}

/// A volume that was made for a claim goes with it.
fn volumes(all: &Objects) -> Vec<String> {
    let left = |o: &&Value| {
        let claim = |c: &Value| text(c, "/metadata/uid") == text(o, "/spec/claimRef/uid");
        text(o, "/spec/persistentVolumeReclaimPolicy") == "Delete"
            && !all.of("persistentvolumeclaims").any(claim)
    };
    all.of("persistentvolumes").filter(left).map(|o| format!("{} is {}", name(o), o["status"])).collect()
}

/// A namespace is there or gone, and nothing lives in one that is gone.
fn namespaces(all: &Objects) -> Vec<String> {
    let going = all.of("namespaces").filter(|o| !text(o, "/metadata/deletionTimestamp").is_empty());
    let mut wrong: Vec<String> = going.map(|o| format!("{} is {}", name(o), o["status"])).collect();
    let there: BTreeSet<&str> = all.of("namespaces").map(name).collect();
    let homeless = |o: &&Value| !namespace(o).is_empty() && !there.contains(namespace(o));
    // A name range or an event may be told of a namespace that went in the same moment.
    let kept = all.all().filter(|(resource, _)| !matches!(*resource, "events" | "leases"));
    let homeless = kept.filter(|(_, o)| homeless(o));
    wrong.extend(homeless.map(|(resource, o)| format!("{resource} {} is in no namespace", name(o))));
    wrong
}

/// Nothing outlives all of its owners.
fn owners(all: &Objects) -> Vec<String> {
    let uids: BTreeSet<&str> = all.all().map(|(_, o)| text(o, "/metadata/uid")).collect();
    let orphan = |o: &Value| {
        let mut owners = items(o, "/metadata/ownerReferences").peekable();
        owners.peek().is_some() && !owners.any(|r| uids.contains(text(r, "/uid")))
    };
    let orphans = all.all().filter(|(_, o)| orphan(o));
    orphans.map(|(resource, o)| format!("{resource} {} has outlived its owners", name(o))).collect()
}

fn quotas(all: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for o in all.of("resourcequotas") {
        let counts = |p: &&Value| {
            namespace(p) == namespace(o) && !matches!(text(p, "/status/phase"), "Succeeded" | "Failed")
        };
        let (told, real) = (text(o, "/status/used/pods"), all.of("pods").filter(counts).count().to_string());
        if told != real {
            wrong.push(format!("{} counts {told} pods of {real}", name(o)));
        }
    }
    wrong
}

fn budgets(all: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for o in all.of("poddisruptionbudgets") {
        let covers = |p: &&Value| {
            namespace(p) == namespace(o)
                && text(p, "/metadata/labels/app") == text(o, "/spec/selector/matchLabels/app")
        };
        let ready = all.of("pods").filter(covers).filter(|p| has_condition(p, "Ready")).count() as u64;
        if number(o, "/status/currentHealthy") != ready {
            wrong.push(format!("{} of {ready} healthy pods says {}", name(o), o["status"]));
        }
    }
    wrong
}

fn nodes(all: &Objects) -> Vec<String> {
    let ill = |o: &&Value| !has_condition(o, "Ready") || items(o, "/spec/taints").next().is_some();
    all.of("nodes").filter(ill).map(|o| format!("{} is {} {}", name(o), o["spec"], o["status"])).collect()
}

#[cfg(test)]
mod tests;
