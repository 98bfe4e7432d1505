//! What is allowed but most likely not meant (`pkg/api/pod/warnings.go`, `pkg/api/node/util.go`).

use super::at::At;
use crate::pod::defaults::CONTAINER_LISTS;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{FieldPath, Object};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Labels of nodes that have other names by now: old, since, new.
const OLD_LABELS: [(&str, &str, &str); 6] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("node-role.kubernetes.io/master", "", "node-role.kubernetes.io/control-plane"),
];
/// Volumes that nothing mounts any more: field, and what to say.
const OLD_VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const NO_POD: &str = "a null labelSelector results in matching no pod";

/// Warnings for a new pod; updates are frequent and not by people.
pub(crate) fn pod(new: &Object, old: Option<&Object>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let rule = meta::names::dns1123_label(&new.metadata.name);
    if !rule.is_empty() {
        let text = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
                    recommended";
        out.push(format!("metadata.name: {text}: [{}]", rule.join(" ")));
    }
    spec(&At::top(new, "spec"), &mut out);
    out
}

/// Warnings for what runs pods from `spec.template`.
pub(crate) fn workload(new: &Object, old: Option<&Object>) -> Vec<String> {
    of_template(new, old, &["spec", "template"])
}

/// Warnings for what makes jobs from `spec.jobTemplate`.
pub(crate) fn cron_job(new: &Object, old: Option<&Object>) -> Vec<String> {
    of_template(new, old, &["spec", "jobTemplate", "spec", "template"])
}

fn of_template(new: &Object, old: Option<&Object>, path: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    let rule = meta::names::dns1123_label(&new.metadata.name);
    if old.is_none() && names_pods(new) && !rule.is_empty() {
        let text = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
                    recommended";
        out.push(format!("metadata.name: {text}: [{}]", rule.join(" ")));
    }
    let Some(template) = new.get(path).filter(|t| old.and_then(|o| o.get(path)) != Some(t)) else {
        return out;
    };
    spec(&At::new(template, FieldPath::new(&path.join("."))).get("spec"), &mut out);
    out
}

/// The kinds whose names upstream looks at because pods get theirs from them.
fn names_pods(o: &Object) -> bool {
    matches!(o.kind.as_str(), "CronJob" | "Deployment" | "Job" | "ReplicaSet" | "ReplicationController")
}

/// What a StatefulSet is warned of beside its template.
pub(crate) fn stateful_set(new: &Object, old: Option<&Object>) -> Vec<String> {
    let mut out = workload(new, old);
    let limit = At::top(new, "spec").get("revisionHistoryLimit");
    if limit.int().is_some_and(|n| n < 0) {
        let text = "a negative value retains all historical revisions; a value >= 0 is recommended";
        say(&limit, text, &mut out);
    }
    out
}

/// What a Job is warned of beside its template.
pub(crate) fn job(new: &Object, old: Option<&Object>) -> Vec<String> {
    let mut out = workload(new, old);
    let spec = At::top(new, "spec");
    let count = |key| spec.get(key).int().unwrap_or(0);
    if spec.get("completionMode").str() == "Indexed"
        && count("completions") > 100_000
        && count("parallelism") > 10_000
    {
        let text = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
                    Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
        out.push(format!("spec: {text}"));
    }
    out
}

/// What a Service is warned of (`pkg/api/service/warnings.go`).
pub(crate) fn service(new: &Object, old: Option<&Object>) -> Vec<String> {
    let mut out = Vec::new();
    let spec = At::top(new, "spec");
    let mut say = |text: &str| out.push(text.to_owned());
    let (kind, external) = (spec.get("type").str(), !spec.get("externalIPs").is_empty());
    let headless = kind == "ClusterIP" && spec.get("clusterIP").str() == "None";
    if new.metadata.annotations.contains_key("service.kubernetes.io/topology-aware-hints") {
        say("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
             service.kubernetes.io/topology-mode instead");
    }
    if headless {
        if !spec.get("loadBalancerIP").is_empty() {
            say("spec.loadBalancerIP is ignored for headless services");
        }
        if external {
            say("spec.externalIPs is ignored for headless services");
        }
        if spec.get("sessionAffinity").str() == "ClientIP" {
            say("spec.SessionAffinity is ignored for headless services");
        }
    }
    let had = old.is_some_and(|o| !At::top(o, "spec").get("externalIPs").is_empty());
    if external && !headless && kind != "ExternalName" && !had {
        say("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if external && kind == "ExternalName" {
        say("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if kind != "ExternalName" && !spec.get("externalName").is_empty() {
        say("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if spec.get("trafficDistribution").str() == "PreferClose" {
        say("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
    out
}

/// Annotations of volumes and claims that are fields by now: name, since, field.
const OLD_VOLUME_ANNOTATIONS: [(&str, &str, &str); 2] = [
    ("volume.beta.kubernetes.io/storage-class", "v1.8", "storageClassName"),
    ("volume.beta.kubernetes.io/mount-options", "v1.31", "mountOptions"),
];

fn old_annotations(o: &Object, known: &[(&str, &str, &str)], out: &mut Vec<String>) {
    for (key, since, field) in known.iter().filter(|(key, ..)| o.metadata.annotations.contains_key(*key)) {
        let text = format!("deprecated since {since}; use {field:?} attribute instead");
        out.push(format!("metadata.annotations[{key}]: {text}"));
    }
}

/// Amounts of bytes that aren't whole.
fn fractional(resources: &At<'_>, names: &[&str], lists: [&'static str; 2], out: &mut Vec<String>) {
    for (wanted, list) in names.iter().flat_map(|name| lists.map(|list| (name, list))) {
        for (name, at) in resources.get(list).entries().filter(|(name, _)| name == wanted) {
            if at.quantity().is_some_and(|q| q.milli_value() % 1000 != 0) {
                let text = format!("fractional byte value {:?} is invalid, must be an integer", at.str());
                out.push(format!("{}[{name}]: {text}", resources.path().child(list)));
            }
        }
    }
}

/// What a PersistentVolumeClaim is warned of (`pkg/api/persistentvolumeclaim/util.go`).
pub(crate) fn claim(new: &Object, _: Option<&Object>) -> Vec<String> {
    let mut out = Vec::new();
    old_annotations(new, &OLD_VOLUME_ANNOTATIONS[..1], &mut out);
    fractional(&At::top(new, "spec").get("resources"), &["storage"], ["requests", "limits"], &mut out);
    out
}

/// What a Secret of TLS is warned of: certificate or key is none (`pkg/registry/core/secret/strategy.go`; the words are
/// Go's `crypto/tls`).
pub(crate) fn secret(new: &Object, _: Option<&Object>) -> Vec<String> {
    if new.str(&["type"]) != "kubernetes.io/tls" {
        return Vec::new();
    }
    let has_pem = |key| {
        let data = STANDARD.decode(new.str(&["data", key])).unwrap_or_default();
        String::from_utf8_lossy(&data).contains("-----BEGIN ")
    };
    let parts = [("tls.crt", "certificate"), ("tls.key", "key")];
    let missing = parts.iter().find(|(key, _)| !has_pem(key));
    missing.map(|(_, what)| format!("tls: failed to find any PEM data in {what} input")).into_iter().collect()
}

/// What a StorageClass is warned of (`pkg/api/storage/util.go`).
pub(crate) fn storage_class(new: &Object, _: Option<&Object>) -> Vec<String> {
    let mut out = Vec::new();
    for term in At::top(new, "allowedTopologies").items() {
        for key in term.get("matchLabelExpressions").items().map(|e| e.get("key")) {
            old_label(key.str()).into_iter().for_each(|text| say(&key, text, &mut out));
        }
    }
    out
}

/// Requirements of a node selector's term on labels that have other names by now; `values` that can't be labels'.
fn node_term(term: &At<'_>, values: bool, out: &mut Vec<String>) {
    for expression in term.get("matchExpressions").items() {
        let key = expression.get("key");
        old_label(key.str()).into_iter().for_each(|t| say(&key, format!("{} is {t}", key.str()), out));
        for value in expression.get("values").items().filter(|_| values) {
            for why in meta::names::label_value(value.str()) {
                say(&value, format!("{} is invalid, {why}", value.str()), out);
            }
        }
    }
}

/// What a PersistentVolume is warned of (`pkg/api/persistentvolume/util.go`).
pub(crate) fn persistent_volume(new: &Object, _: Option<&Object>) -> Vec<String> {
    let mut out = Vec::new();
    old_annotations(new, &OLD_VOLUME_ANNOTATIONS, &mut out);
    let spec = At::top(new, "spec");
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if policy.str() == "Recycle" {
        let text = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
                    provisioning.";
        say(&policy, text, &mut out);
    }
    let terms = spec.get("nodeAffinity").get("required").get("nodeSelectorTerms");
    terms.items().for_each(|term| node_term(&term, false, &mut out));
    old_volumes(&spec, &mut out);
    out
}

/// Volume types that nothing mounts any more.
fn old_volumes(holder: &At<'_>, out: &mut Vec<String>) {
    for (key, text) in OLD_VOLUMES.iter().filter(|(key, _)| holder.get(key).is_set()) {
        // One of them is spelt otherwise in upstream's warning.
        let shown = if *key == "storageos" { "storageOS" } else { key };
        out.push(format!("{}: {text}", holder.path().child(shown)));
    }
}

/// What a CustomResourceDefinition is warned of (`apiextensions-apiserver/pkg/registry/customresourcedefinition`): formats
/// that nothing checks, unless they were there before.
pub(crate) fn definition(new: &Object, old: Option<&Object>) -> Vec<String> {
    let known = old.map(unknown_formats).unwrap_or_default();
    let unknown = unknown_formats(new);
    unknown.iter().filter(|f| !known.contains(*f)).map(|f| format!("unrecognized format {f:?}")).collect()
}

fn unknown_formats(o: &Object) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for version in At::top(o, "spec").get("versions").items() {
        formats_in(version.get("schema").get("openAPIV3Schema").value(), &mut found);
    }
    found
}

fn formats_in(schema: &Value, found: &mut BTreeSet<String>) {
    let Value::Object(map) = schema else { return };
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    let (ty, format) = (text("type"), text("format"));
    let known = match ty {
        "" | "string" => schema::is_known_format(format),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    };
    if !format.is_empty() && !known {
        found.insert(format.to_owned());
    }
    for key in ["properties", "patternProperties", "definitions"] {
        let below = map.get(key).and_then(Value::as_object).into_iter().flatten();
        below.for_each(|(_, schema)| formats_in(schema, found));
    }
    for key in ["items", "additionalProperties", "additionalItems", "not"] {
        map.get(key).into_iter().for_each(|schema| formats_in(schema, found));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let below = map.get(key).and_then(Value::as_array).into_iter().flatten();
        below.for_each(|schema| formats_in(schema, found));
    }
}

fn say(at: &At<'_>, text: impl std::fmt::Display, out: &mut Vec<String>) {
    out.push(format!("{}: {text}", at.path()));
}

fn old_label(key: &str) -> Option<String> {
    let (_, since, new) = OLD_LABELS.iter().find(|(old, ..)| *old == key)?;
    let since = if since.is_empty() { String::new() } else { format!("deprecated since {since}; ") };
    Some(format!("{since}use {new:?} instead"))
}

fn spec(spec: &At<'_>, out: &mut Vec<String>) {
    for (key, at) in spec.get("nodeSelector").entries() {
        old_label(key).into_iter().for_each(|text| say(&at, text, out));
    }
    let affinity = spec.get("affinity").get("nodeAffinity");
    let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution").get("nodeSelectorTerms");
    required.items().for_each(|term| node_term(&term, false, out));
    for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        node_term(&term.get("preference"), true, out);
    }
    for constraint in spec.get("topologySpreadConstraints").items() {
        let key = constraint.get("topologyKey");
        old_label(key.str()).into_iter().for_each(|text| say(&key, format!("{} is {text}", key.str()), out));
        null_selector(&constraint, out);
    }
    for volume in spec.get("volumes").items() {
        old_volumes(&volume, out);
        let ephemeral = volume.get("ephemeral").get("volumeClaimTemplate").get("spec");
        fractional(&ephemeral.get("resources"), &["storage"], ["requests", "limits"], out);
        projected(&volume, out);
    }
    repeated(&spec.get("hostAliases"), "ip", "ip", out);
    for name in spec.get("imagePullSecrets").items().map(|secret| secret.get("name")) {
        if name.is_empty() {
            say(&name, "invalid empty name \"\"", out);
        }
    }
    repeated(&spec.get("imagePullSecrets"), "name", "name", out);
    let containers: Vec<At<'_>> = CONTAINER_LISTS.iter().flat_map(|list| spec.get(list).items()).collect();
    containers.iter().for_each(|c| container(c, out));
    ports(&containers, out);
    if spec.get("terminationGracePeriodSeconds").int().is_some_and(|n| n < 0) {
        let text = "must be >= 0; negative values are invalid and will be treated as 1";
        say(&spec.get("terminationGracePeriodSeconds"), text, out);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.get("affinity").get(kind);
        let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution");
        required.items().for_each(|term| null_selector(&term, out));
        let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution");
        preferred.items().for_each(|term| null_selector(&term.get("podAffinityTerm"), out));
    }
}

/// Files of a projected volume that hide each other.
fn projected(volume: &At<'_>, out: &mut Vec<String>) {
    let (at, name) = (volume.get("projected"), volume.get("name").str());
    if !at.is_set() {
        return;
    }
    if at.get("sources").is_empty() {
        out.push(format!("volume {name:?} (Projected) has no sources provided"));
    }
    let mut files: Vec<(String, String)> = Vec::new();
    for source in at.get("sources").items() {
        for (path, what) in projected_files(&source) {
            let inside = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
            for (other, by) in files.iter().filter(|(p, _)| inside(p, &path) || inside(&path, p)) {
                out.push(format!(
                    "volume {name:?} (Projected): overlapping paths: {path:?} ({what}) with {other:?} ({by})"
                ));
            }
            files.push((path, what));
        }
    }
}

fn projected_files(source: &At<'_>) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (key, what) in [("secret", "Secret"), ("configMap", "ConfigMap")] {
        let named = format!("{what} {:?}", source.get(key).get("name").str());
        files.extend(
            source.get(key).get("items").items().map(|i| (i.get("path").str().to_owned(), named.clone())),
        );
    }
    let downward = source.get("downwardAPI").get("items");
    files.extend(downward.items().map(|i| (i.get("path").str().to_owned(), "DownwardAPI".to_owned())));
    for (key, what) in
        [("serviceAccountToken", "ServiceAccountToken"), ("clusterTrustBundle", "ClusterTrustBundle")]
    {
        let path = source.get(key).get("path");
        files.extend((!path.is_empty()).then(|| (path.str().to_owned(), what.to_owned())));
    }
    files
}

fn null_selector(term: &At<'_>, out: &mut Vec<String>) {
    if !term.get("labelSelector").is_set() {
        say(&term.get("labelSelector"), NO_POD, out);
    }
}

fn repeated(list: &At<'_>, key: &'static str, what: &str, out: &mut Vec<String>) {
    let mut seen = super::at::Unique::default();
    for at in list.items().map(|item| item.get(key)) {
        if seen.has(at.str()) && !at.is_empty() {
            say(&at, format!("duplicate {what} {:?}", at.str()), out);
        }
    }
}

fn container(container: &At<'_>, out: &mut Vec<String>) {
    fractional(&container.get("resources"), &["memory", "ephemeral-storage"], ["limits", "requests"], out);
    let mut seen = super::at::Unique::default();
    for env in container.get("env").items() {
        let (name, value) = (env.get("name").str(), env.get("value").str());
        let reference = format!("$({name})");
        let extends = !env.get("valueFrom").is_set() && value != reference && value.contains(&reference);
        if seen.has(name) && !extends {
            let text =
                format!("hides previous definition of {name:?}, which may be dropped when using apply");
            say(&env, text, out);
        }
    }
}

fn ports(containers: &[At<'_>], out: &mut Vec<String>) {
    let mut by_number: BTreeMap<String, Vec<At<'_>>> = BTreeMap::new();
    let mut by_name: BTreeMap<&str, At<'_>> = BTreeMap::new();
    for port in containers.iter().flat_map(|c| c.get("ports").items()) {
        let host = |p: &At<'_>| (p.get("hostIP").str().to_owned(), p.get("hostPort").int().unwrap_or(0));
        let number = port.get("containerPort").int().unwrap_or(0);
        let others = by_number.entry(format!("{number}/{}", port.get("protocol").str())).or_default();
        for other in others.iter() {
            let ((ip, own), (other_ip, theirs)) = (host(&port), host(other));
            let what = match () {
                () if (&ip, own) == (&other_ip, theirs) => "duplicate",
                () if own == 0 || theirs == 0 => "overlapping",
                () if own == theirs && ip.is_empty() != other_ip.is_empty() => "dangerously ambiguous",
                () => continue,
            };
            say(&port, format!("{what} port definition with {}", other.path()), out);
        }
        others.push(port.clone());
        let name = port.get("name").str();
        match by_name.get(name) {
            Some(first) if !name.is_empty() => {
                let first = first.path();
                let text = format!(
                    "duplicate port name {name:?} with {first}, services and probes that select ports by name will \
                     use {first}"
                );
                say(&port, text, out);
            }
            _ => drop(by_name.insert(name, port)),
        }
    }
}
