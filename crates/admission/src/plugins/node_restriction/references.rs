//! What of the API a pod refers to (`pkg/api/pod/util.go`: HasAPIObjectReference). A mirror pod may refer to
//! nothing, or a node could give itself access by making one.

use crate::json::{at, containers, is_set, items, text};
use serde_json::Value;

/// Volume sources that need nothing from the API.
const FREE: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];
/// Volume sources that do, and what they refer to.
const BOUND: [(&str, &str); 7] = [
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];
const PROJECTED: [(&str, &str); 5] = [
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

/// The first resource that the pod refers to; an error for a volume of a kind that isn't known.
pub(super) fn of_pod(spec: &Value) -> Option<Result<&'static str, String>> {
    let named = |v: &Value, path: &[&str]| !text(v, path).is_empty();
    let env = |key: &str, from: &str| {
        containers(spec).any(|c| {
            items(c, &["env"]).iter().any(|e| named(e, &["valueFrom", key, "name"]))
                || items(c, &["envFrom"]).iter().any(|e| named(e, &[from, "name"]))
        })
    };
    let volumes = items(spec, &["volumes"]);
    let secret_refs = ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"];
    let by_volume = |v: &Value| secret_refs.iter().any(|s| named(v, &[s, "secretRef", "name"]));
    let pulls = items(spec, &["imagePullSecrets"]).iter().any(|s| named(s, &["name"]));
    if named(spec, &["serviceAccountName"]) {
        return Some(Ok("serviceaccounts"));
    }
    if pulls || env("secretKeyRef", "secretRef") || volumes.iter().any(by_volume) {
        return Some(Ok("secrets"));
    }
    if env("configMapKeyRef", "configMapRef") {
        return Some(Ok("configmaps"));
    }
    if !items(spec, &["resourceClaims"]).is_empty() {
        return Some(Ok("resourceclaims"));
    }
    volumes.iter().find_map(of_volume)
}

fn of_volume(volume: &Value) -> Option<Result<&'static str, String>> {
    let name = text(volume, &["name"]);
    if FREE.iter().any(|source| is_set(volume, &[source])) {
        return None;
    }
    if let Some((_, what)) = BOUND.iter().find(|(source, _)| is_set(volume, &[source])) {
        return Some(Ok(what));
    }
    if at(volume, &["projected"]).is_null() {
        return Some(Err(format!("unknown volume type for volume  {name:?}")));
    }
    items(volume, &["projected", "sources"]).iter().find_map(|source| {
        match PROJECTED.iter().find(|(key, _)| is_set(source, &[key])) {
            Some((_, what)) => Some(Ok(*what)),
            None if is_set(source, &["downwardAPI"]) => None,
            None => Some(Err(format!("unknown source for projected volume {name:?}"))),
        }
    })
}
