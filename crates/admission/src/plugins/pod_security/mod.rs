//! PodSecurity: the namespace's labels say how much a pod may do (`k8s.io/pod-security-admission`).

mod checks;
mod container_checks;
mod level;

use crate::json::{at, items, spec, text};
use crate::{Operation, Plugin, Request, View};
use checks::{Pod, Violation};
use level::{Level, LevelVersion, Policy};
use meta::{Object, Status};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pods that a change of a namespace's level looks at.
const MAX_PODS_TO_CHECK: usize = 3000;
const AUDIT: &str = "pod-security.kubernetes.io";

/// Subresources of pods that don't touch the spec. Any other, also one that doesn't exist yet, is checked.
const IGNORED_SUBRESOURCES: [&str; 8] =
    ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// Workloads and where their pod template stands.
const TEMPLATES: [(&str, &str, &[&str]); 8] = [
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    ("batch", "jobs", &["spec", "template"]),
    ("batch", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
];

pub(crate) struct PodSecurity;

fn template_path(r: &Request) -> Option<&'static [&'static str]> {
    let found = TEMPLATES.iter().find(|(group, resource, _)| r.is(group, resource));
    found.map(|(_, _, path)| *path)
}

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, r: &Request) -> bool {
        let pod = r.is_any("", "pods") && !IGNORED_SUBRESOURCES.contains(&r.subresource.as_str());
        matches!(r.operation, Operation::Create | Operation::Update)
            && (pod || r.is("", "namespaces") || template_path(r).is_some())
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        if r.is("", "namespaces") {
            return check_namespace(r, view);
        }
        let Some(object) = r.object.clone() else { return Ok(()) };
        let Some(namespace) = view.get("", "namespaces", "", &r.namespace) else {
            let why = format!("failed to lookup namespace {:?}", r.namespace);
            return if r.is_any("", "pods") { Err(Status::internal(why)) } else { Ok(()) };
        };
        let (policy, faults) = Policy::of(&namespace.metadata.labels);
        if !faults.is_empty() {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let why = format!("Failed to parse policy: {}", faults.join(", "));
            r.audit.push((format!("{AUDIT}/error"), why));
        }
        match template_path(r) {
            Some(path) => {
                let template = object.get(path).unwrap_or(&Value::Null);
                let annotations = at(template, &["metadata", "annotations"]);
                let annotations = serde_json::from_value(annotations.clone()).unwrap_or_default();
                let pod = Pod { annotations: &annotations, spec: at(template, &["spec"]) };
                if pod.spec.is_object() { evaluate(r, &policy, &pod, false) } else { Ok(()) }
            }
            None if r.old.as_ref().is_some_and(|old| !is_significant(spec(&object), spec(old))) => Ok(()),
            None => evaluate(r, &policy, &Pod::of(&object), true),
        }
    }
}

/// Enforces (pods only), audits and warns.
fn evaluate(r: &mut Request, policy: &Policy, pod: &Pod<'_>, enforce: bool) -> Result<(), Status> {
    if enforce {
        r.audit.push((format!("{AUDIT}/enforce-policy"), policy.enforce.to_string()));
        let violations = checks::run(policy.enforce, pod);
        if !violations.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&violations));
            return Err(r.forbidden(why));
        }
    }
    let would = |lv: LevelVersion, violations: &[Violation]| {
        format!("would violate PodSecurity \"{lv}\": {}", details(violations))
    };
    let audited = checks::run(policy.audit, pod);
    if !audited.is_empty() {
        r.audit.push((format!("{AUDIT}/audit-violations"), would(policy.audit, &audited)));
    }
    let warned = checks::run(policy.warn, pod);
    if !warned.is_empty() {
        r.warn(would(policy.warn, &warned));
    }
    Ok(())
}

fn details(violations: &[Violation]) -> String {
    let one = |v: &Violation| match v.detail.as_str() {
        "" => v.reason.to_owned(),
        detail => format!("{} ({detail})", v.reason),
    };
    violations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Whether an update changes what the checks look at: only images and new ephemeral containers can.
fn is_significant(new: &Value, old: &Value) -> bool {
    let images = |spec: &Value, which: &str| -> Vec<String> {
        items(spec, &[which]).iter().map(|c| text(c, &["image"]).to_owned()).collect()
    };
    let ephemeral = items(old, &["ephemeralContainers"]);
    let known = |c: &Value| {
        let same = |o: &&Value| text(o, &["name"]) == text(c, &["name"]);
        ephemeral.iter().find(same).is_some_and(|o| text(o, &["image"]) == text(c, &["image"]))
    };
    ["containers", "initContainers"].iter().any(|which| images(new, which) != images(old, which))
        || !items(new, &["ephemeralContainers"]).iter().all(known)
}

/// Labels must be valid where they are set, and a stricter level warns of pods that are there already.
fn check_namespace(r: &mut Request, view: &dyn View) -> Result<(), Status> {
    let Some(namespace) = r.object.clone() else { return Ok(()) };
    let (policy, faults) = Policy::of(&namespace.metadata.labels);
    let before = r.old.as_ref().map(|old| Policy::of(&old.metadata.labels));
    let known = before.as_ref().is_some_and(|(_, old)| *old == faults);
    if !faults.is_empty() && !known {
        return Err(Status::invalid("", "Namespace", &namespace.metadata.name, &faults));
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (new, old) = (policy.enforce, before.enforce);
    let relaxed = new.version == old.version && new.level <= old.level;
    if new == old || new.level == Level::Privileged || relaxed {
        return Ok(());
    }
    for warning in existing_violations(&namespace.metadata.name, new, view) {
        r.warn(warning);
    }
    Ok(())
}

fn existing_violations(namespace: &str, enforce: LevelVersion, view: &dyn View) -> Vec<String> {
    let pods = one_of_each_controller(view.list("", "pods", namespace));
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.iter().take(MAX_PODS_TO_CHECK) {
        let violations = checks::run(enforce, &Pod::of(pod));
        if !violations.is_empty() {
            let reason = violations.iter().map(|v| v.reason).collect::<Vec<_>>().join(", ");
            by_reason.entry(reason).or_default().push(pod.metadata.name.clone());
        }
    }
    let mut warnings = Vec::new();
    if pods.len() > MAX_PODS_TO_CHECK {
        let (checked, all) = (MAX_PODS_TO_CHECK, pods.len());
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {all} existing pods"
        ));
    }
    if by_reason.is_empty() {
        return warnings;
    }
    warnings.push(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
    ));
    let mut lines: Vec<String> = by_reason
        .into_iter()
        .map(|(reason, mut names)| {
            names.sort();
            match names.as_slice() {
                [one] => format!("{one}: {reason}"),
                [one, _] => format!("{one} (and 1 other pod): {reason}"),
                [one, others @ ..] => format!("{one} (and {} other pods): {reason}", others.len()),
                [] => reason,
            }
        })
        .collect();
    lines.sort();
    warnings.extend(lines);
    warnings
}

/// Pods of one controller are alike: one of each goes first, for the case that not all can be looked at.
fn one_of_each_controller(pods: Vec<Arc<Object>>) -> Vec<Arc<Object>> {
    let mut seen = std::collections::HashSet::new();
    let (mut first, rest): (Vec<_>, Vec<_>) = pods
        .into_iter()
        .partition(|pod| pod.metadata.controller().is_none_or(|owner| seen.insert(owner.uid.clone())));
    first.extend(rest);
    first
}

impl<'a> Pod<'a> {
    fn of(pod: &'a Object) -> Self {
        Self { annotations: &pod.metadata.annotations, spec: spec(pod) }
    }
}
