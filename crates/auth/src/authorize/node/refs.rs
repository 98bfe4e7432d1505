//! What a pod, or a volume, lets the agent of its node read (`pkg/api/v1/pod/util.go`: VisitPodSecretNames,
//! VisitPodConfigmapNames; `pkg/volume/util`: VisitPVSecretNames).

use meta::Object;
use serde_json::Value;
use std::collections::BTreeSet;

/// A kind of object that nodes reach through their pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum RefKind {
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    ResourceClaim,
}

/// An object that a pod refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ref {
    pub(super) kind: RefKind,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Volume sources and the path to the name of the secret in each.
const SECRET_SOURCES: [(&str, &[&str]); 10] = [
    ("secret", &["secretName"]),
    ("azureFile", &["secretName"]),
    ("cephfs", &["secretRef", "name"]),
    ("cinder", &["secretRef", "name"]),
    ("flexVolume", &["secretRef", "name"]),
    ("rbd", &["secretRef", "name"]),
    ("scaleIO", &["secretRef", "name"]),
    ("iscsi", &["secretRef", "name"]),
    ("storageos", &["secretRef", "name"]),
    ("csi", &["nodePublishSecretRef", "name"]),
];

fn dig<'a>(v: &'a Value, path: &[&str]) -> &'a str {
    path.iter().try_fold(v, |v, step| v.get(step)).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Everything that `pod` refers to. A mirror pod refers to nothing: a node must never gain access to an
/// object by creating a pod.
pub(super) fn of_pod(pod: &Object) -> BTreeSet<Ref> {
    let mut found = BTreeSet::new();
    if pod.metadata.annotations.contains_key("kubernetes.io/config.mirror") {
        return found;
    }
    let Some(spec) = pod.body.get("spec") else { return found };
    let mut add = |kind, name: &str| {
        if !name.is_empty() {
            let namespace = pod.metadata.namespace.clone();
            found.insert(Ref { kind, namespace, name: name.to_owned() });
        }
    };
    add(RefKind::ServiceAccount, dig(spec, &["serviceAccountName"]));
    for secret in items(spec, "imagePullSecrets") {
        add(RefKind::Secret, dig(secret, &["name"]));
    }
    for containers in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, containers) {
            of_container(container, &mut add);
        }
    }
    for volume in items(spec, "volumes") {
        of_volume(volume, &pod.metadata.name, &mut add);
    }
    let generated = pod.get(&["status", "resourceClaimStatuses"]).and_then(Value::as_array);
    for claim in generated.into_iter().flatten() {
        add(RefKind::ResourceClaim, dig(claim, &["resourceClaimName"]));
    }
    for claim in items(spec, "resourceClaims") {
        add(RefKind::ResourceClaim, dig(claim, &["resourceClaimName"]));
    }
    add(RefKind::ResourceClaim, pod.str(&["status", "extendedResourceClaimStatus", "resourceClaimName"]));
    found
}

fn of_container(container: &Value, add: &mut impl FnMut(RefKind, &str)) {
    for from in items(container, "envFrom") {
        add(RefKind::Secret, dig(from, &["secretRef", "name"]));
        add(RefKind::ConfigMap, dig(from, &["configMapRef", "name"]));
    }
    for env in items(container, "env") {
        add(RefKind::Secret, dig(env, &["valueFrom", "secretKeyRef", "name"]));
        add(RefKind::ConfigMap, dig(env, &["valueFrom", "configMapKeyRef", "name"]));
    }
}

fn of_volume(volume: &Value, pod: &str, add: &mut impl FnMut(RefKind, &str)) {
    for (source, path) in SECRET_SOURCES {
        if let Some(source) = volume.get(source) {
            add(RefKind::Secret, dig(source, path));
        }
    }
    add(RefKind::ConfigMap, dig(volume, &["configMap", "name"]));
    add(RefKind::Claim, dig(volume, &["persistentVolumeClaim", "claimName"]));
    if volume.get("ephemeral").is_some_and(|e| !e.is_null()) {
        add(RefKind::Claim, &format!("{pod}-{}", dig(volume, &["name"])));
    }
    for source in volume.get("projected").map(|p| items(p, "sources")).unwrap_or_default() {
        add(RefKind::Secret, dig(source, &["secret", "name"]));
        add(RefKind::ConfigMap, dig(source, &["configMap", "name"]));
    }
}

/// The claim that a volume is bound to, and the secrets that its node needs to mount it.
pub(super) fn of_volume_object(pv: &Object) -> Option<(Ref, BTreeSet<Ref>)> {
    let name = pv.str(&["spec", "claimRef", "name"]);
    let namespace = pv.str(&["spec", "claimRef", "namespace"]);
    if name.is_empty() {
        return None;
    }
    let spec = pv.body.get("spec")?;
    let claim = Ref { kind: RefKind::Claim, namespace: namespace.to_owned(), name: name.to_owned() };
    let mut secrets = BTreeSet::new();
    let sources = SECRET_SOURCES.into_iter().chain([
        ("csi", ["nodeStageSecretRef", "name"].as_slice()),
        ("csi", ["nodeExpandSecretRef", "name"].as_slice()),
    ]);
    for (source, path) in sources {
        let Some(source) = spec.get(source) else { continue };
        let secret = dig(source, path);
        // The reference may name a namespace of its own; without one it is the claim's.
        let own = match path {
            [reference, _] => dig(source, &[reference, "namespace"]),
            _ => dig(source, &["secretNamespace"]),
        };
        if !secret.is_empty() {
            let namespace = if own.is_empty() { namespace } else { own }.to_owned();
            secrets.insert(Ref { kind: RefKind::Secret, namespace, name: secret.to_owned() });
        }
    }
    Some((claim, secrets))
}
