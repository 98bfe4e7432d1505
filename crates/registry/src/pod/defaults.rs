//! Defaults of pods and pod templates (`pkg/apis/core/v1/defaults.go`).

use crate::fill::{at, each, make, quantities, quantity, set, set_zero, text};
use serde_json::{Map, Value, json};

/// File mode of projected files where none is given: 0644.
const FILE_MODE: i64 = 0o644;
/// The lists of containers in a pod's spec.
pub(crate) const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Fills in a pod template: what all kinds with one share.
pub(crate) fn template(template: &mut Value) {
    if template.is_object() {
        make(template, "metadata");
        spec(make(template, "spec"));
    }
}

/// Fills in a pod's spec, in a pod and in a template alike.
pub(crate) fn spec(spec: &mut Value) {
    set_zero(spec, "dnsPolicy", "ClusterFirst");
    set_zero(spec, "restartPolicy", "Always");
    set(spec, "securityContext", Map::new());
    set(spec, "terminationGracePeriodSeconds", 30);
    set_zero(spec, "schedulerName", "default-scheduler");
    if let Some(account) = spec.get("serviceAccountName").filter(|a| a.is_string()).cloned() {
        set_zero(spec, "serviceAccount", account);
    } else if let Some(account) = spec.get("serviceAccount").filter(|a| a.is_string()).cloned() {
        set_zero(spec, "serviceAccountName", account);
    }
    for list in CONTAINER_LISTS {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
    quantities(spec.get_mut("overhead"));
    resources(spec);
}

/// Fills in what only a pod gets, and no template.
pub(crate) fn pod_only(spec: &mut Value) {
    // Of pods alone, and not of templates (`Convert_v1_Pod_To_core_Pod`).
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|n| n < 0) {
        spec["terminationGracePeriodSeconds"] = 1.into();
    }
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers"] {
        for container in each(spec, list) {
            if let Some(resources) = at(container, &["resources"]) {
                requests_from_limits(resources);
            }
            if host_network {
                each(container, "ports").for_each(host_port);
            }
        }
    }
    pod_level_requests(spec);
}

/// A limit without a request is the request too.
fn requests_from_limits(resources: &mut Value) {
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = make(resources, "requests");
    for (name, limit) in limits {
        set(requests, &name, limit);
    }
}

/// Pod-level limits without requests (KEP-2837): what the containers ask for in sum, else the limit.
fn pod_level_requests(spec: &mut Value) {
    let Some(Value::Object(limits)) = spec.pointer("/resources/limits").cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let totals = crate::pod::resources::requests(spec);
    let overcommittable = |name: &str| matches!(name, "cpu" | "memory");
    let Some(resources) = spec.get_mut("resources") else { return };
    let requests = make(resources, "requests");
    for (name, total) in totals.iter().filter(|(name, _)| overcommittable(name)) {
        set(requests, name, total.to_string());
    }
    for (name, limit) in limits {
        set(requests, &name, limit);
    }
}

fn host_port(port: &mut Value) {
    if let Some(n) = port.get("containerPort").cloned() {
        set_zero(port, "hostPort", n);
    }
}

/// Whether a component of an image's repository is well-formed: words of small letters and digits, joined by `.`, `_`,
/// `__` or any number of `-` (`distribution/reference`).
fn is_path_component(text: &str) -> bool {
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let joined = ["..", "___", "._", "_.", ".-", "-.", "_-", "-_"];
    outer(text.chars().next())
        && outer(text.chars().last())
        && text.chars().all(inner)
        && !joined.iter().any(|j| text.contains(j))
}

/// Whether the repository and tag can be those of an image; upstream sees no tag at all where they can't.
fn is_reference(name: &str) -> bool {
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (host, path),
        _ => ("", name),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good_tag = tag.is_none_or(|t| {
        t.len() <= 128 && t.starts_with(word) && t.chars().all(|c| word(c) || matches!(c, '.' | '-'))
    });
    let good_host =
        host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    good_tag && good_host && path.split('/').all(is_path_component)
}

/// Whether the image reference names the tag `latest`, said or implied.
fn is_latest(image: &str) -> bool {
    if !is_reference(image.split_once('@').map_or(image, |(name, _)| name)) {
        return false;
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(n, d)| (n, Some(d)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none() && !name.is_empty(),
    }
}

fn pull_policy(image: &str) -> &'static str {
    if is_latest(image) { "Always" } else { "IfNotPresent" }
}

fn container(container: &mut Value) {
    let policy = pull_policy(text(container, "image"));
    set_zero(container, "imagePullPolicy", policy);
    set_zero(container, "terminationMessagePath", "/dev/termination-log");
    set_zero(container, "terminationMessagePolicy", "File");
    make(container, "resources");
    resources(container);
    each(container, "ports").for_each(|p| set_zero(p, "protocol", "TCP"));
    for env in each(container, "env") {
        if env.get("value") == Some(&json!("")) {
            env.as_object_mut().map(|e| e.remove("value"));
        }
        at(env, &["valueFrom", "fieldRef"]).into_iter().for_each(field_ref);
        at(env, &["valueFrom", "resourceFieldRef"]).into_iter().for_each(resource_field_ref);
        at(env, &["valueFrom", "fileKeyRef"]).into_iter().for_each(|f| set(f, "optional", false));
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        at(container, &[name]).into_iter().for_each(probe);
    }
    for hook in ["postStart", "preStop"] {
        at(container, &["lifecycle", hook, "httpGet"]).into_iter().for_each(http_get);
    }
}

fn resources(holder: &mut Value) {
    if let Some(resources) = at(holder, &["resources"]) {
        quantities(resources.get_mut("limits"));
        quantities(resources.get_mut("requests"));
    }
}

fn probe(probe: &mut Value) {
    set_zero(probe, "timeoutSeconds", 1);
    set_zero(probe, "periodSeconds", 10);
    set_zero(probe, "successThreshold", 1);
    set_zero(probe, "failureThreshold", 3);
    at(probe, &["httpGet"]).into_iter().for_each(http_get);
    at(probe, &["grpc"]).into_iter().for_each(|g| set(g, "service", ""));
}

fn http_get(action: &mut Value) {
    set_zero(action, "path", "/");
    set_zero(action, "scheme", "HTTP");
}

fn field_ref(field: &mut Value) {
    set_zero(field, "apiVersion", "v1");
}

fn resource_field_ref(field: &mut Value) {
    set(field, "divisor", "0");
    field.get_mut("divisor").into_iter().for_each(quantity);
}

fn downward_items(holder: &mut Value) {
    for item in each(holder, "items") {
        at(item, &["fieldRef"]).into_iter().for_each(field_ref);
        at(item, &["resourceFieldRef"]).into_iter().for_each(resource_field_ref);
    }
}

fn volume(volume: &mut Value) {
    let has_source = volume.as_object().is_some_and(|v| v.iter().any(|(k, s)| k != "name" && !s.is_null()));
    if !has_source {
        set(volume, "emptyDir", Map::new());
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        at(volume, &[source]).into_iter().for_each(|s| set(s, "defaultMode", FILE_MODE));
    }
    at(volume, &["downwardAPI"]).into_iter().for_each(downward_items);
    at(volume, &["hostPath"]).into_iter().for_each(|h| set(h, "type", ""));
    volume.pointer_mut("/emptyDir/sizeLimit").into_iter().for_each(quantity);
    if let Some(image) = at(volume, &["image"]) {
        let policy = pull_policy(text(image, "reference"));
        set_zero(image, "pullPolicy", policy);
    }
    if let Some(projected) = at(volume, &["projected"]) {
        each(projected, "sources").for_each(projection);
    }
    if let Some(claim) = at(volume, &["ephemeral", "volumeClaimTemplate"]) {
        make(claim, "metadata");
        claim_spec(make(claim, "spec"));
    }
    network_volume(volume);
}

/// Defaults of the in-tree network volumes, as the API's schema states them.
fn network_volume(volume: &mut Value) {
    at(volume, &["iscsi"]).into_iter().for_each(|v| set_zero(v, "iscsiInterface", "default"));
    if let Some(rbd) = at(volume, &["rbd"]) {
        set_zero(rbd, "pool", "rbd");
        set_zero(rbd, "user", "admin");
        set_zero(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = at(volume, &["azureDisk"]) {
        set(disk, "cachingMode", "ReadWrite");
        set(disk, "fsType", "ext4");
        set(disk, "kind", "Shared");
        set(disk, "readOnly", false);
    }
}

fn projection(source: &mut Value) {
    at(source, &["serviceAccountToken"]).into_iter().for_each(|t| set(t, "expirationSeconds", 3600));
    at(source, &["downwardAPI"]).into_iter().for_each(downward_items);
}

/// Fills in the spec of a claim, also in templates of claims.
pub(crate) fn claim_spec(spec: &mut Value) {
    set(spec, "volumeMode", "Filesystem");
    make(spec, "resources");
    resources(spec);
}
