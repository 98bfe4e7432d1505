//! The checks that look at containers and at the pod's security context.

use super::checks::{Pod, Violation, capabilities, has_user_namespace, join_quoted, plural};
use crate::json::{at, containers, is_true, items, text};
use serde_json::Value;
use std::collections::BTreeSet;

fn name(container: &Value) -> &str {
    text(container, &["name"])
}

/// Names of the containers for which `bad` holds.
fn bad_containers<'a>(pod: &Pod<'a>, mut bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
    let spec: &'a Value = pod.spec;
    containers(spec).filter(|c| bad(c)).map(name).collect()
}

/// `container "a"` or `containers "a", "b"`
fn named(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), join_quoted(names.iter().copied()))
}

/// `pod and containers "a", "b"`: who sets something bad; none if nobody does.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let pod = pod.then(|| "pod".to_owned());
    let containers = (!names.is_empty()).then(|| named(names));
    let both: Vec<String> = pod.into_iter().chain(containers).collect();
    (!both.is_empty()).then(|| both.join(" and "))
}

fn is_windows(pod: &Pod<'_>) -> bool {
    text(pod.spec, &["os", "name"]) == "windows"
}

pub(super) fn privileged(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let bad = bad_containers(pod, |c| is_true(c, &["securityContext", "privileged"]));
    let detail = format!("{} must not set securityContext.privileged=true", named(&bad));
    (!bad.is_empty()).then_some(Violation { reason: "privileged", detail })
}

pub(super) fn privilege_escalation(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 25 && is_windows(pod) {
        return None;
    }
    let bad = bad_containers(pod, |c| {
        at(c, &["securityContext", "allowPrivilegeEscalation"]) != &Value::Bool(false)
    });
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&bad));
    (!bad.is_empty()).then_some(Violation { reason: "allowPrivilegeEscalation != false", detail })
}

/// Capabilities that containers have anyway.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Containers that add capabilities outside `allowed`, and those capabilities.
fn added<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut found = BTreeSet::new();
    let names = bad_containers(pod, |c| {
        let bad: Vec<&str> = capabilities(c, "add").filter(|cap| !allowed.contains(cap)).collect();
        found.extend(bad.iter().copied());
        !bad.is_empty()
    });
    (names, found)
}

fn must_not_add(names: &[&str], found: BTreeSet<&str>) -> String {
    format!("{} must not include {} in securityContext.capabilities.add", named(names), join_quoted(found))
}

pub(super) fn capabilities_baseline(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let (bad, found) = added(pod, &DEFAULT_CAPABILITIES);
    (!bad.is_empty())
        .then(|| Violation { reason: "non-default capabilities", detail: must_not_add(&bad, found) })
}

pub(super) fn capabilities_restricted(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 25 && is_windows(pod) {
        return None;
    }
    let keeping = bad_containers(pod, |c| !capabilities(c, "drop").any(|cap| cap == "ALL"));
    let (adding, found) = added(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !adding.is_empty() {
        details.push(must_not_add(&adding, found));
    }
    (!details.is_empty())
        .then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

pub(super) fn host_ports(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let bad = bad_containers(pod, |c| {
        let used = items(c, &["ports"]).iter().filter_map(|p| at(p, &["hostPort"]).as_i64());
        let used: Vec<String> = used.filter(|p| *p != 0).map(|p| p.to_string()).collect();
        let any = !used.is_empty();
        ports.extend(used);
        any
    });
    let (uses, word) = (plural("uses", "use", bad.len()), plural("hostPort", "hostPorts", ports.len()));
    let ports: Vec<String> = ports.into_iter().collect();
    let detail = format!("{} {uses} {word} {}", named(&bad), ports.join(", "));
    (!bad.is_empty()).then_some(Violation { reason: "hostPort", detail })
}

/// Where a container may name a host that its node should call.
const HANDLERS: [&[&str]; 5] = [
    &["livenessProbe"],
    &["readinessProbe"],
    &["startupProbe"],
    &["lifecycle", "postStart"],
    &["lifecycle", "preStop"],
];

pub(super) fn host_probes(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in containers(pod.spec) {
        for handler in HANDLERS.iter().map(|path| at(container, path)) {
            let named = ["httpGet", "tcpSocket"].map(|action| text(handler, &[action, "host"]));
            for host in named.into_iter().filter(|h| !h.is_empty()) {
                names.insert(name(container));
                hosts.insert(host);
            }
        }
    }
    let names: Vec<&str> = names.into_iter().collect();
    let uses = plural("uses", "use", names.len());
    let word = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    let detail = format!("{} {uses} {word} {}", named(&names), join_quoted(hosts));
    (!names.is_empty()).then_some(Violation { reason: "probe or lifecycle host", detail })
}

pub(super) fn proc_mount_baseline(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && has_user_namespace(pod) { None } else { proc_mount_restricted(pod, minor) }
}

pub(super) fn proc_mount_restricted(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let bad = bad_containers(pod, |c| {
        let set = at(c, &["securityContext", "procMount"]).as_str().filter(|t| *t != "Default");
        types.extend(set);
        set.is_some()
    });
    let detail = format!("{} must not set securityContext.procMount to {}", named(&bad), join_quoted(types));
    (!bad.is_empty()).then_some(Violation { reason: "procMount", detail })
}

pub(super) fn app_armor(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut values = BTreeSet::new();
    let mut is_bad = |holder: &Value| {
        let profile = at(holder, &["securityContext", "appArmorProfile"]);
        let kind = text(profile, &["type"]);
        let bad = !profile.is_null() && kind != "RuntimeDefault" && kind != "Localhost";
        if bad {
            values.insert(kind.to_owned());
        }
        bad
    };
    let on_pod = is_bad(pod.spec);
    let bad = bad_containers(pod, &mut is_bad);
    let allowed = |v: &str| v.is_empty() || v == "runtime/default" || v.starts_with("localhost/");
    let annotations = pod.annotations.iter().filter(|(k, v)| k.starts_with(PREFIX) && !allowed(v));
    let annotations: Vec<String> = annotations.map(|(k, v)| format!("{k}={v:?}")).collect();
    let mut values: Vec<String> = values.into_iter().collect();
    let mut who: Vec<String> = setters(on_pod, &bad).into_iter().collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
        values.extend(annotations);
    }
    if who.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let values = join_quoted(values.iter().map(String::as_str));
    Some(Violation {
        reason,
        detail: format!("{} must not set AppArmor profile type to {values}", who.join(" and ")),
    })
}

pub(super) fn selinux(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    const TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |holder: &Value| {
        let options = at(holder, &["securityContext", "seLinuxOptions"]);
        let kind = text(options, &["type"]);
        let good_type = TYPES.contains(&kind) || (minor >= 31 && kind == "container_engine_t");
        if !good_type {
            types.insert(kind.to_owned());
        }
        let (has_user, has_role) =
            (!text(options, &["user"]).is_empty(), !text(options, &["role"]).is_empty());
        user |= has_user;
        role |= has_role;
        !good_type || has_user || has_role
    };
    let on_pod = is_bad(pod.spec);
    let bad = bad_containers(pod, &mut is_bad);
    let who = setters(on_pod, &bad)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        let word = plural("type", "types", types.len());
        what.push(format!("{word} {}", join_quoted(types.iter().map(String::as_str))));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

fn seccomp(holder: &Value) -> Option<&str> {
    let profile = at(holder, &["securityContext", "seccompProfile"]);
    (!profile.is_null()).then(|| text(profile, &["type"]))
}

fn is_confined(kind: &str) -> bool {
    matches!(kind, "Localhost" | "RuntimeDefault")
}

pub(super) fn seccomp_baseline(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor < 19 {
        return seccomp_annotations(pod);
    }
    let mut values = BTreeSet::new();
    let mut is_bad = |holder: &Value| {
        let bad = seccomp(holder).filter(|kind| !is_confined(kind));
        values.extend(bad.map(str::to_owned));
        bad.is_some()
    };
    let on_pod = is_bad(pod.spec);
    let bad = bad_containers(pod, &mut is_bad);
    let who = setters(on_pod, &bad)?;
    let values = join_quoted(values.iter().map(String::as_str));
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {values}");
    Some(Violation { reason: "seccompProfile", detail })
}

/// Before 1.19 the profile stood in annotations.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |v: &str| matches!(v, "runtime/default" | "docker/default") || v.starts_with("localhost/");
    let on_pod = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_owned());
    let each =
        containers(pod.spec).map(|c| format!("container.seccomp.security.alpha.kubernetes.io/{}", name(c)));
    let set = on_pod.chain(each).filter_map(|key| Some((pod.annotations.get(&key)?, key)));
    let bad: BTreeSet<String> =
        set.filter(|(v, _)| !allowed(v)).map(|(v, key)| format!("{key}={v:?}")).collect();
    let bad: Vec<String> = bad.into_iter().collect();
    let word = plural("annotation", "annotations", bad.len());
    let detail = format!("forbidden {word} {}", bad.join(", "));
    (!bad.is_empty()).then_some(Violation { reason: "seccompProfile", detail })
}

pub(super) fn seccomp_restricted(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 25 && is_windows(pod) {
        return None;
    }
    if let Some(violation) = seccomp_baseline(pod, minor) {
        return Some(violation);
    }
    // What the pod sets is good, or it sets nothing.
    let open = bad_containers(pod, |c| seccomp(c).is_none() && seccomp(pod.spec).is_none());
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        named(&open)
    );
    (!open.is_empty()).then_some(Violation { reason: "seccompProfile", detail })
}

pub(super) fn windows_host_process(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let path = ["securityContext", "windowsOptions", "hostProcess"];
    let who = setters(is_true(pod.spec, &path), &bad_containers(pod, |c| is_true(c, &path)))?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation { reason: "hostProcess", detail })
}

pub(super) fn run_as_non_root(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && has_user_namespace(pod) {
        return None;
    }
    let wish = |holder| at(holder, &["securityContext", "runAsNonRoot"]).as_bool();
    let explicit = bad_containers(pod, |c| wish(c) == Some(false));
    let reason = "runAsNonRoot != true";
    if let Some(who) = setters(wish(pod.spec) == Some(false), &explicit) {
        return Some(Violation {
            reason,
            detail: format!("{who} must not set securityContext.runAsNonRoot=false"),
        });
    }
    let implicit = bad_containers(pod, |c| wish(c).is_none() && wish(pod.spec) != Some(true));
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", named(&implicit));
    (!implicit.is_empty()).then_some(Violation { reason, detail })
}

pub(super) fn run_as_user(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && has_user_namespace(pod) {
        return None;
    }
    let is_root = |holder: &Value| at(holder, &["securityContext", "runAsUser"]).as_i64() == Some(0);
    let who = setters(is_root(pod.spec), &bad_containers(pod, is_root))?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{who} must not set runAsUser=0") })
}
