//! What the checkers know: the cluster as the revisions tell it, one after the other.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a decision may rest on an old wish: lag, barriers and back-off together.
const MEMORY: Duration = Duration::from_secs(120);

/// A pod as the checkers see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodFacts {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) node: String,
    /// The node that its DaemonSet made it for.
    pub(crate) target: String,
    /// The index of a Job that it was made for.
    pub(crate) index: String,
    pub(crate) claims: Vec<String>,
    pub(crate) cpu: u64,
    pub(crate) phase: String,
    pub(crate) active: bool,
    pub(crate) ended: bool,
}

/// A Job as the checkers see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobFacts {
    pub(crate) name: String,
    pub(crate) cron: String,
    pub(crate) finished: bool,
    /// Deleted, which a pod that is being made meanwhile can't know of.
    pub(crate) gone: bool,
    /// UIDs of its pods that have succeeded at some time.
    pub(crate) succeeded: BTreeSet<String>,
}

/// A claim as the checkers see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimFacts {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) volume: String,
}

/// A number that was wished for, and until when it counts.
type Wishes = Vec<(Duration, u64)>;

/// Everything, by UID.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) now: Duration,
    pub(crate) pods: BTreeMap<String, PodFacts>,
    pub(crate) jobs: BTreeMap<String, JobFacts>,
    pub(crate) claims: BTreeMap<String, ClaimFacts>,
    /// The node that has a volume's data, by the volume's name.
    pub(crate) volumes: BTreeMap<String, String>,
    /// CronJobs that forbid two Jobs at once.
    pub(crate) forbidding: BTreeSet<String>,
    pub(crate) daemons: BTreeSet<String>,
    /// How many pods a namespace may have.
    pub(crate) quotas: BTreeMap<String, u64>,
    /// How many thousandths of a processor a node has, by name.
    pub(crate) nodes: BTreeMap<String, u64>,
    /// How many pods a set wanted, with the time of the wish's end.
    wished: BTreeMap<String, Wishes>,
    /// A ReplicaSet's Deployment.
    pub(crate) parents: BTreeMap<String, String>,
}

/// One revision, and what the model said before it.
pub(crate) struct Seen<'a> {
    pub(crate) resource: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) object: &'a Value,
    pub(crate) gone: bool,
    /// The pod as it was.
    pub(crate) old_pod: Option<PodFacts>,
    /// Whether the Job is new.
    pub(crate) new_job: bool,
}

pub(crate) fn text<'a>(v: &'a Value, path: &str) -> &'a str {
    v.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn number(v: &Value, path: &str) -> u64 {
    v.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

pub(crate) fn items<'a>(v: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    v.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// Whether a condition of this type is `True`.
pub(crate) fn has_condition(v: &Value, kind: &str) -> bool {
    items(v, "/status/conditions").any(|c| c["type"] == kind && c["status"] == "True")
}

/// UID of the managing owner.
pub(crate) fn controller(v: &Value) -> &str {
    items(v, "/metadata/ownerReferences")
        .find(|o| o["controller"] == true)
        .map_or("", |o| o["uid"].as_str().unwrap_or_default())
}

/// Thousandths of a processor.
fn cpu(v: &Value) -> u64 {
    let text = v.as_str().unwrap_or_default();
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap_or(0),
        None => text.parse::<u64>().unwrap_or(0) * 1000,
    }
}

/// Resources whose objects the model takes in.
pub(crate) const KNOWN: &[&str] = &[
    "cronjobs",
    "daemonsets",
    "deployments",
    "jobs",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "replicasets",
    "replicationcontrollers",
    "resourcequotas",
    "statefulsets",
];

impl Model {
    /// Takes in one revision.
    pub(crate) fn take<'a>(
        &mut self,
        now: Duration,
        resource: &'a str,
        object: &'a Value,
        gone: bool,
    ) -> Seen<'a> {
        self.now = now;
        let uid = text(object, "/metadata/uid");
        let mut seen = Seen { resource, uid, object, gone, old_pod: None, new_job: false };
        match resource {
            "pods" => seen.old_pod = self.pod(uid, object, gone),
            "nodes" => {
                let size = object.pointer("/status/allocatable/cpu").map_or(0, cpu);
                self.nodes.insert(text(object, "/metadata/name").to_owned(), size);
            }
            "jobs" => seen.new_job = self.job(uid, object, gone),
            "daemonsets" => _ = self.daemons.insert(uid.to_owned()),
            "cronjobs" if text(object, "/spec/concurrencyPolicy") == "Forbid" => {
                self.forbidding.insert(uid.to_owned());
            }
            "persistentvolumes" => {
                let node = text(object, "/metadata/annotations/ironclad.local~1node").to_owned();
                self.volumes.insert(text(object, "/metadata/name").to_owned(), node);
            }
            "persistentvolumeclaims" => self.claim(uid, object, gone),
            "resourcequotas" => {
                // A quota counts from the moment at which its controller has counted.
                let limit = text(object, "/status/hard/pods").parse().unwrap_or(u64::MAX);
                self.quotas.insert(text(object, "/metadata/namespace").to_owned(), limit);
            }
            "deployments" | "replicasets" | "statefulsets" | "replicationcontrollers" => {
                self.set(resource, uid, object, gone);
            }
            _ => {}
        }
        seen
    }

    fn pod(&mut self, uid: &str, object: &Value, gone: bool) -> Option<PodFacts> {
        let phase = text(object, "/status/phase");
        let ended = gone || phase == "Succeeded" || phase == "Failed";
        let requests = items(object, "/spec/containers").filter_map(|c| c.pointer("/resources/requests/cpu"));
        let target = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
                      /nodeSelectorTerms/0/matchFields/0/values/0";
        let claims = items(object, "/spec/volumes").map(|v| text(v, "/persistentVolumeClaim/claimName"));
        let facts = PodFacts {
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
            owner: controller(object).to_owned(),
            node: text(object, "/spec/nodeName").to_owned(),
            target: text(object, target).to_owned(),
            index: text(object, "/metadata/annotations/batch.kubernetes.io~1job-completion-index").to_owned(),
            claims: claims.filter(|c| !c.is_empty()).map(str::to_owned).collect(),
            cpu: requests.map(cpu).sum(),
            phase: phase.to_owned(),
            active: !ended && text(object, "/metadata/deletionTimestamp").is_empty(),
            ended,
        };
        if phase == "Succeeded"
            && let Some(job) = self.jobs.get_mut(&facts.owner)
        {
            job.succeeded.insert(uid.to_owned());
        }
        self.pods.insert(uid.to_owned(), facts)
    }

    fn job(&mut self, uid: &str, object: &Value, gone: bool) -> bool {
        let new = !self.jobs.contains_key(uid);
        let job = self.jobs.entry(uid.to_owned()).or_default();
        job.name = text(object, "/metadata/name").to_owned();
        job.cron = controller(object).to_owned();
        job.gone = gone;
        job.finished = gone || has_condition(object, "Complete") || has_condition(object, "Failed");
        let suspended = object.pointer("/spec/suspend") == Some(&Value::Bool(true));
        self.wish(uid, if suspended { 0 } else { number(object, "/spec/parallelism") });
        new
    }

    fn claim(&mut self, uid: &str, object: &Value, gone: bool) {
        if gone {
            self.claims.remove(uid);
            return;
        }
        let of = |path| text(object, path).to_owned();
        let facts = ClaimFacts {
            namespace: of("/metadata/namespace"),
            name: of("/metadata/name"),
            volume: of("/spec/volumeName"),
        };
        self.claims.insert(uid.to_owned(), facts);
    }

    fn set(&mut self, resource: &str, uid: &str, object: &Value, gone: bool) {
        let mut wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        if resource == "replicasets" {
            self.family(uid, if gone { "" } else { controller(object) });
        }
        if resource == "deployments" && text(object, "/spec/strategy/type") == "RollingUpdate" {
            wanted += number(object, "/spec/strategy/rollingUpdate/maxSurge");
        }
        self.wish(uid, wanted);
    }

    /// A new wish; the one before it counts for a while.
    fn wish(&mut self, uid: &str, wanted: u64) {
        let now = self.now;
        let wishes = self.wished.entry(uid.to_owned()).or_default();
        if wishes.last().is_some_and(|(_, n)| *n == wanted) {
            return;
        }
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
        let until = self.now + MEMORY;
        if brought > 0 {
            let more = self.wished.get(parent).and_then(|w| w.last()).map_or(0, |(_, n)| *n);
            self.wished.entry(parent.to_owned()).or_default().insert(0, (until, brought + more));
        }
    }

    /// The most that was wished for lately.
    pub(crate) fn allowed(&self, uid: &str) -> Option<u64> {
        self.wished.get(uid)?.iter().filter(|(until, _)| *until > self.now).map(|(_, n)| *n).max()
    }

    /// How many active pods there are of those.
    pub(crate) fn active(&self, of: impl Fn(&PodFacts) -> bool) -> u64 {
        self.pods.values().filter(|p| p.active && of(p)).count() as u64
    }
}
