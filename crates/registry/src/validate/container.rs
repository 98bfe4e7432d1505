//! Containers of a pod (`pkg/apis/core/validation/validation.go`: `validateContainerCommon` and its kin).

use super::at::{At, Faults, Unique};
use super::volume::{Volumes, devices, mounts};
use super::{env, probe, resources, security};
use meta::FieldError;
use meta::names;

/// What containers are checked against.
pub(super) struct Pod<'a> {
    pub(super) spec: At<'a>,
    pub(super) volumes: Volumes<'a>,
    pub(super) claims: Unique,
    pub(super) grace: Option<i64>,
}

const NOT_IN_INIT: &str = "may not be set for init containers without restartPolicy=Always";
/// Most restart rules of a container.
const RESTART_RULES_MAX: usize = 20;
/// Most exit codes of a restart rule.
const EXIT_CODES_MAX: usize = 255;

pub(super) fn containers(pod: &Pod<'_>, names: &mut Unique, faults: &mut Faults) {
    let list = pod.spec.get("containers");
    if !list.required(faults) {
        return;
    }
    let mut ports = Unique::default();
    for container in list.items() {
        common(&container, pod, faults);
        names.check(&container.get("name"), faults);
        stop_signal(&container, pod, faults);
        probe::probes(&container, pod.grace, faults);
        restart_policy(&container, faults);
    }
    list.items().for_each(|c| host_ports(&c, &mut ports, faults));
}

pub(super) fn init_containers(pod: &Pod<'_>, names: &mut Unique, faults: &mut Faults) {
    for container in pod.spec.get("initContainers").items() {
        common(&container, pod, faults);
        restart_policy(&container, faults);
        let name = container.get("name");
        if !name.is_empty() {
            names.check(&name, faults);
        }
        host_ports(&container, &mut Unique::default(), faults);
        let sidecar = container.get("restartPolicy").str() == "Always";
        if sidecar {
            stop_signal(&container, pod, faults);
            probe::probes(&container, pod.grace, faults);
            continue;
        }
        for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            let at = container.get(key);
            if at.is_set() {
                faults.push(at.forbidden(NOT_IN_INIT));
            }
        }
        for policy in container.get("resizePolicy").items().map(|p| p.get("restartPolicy")) {
            if policy.str() == "RestartContainer" {
                let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                faults.push(policy.invalid(why));
            }
        }
    }
}

/// Fields that an ephemeral container can't have.
const NOT_IN_EPHEMERAL: [&str; 7] =
    ["ports", "resources", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"];

pub(super) fn ephemeral_containers(pod: &Pod<'_>, names: &mut Unique, faults: &mut Faults) {
    let list = pod.spec.get("ephemeralContainers");
    let others: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|l| pod.spec.get(l).items().map(|c| c.get("name").str()).collect::<Vec<_>>())
        .collect();
    for container in list.items() {
        common(&container, pod, faults);
        names.check(&container.get("name"), faults);
        let target = container.get("targetContainerName");
        if !target.is_empty() && !others.contains(&target.str()) {
            faults.push(FieldError::not_found(&target.path(), target.str()));
        }
        for key in NOT_IN_EPHEMERAL {
            let at = container.get(key);
            // A struct that is empty is set all the same, but for `resources`, which is never absent.
            let set = at.is_set() && !at.value().is_array() && key != "resources";
            if set || !at.is_empty() {
                faults.push(at.forbidden("cannot be set for an Ephemeral Container"));
            }
        }
        for mount in container.get("volumeMounts").items() {
            for at in [mount.get("subPath"), mount.get("subPathExpr")] {
                if !at.is_empty() {
                    faults.push(at.forbidden("cannot be set for an Ephemeral Container"));
                }
            }
        }
    }
}

fn common(container: &At<'_>, pod: &Pod<'_>, faults: &mut Faults) {
    container.get("name").required_rule(names::dns1123_label, faults);
    let image = container.get("image");
    if image.required(faults) && image.str().trim() != image.str() {
        faults.push(image.invalid("must not have leading or trailing whitespace"));
    }
    container.get("terminationMessagePolicy").one_of(&["File", "FallbackToLogsOnError"], faults);
    ports(&container.get("ports"), faults);
    env::env(&container.get("env"), faults);
    env::env_from(&container.get("envFrom"), faults);
    mounts(container, &pod.volumes, faults);
    devices(container, &pod.volumes, faults);
    container.get("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"], faults);
    resources::container_resources(&container.get("resources"), &pod.claims, faults);
    resize_policy(container, pod, faults);
    let host_users = pod.spec.get("hostUsers").value() != &serde_json::Value::Bool(false);
    security::container(&container.get("securityContext"), host_users, faults);
}

fn ports(list: &At<'_>, faults: &mut Faults) {
    let mut names_seen = Unique::default();
    for port in list.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let rule = names::port_name(name.str());
            match rule.is_empty() {
                true => names_seen.check(&name, faults),
                false => faults.extend(rule.into_iter().map(|why| name.invalid(why))),
            }
        }
        match port.get("containerPort").int().unwrap_or(0) {
            0 => faults.push(port.get("containerPort").missing("")),
            _ => port.get("containerPort").port(faults),
        }
        if port.get("hostPort").int().is_some_and(|n| n != 0) {
            port.get("hostPort").port(faults);
        }
        port.get("hostIP").optional_rule(names::legacy_ip, faults);
        port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], faults);
    }
}

fn host_ports(container: &At<'_>, seen: &mut Unique, faults: &mut Faults) {
    for port in container.get("ports").items() {
        let Some(number) = port.get("hostPort").int().filter(|n| *n != 0) else { continue };
        let key = format!("{}/{}/{number}", port.get("protocol").str(), port.get("hostIP").str());
        if seen.has(&key) {
            faults.push(FieldError::duplicate(&port.get("hostPort").path(), key));
        }
    }
}

fn stop_signal(container: &At<'_>, pod: &Pod<'_>, faults: &mut Faults) {
    let signal = container.get("lifecycle").get("stopSignal");
    if signal.is_set() && pod.spec.get("os").get("name").is_empty() {
        faults.push(signal.forbidden("may not be set for containers with empty `spec.os.name`"));
    }
}

/// KEP-5307: a container's own restart policy and rules.
fn restart_policy(container: &At<'_>, faults: &mut Faults) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    if policy.is_set() {
        policy.known(&["Always", "Never", "OnFailure"], faults);
    } else if !rules.is_empty() {
        faults.push(policy.missing("must specify restartPolicy when restart rules are used"));
    }
    if rules.len() > RESTART_RULES_MAX {
        faults.push(FieldError::too_many(&rules.path(), rules.len(), RESTART_RULES_MAX));
    }
    for rule in rules.items() {
        rule.get("action").known(&["Restart", "RestartAllContainers"], faults);
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            faults.push(codes.missing("must be specified"));
            continue;
        }
        codes.get("operator").known(&["In", "NotIn"], faults);
        let values = codes.get("values");
        if values.len() > EXIT_CODES_MAX {
            faults.push(FieldError::too_many(&values.path(), values.len(), EXIT_CODES_MAX));
        }
    }
}

fn resize_policy(container: &At<'_>, pod: &Pod<'_>, faults: &mut Faults) {
    let mut seen = Unique::default();
    let list = container.get("resizePolicy");
    let unsupported = |text: &str, words: &[&str], faults: &mut Faults| match text {
        "" => faults.push(list.missing("")),
        text if !words.contains(&text) => faults.push(FieldError::not_supported(&list.path(), text, words)),
        _ => {}
    };
    for policy in list.items() {
        let (resource, restart) = (policy.get("resourceName").str(), policy.get("restartPolicy").str());
        if seen.has(resource) {
            faults.push(FieldError::duplicate(&policy.path(), resource));
        }
        unsupported(resource, &["cpu", "memory"], faults);
        unsupported(restart, &["NotRequired", "RestartContainer"], faults);
        if pod.spec.get("restartPolicy").str() == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            faults.push(FieldError::invalid(&list.path(), restart, why));
        }
    }
}
