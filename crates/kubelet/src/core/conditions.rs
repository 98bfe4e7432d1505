//! The conditions that the kubelet owns (`pkg/kubelet/status/generate.go`).

use super::{podspec, resize, restart_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The condition types that the kubelet writes.
pub const OWNED: &[&str] = &[
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    resize::PENDING,
    resize::IN_PROGRESS,
    restart_all::CONDITION,
];

fn condition(kind: &str, status: bool, reason: &str, message: String) -> PodCondition {
    let text = |s: String| if s.is_empty() { None } else { Some(s) };
    PodCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: text(reason.to_owned()),
        message: text(message),
        ..PodCondition::default()
    }
}

/// `[a b]`: how Go prints a list.
fn go_list(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn lacking(unknown: &[&str], lacking: &[&str], word: &str) -> String {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", go_list(unknown)));
    }
    if !lacking.is_empty() {
        parts.push(format!("containers with {word} status: {}", go_list(lacking)));
    }
    parts.join(", ")
}

fn containers_ready(pod: &Pod, all: &[ContainerStatus], phase: &str) -> PodCondition {
    const KIND: &str = "ContainersReady";
    let sidecars = podspec::init_containers(pod).iter().filter(|c| podspec::is_sidecar(c));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for c in sidecars.chain(podspec::containers(pod)) {
        match all.iter().find(|s| s.name == c.name) {
            None => unknown.push(c.name.as_str()),
            Some(s) if !s.ready => unready.push(c.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return condition(KIND, false, "PodCompleted", String::new());
    }
    if phase == "Failed" {
        return condition(KIND, false, "PodFailed", String::new());
    }
    let message = lacking(&unknown, &unready, "unready");
    let ok = message.is_empty();
    condition(KIND, ok, if ok { "" } else { "ContainersNotReady" }, message)
}

fn starting_over(over: bool, phase: &str) -> PodCondition {
    let (reason, message) = match phase {
        "Succeeded" => ("PodCompleted", ""),
        "Failed" => ("PodFailed", ""),
        _ if over => restart_all::STARTED,
        _ => ("", ""),
    };
    let status = over && !podspec::is_terminal(Some(phase));
    condition(restart_all::CONDITION, status, reason, message.to_owned())
}

fn initialized(pod: &Pod, all: &[ContainerStatus], phase: &str) -> PodCondition {
    const KIND: &str = "Initialized";
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for c in podspec::init_containers(pod) {
        match all.iter().find(|s| s.name == c.name) {
            None => unknown.push(c.name.as_str()),
            Some(s) => {
                let done = if podspec::is_sidecar(c) { s.started == Some(true) } else { s.ready };
                if !done {
                    incomplete.push(c.name.as_str());
                }
            }
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return condition(KIND, true, "PodCompleted", String::new());
    }
    let started = |s: &&ContainerStatus| {
        let state = s.state.as_ref();
        let last = s.last_state.as_ref();
        state.is_some_and(|s| s.running.is_some() || s.terminated.is_some())
            || last.is_some_and(|l| l.terminated.is_some())
    };
    let regular = |s: &&ContainerStatus| podspec::containers(pod).iter().any(|c| c.name == s.name);
    if all.iter().filter(regular).any(|s| started(&s)) {
        return condition(KIND, true, "", String::new());
    }
    let message = lacking(&unknown, &incomplete, "incomplete");
    let ok = message.is_empty();
    condition(KIND, ok, if ok { "" } else { "ContainersNotInitialized" }, message)
}

fn ready(pod: &Pod, containers: &PodCondition, others: &[PodCondition]) -> PodCondition {
    if containers.status != "True" {
        return PodCondition { type_: "Ready".to_owned(), ..containers.clone() };
    }
    let mut messages = Vec::new();
    for gate in podspec::spec(pod).readiness_gates.as_deref().unwrap_or_default() {
        let kind = &gate.condition_type;
        match others.iter().find(|c| c.type_ == *kind) {
            None => messages
                .push(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
            Some(c) if c.status != "True" => messages
                .push(format!("the status of pod readiness gate {kind:?} is not \"True\", but {}", c.status)),
            Some(_) => {}
        }
    }
    let ok = messages.is_empty();
    condition("Ready", ok, if ok { "" } else { "ReadinessGatesNotReady" }, messages.join(", "))
}

/// What the conditions follow from, beside the pod itself.
pub struct Facts<'a> {
    /// Statuses of init containers and containers.
    pub all: &'a [ContainerStatus],
    /// The phase just computed.
    pub phase: &'a str,
    /// The sandbox is up, its network too, and the volumes are mounted.
    pub ready_to_start: bool,
    /// The status before.
    pub old: &'a PodStatus,
    /// Containers are being given new amounts of CPU and memory.
    pub resizing: bool,
    /// Why new amounts wait.
    pub resize_waits: Option<&'a str>,
    /// Whether all containers are stopped and removed, to start again; none where no rule could make them.
    pub starting_over: Option<bool>,
    /// The present.
    pub now: Timestamp,
}

/// All conditions of the pod: those of others as the API has them, then the kubelet's own with their times.
pub fn conditions(pod: &Pod, facts: &Facts<'_>) -> Vec<PodCondition> {
    let api = podspec::status(pod).conditions.as_deref().unwrap_or_default();
    let mut out: Vec<PodCondition> =
        api.iter().filter(|c| !OWNED.contains(&c.type_.as_str())).cloned().collect();
    let before = facts.old.conditions.as_deref().unwrap_or_default();
    // The word of others is theirs to take back.
    let ours = |c: &&PodCondition| {
        c.type_ == "DisruptionTarget" && c.reason.as_deref() == Some(super::evict::DISRUPTED_BY_US)
    };
    if let Some(c) = before.iter().find(ours) {
        out.retain(|o| o.type_ != c.type_);
        out.push(c.clone());
    }
    let containers = containers_ready(pod, facts.all, facts.phase);
    let waits = facts.resize_waits;
    let waits = waits.map(|why| condition(resize::PENDING, true, "Deferred", why.to_owned()));
    let changing = facts.resizing.then(|| condition(resize::IN_PROGRESS, true, "", String::new()));
    let over = facts.starting_over.map(|over| starting_over(over, facts.phase));
    let own = [
        condition("PodReadyToStartContainers", facts.ready_to_start, "", String::new()),
        initialized(pod, facts.all, facts.phase),
        ready(pod, &containers, &out),
        containers,
        condition("PodScheduled", true, "", String::new()),
    ];
    for mut c in own.into_iter().chain(waits).chain(changing).chain(over) {
        let old = before.iter().chain(api).find(|o| o.type_ == c.type_);
        c.last_transition_time = match old {
            Some(o) if o.status == c.status && o.last_transition_time.is_some() => {
                o.last_transition_time.clone()
            }
            _ => Some(Time(whole_second(facts.now))),
        };
        c.observed_generation = pod.metadata.generation;
        out.push(c);
    }
    out
}

/// `t` without its fraction, as the API keeps it.
pub fn whole_second(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}
