//! The row that `kubectl get pods` shows (`pkg/printers/internalversion/printers.go`).

use crate::table::{age, ago, items, name, text_or};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(crate) const COLUMNS: &[&str] =
    &["Name", "Ready", "Status", "Restarts", "Age", "IP*", "Node*", "Nominated Node*", "Readiness Gates*"];

/// What is counted while the containers are looked through.
#[derive(Default)]
struct Seen {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Seen {
    fn restarted(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or_default();
        let finished = status["lastState"]["terminated"]["finishedAt"].as_str().and_then(|t| t.parse().ok());
        self.last_restart = self.last_restart.max(finished);
    }
}

fn is_sidecar(o: &Object, status: &Value) -> bool {
    let named = |c: &&Value| c["name"] == status["name"];
    items(o, &["spec", "initContainers"]).iter().find(named).is_some_and(|c| c["restartPolicy"] == "Always")
}

fn has_condition(o: &Object, kind: &str) -> bool {
    items(o, &["status", "conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
}

/// Why a container ended: its reason, else its signal, else its exit code.
fn ended(terminated: &Value) -> String {
    match (terminated["reason"].as_str(), terminated["signal"].as_i64()) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or_default()),
    }
}

fn waiting(status: &Value) -> Option<&str> {
    status["state"]["waiting"]["reason"].as_str().filter(|r| !r.is_empty())
}

/// Looks through the init containers. True while one of them holds the pod up. Second: the sidecars' restarts alone.
fn init_containers(o: &Object, seen: &mut Seen) -> (bool, Seen) {
    let mut sidecars = Seen::default();
    for (i, status) in items(o, &["status", "initContainerStatuses"]).iter().enumerate() {
        seen.restarted(status);
        let sidecar = is_sidecar(o, status);
        if sidecar {
            sidecars.restarted(status);
        }
        let terminated = &status["state"]["terminated"];
        if terminated["exitCode"] == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            seen.ready += usize::from(status["ready"] == true);
            continue;
        }
        seen.reason = match waiting(status) {
            _ if terminated.is_object() => format!("Init:{}", ended(terminated)),
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{i}/{}", items(o, &["spec", "initContainers"]).len()),
        };
        return (true, sidecars);
    }
    (false, sidecars)
}

fn app_containers(o: &Object, seen: &mut Seen) {
    let (mut running, mut failure) = (false, String::new());
    for status in items(o, &["status", "containerStatuses"]).iter().rev() {
        seen.restarted(status);
        let terminated = &status["state"]["terminated"];
        if let Some(reason) = waiting(status) {
            seen.reason = reason.to_owned();
        } else if terminated.is_object() {
            seen.reason = ended(terminated);
            if terminated["exitCode"] != 0 {
                failure.clone_from(&seen.reason);
            }
        } else if status["ready"] == true && status["state"]["running"].is_object() {
            running = true;
            seen.ready += 1;
        }
    }
    if seen.reason == "Completed" {
        if running && has_condition(o, "Ready") {
            seen.reason = "Running".to_owned();
        } else if !failure.is_empty() {
            seen.reason = failure;
        } else if running {
            seen.reason = "NotReady".to_owned();
        }
    }
}

fn observe(o: &Object) -> Seen {
    let (phase, why) = (o.str(&["status", "phase"]), o.str(&["status", "reason"]));
    let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
    let reason = match items(o, &["status", "conditions"]).iter().any(gated) {
        true => "SchedulingGated",
        false if !why.is_empty() => why,
        false => phase,
    };
    let mut seen = Seen { reason: reason.to_owned(), ..Seen::default() };
    let (initializing, sidecars) = init_containers(o, &mut seen);
    if !initializing || has_condition(o, "Initialized") {
        (seen.restarts, seen.last_restart) = (sidecars.restarts, sidecars.last_restart);
        app_containers(o, &mut seen);
    }
    if o.metadata.is_deleting() {
        if why == "NodeLost" {
            seen.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Failed" | "Succeeded") {
            seen.reason = "Terminating".to_owned();
        }
    }
    seen
}

fn readiness_gates(o: &Object) -> String {
    let gates = items(o, &["spec", "readinessGates"]);
    let open =
        gates.iter().filter(|g| has_condition(o, g["conditionType"].as_str().unwrap_or_default())).count();
    if gates.is_empty() { "<none>".to_owned() } else { format!("{open}/{}", gates.len()) }
}

/// One row.
pub(crate) fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let seen = observe(o);
    let sidecars =
        items(o, &["spec", "initContainers"]).iter().filter(|c| c["restartPolicy"] == "Always").count();
    let total = items(o, &["spec", "containers"]).len() + sidecars;
    let restarts = match seen.last_restart {
        Some(t) if seen.restarts != 0 => format!("{} ({} ago)", seen.restarts, ago(t, now)),
        _ => seen.restarts.to_string(),
    };
    let ip = items(o, &["status", "podIPs"]).first().and_then(|p| p["ip"].as_str()).unwrap_or("<none>");
    vec![
        name(o),
        format!("{}/{total}", seen.ready).into(),
        seen.reason.into(),
        restarts.into(),
        age(o, now),
        ip.into(),
        text_or(o, &["spec", "nodeName"], "<none>"),
        text_or(o, &["status", "nominatedNodeName"], "<none>"),
        readiness_gates(o).into(),
    ]
}
