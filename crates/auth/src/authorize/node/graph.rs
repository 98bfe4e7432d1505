//! Which node reaches which object through its pods (`plugin/pkg/auth/authorizer/node/graph.go`), as counts
//! and not as a graph: pods are the only thing between nodes and most objects.

use super::refs::{Ref, RefKind, of_pod, of_volume_object};
use meta::Object;
use std::collections::{BTreeSet, HashMap};

#[derive(Debug)]
struct PodEntry {
    uid: String,
    node: String,
    ephemeral_containers: usize,
    refs: BTreeSet<Ref>,
}

/// What the node authorizer knows of pods, volumes, attachments and slices.
#[derive(Debug, Default)]
pub struct Graph {
    /// By namespace and name.
    pods: HashMap<(String, String), PodEntry>,
    /// For each object: the nodes that reach it, with the number of pods through which they do.
    reach: HashMap<Ref, HashMap<String, usize>>,
    /// Bound volumes: the claim, and the secrets.
    volumes: HashMap<String, (Ref, BTreeSet<Ref>)>,
    /// For each secret the volumes that need it.
    volume_secrets: HashMap<Ref, BTreeSet<String>>,
    /// Node of each VolumeAttachment.
    attachments: HashMap<String, String>,
    /// Node of each ResourceSlice.
    slices: HashMap<String, String>,
}

impl Graph {
    /// Takes in an object; ignores resources that don't matter.
    pub fn put(&mut self, group: &str, resource: &str, object: &Object) {
        let name = &object.metadata.name;
        match (group, resource) {
            ("", "pods") => self.put_pod(object),
            ("", "persistentvolumes") => self.put_volume(name, of_volume_object(object)),
            ("storage.k8s.io", "volumeattachments") => {
                self.attachments.insert(name.clone(), object.str(&["spec", "nodeName"]).to_owned());
            }
            ("resource.k8s.io", "resourceslices") => {
                self.slices.insert(name.clone(), object.str(&["spec", "nodeName"]).to_owned());
            }
            _ => {}
        }
    }

    /// Forgets an object.
    pub fn delete(&mut self, group: &str, resource: &str, namespace: &str, name: &str) {
        match (group, resource) {
            ("", "pods") => self.delete_pod(&(namespace.to_owned(), name.to_owned())),
            ("", "persistentvolumes") => self.put_volume(name, None),
            ("storage.k8s.io", "volumeattachments") => drop(self.attachments.remove(name)),
            ("resource.k8s.io", "resourceslices") => drop(self.slices.remove(name)),
            _ => {}
        }
    }

    fn put_pod(&mut self, pod: &Object) {
        let node = pod.str(&["spec", "nodeName"]);
        if node.is_empty() {
            return;
        }
        let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        let ephemeral =
            pod.get(&["spec", "ephemeralContainers"]).and_then(|v| v.as_array()).map_or(0, Vec::len);
        let claims = pod.get(&["status", "resourceClaimStatuses"]).is_some()
            || pod.get(&["status", "extendedResourceClaimStatus"]).is_some();
        // Almost every change of a bound pod is one of its status, and leaves its references alone.
        let same = self.pods.get(&key).is_some_and(|old| {
            old.uid == pod.metadata.uid && old.node == node && old.ephemeral_containers == ephemeral
        });
        if same && !claims {
            return;
        }
        self.delete_pod(&key);
        let refs = of_pod(pod);
        for r in &refs {
            *self.reach.entry(r.clone()).or_default().entry(node.to_owned()).or_default() += 1;
        }
        let (uid, node) = (pod.metadata.uid.clone(), node.to_owned());
        self.pods.insert(key, PodEntry { uid, node, ephemeral_containers: ephemeral, refs });
    }

    fn delete_pod(&mut self, key: &(String, String)) {
        let Some(pod) = self.pods.remove(key) else { return };
        for r in &pod.refs {
            let Some(nodes) = self.reach.get_mut(r) else { continue };
            if let Some(count) = nodes.get_mut(&pod.node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&pod.node);
                }
            }
            if nodes.is_empty() {
                self.reach.remove(r);
            }
        }
    }

    fn put_volume(&mut self, name: &str, bound: Option<(Ref, BTreeSet<Ref>)>) {
        if let Some((_, secrets)) = self.volumes.remove(name) {
            for secret in &secrets {
                if let Some(volumes) = self.volume_secrets.get_mut(secret) {
                    volumes.remove(name);
                }
            }
            self.volume_secrets.retain(|_, volumes| !volumes.is_empty());
        }
        if let Some((claim, secrets)) = bound {
            for secret in &secrets {
                self.volume_secrets.entry(secret.clone()).or_default().insert(name.to_owned());
            }
            self.volumes.insert(name.to_owned(), (claim, secrets));
        }
    }

    /// Whether one of the node's pods refers to the object, directly or (a secret) through a bound volume.
    pub(super) fn reaches(&self, node: &str, kind: RefKind, namespace: &str, name: &str) -> bool {
        let r = Ref { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        let direct = |r: &Ref| self.reach.get(r).is_some_and(|nodes| nodes.contains_key(node));
        direct(&r)
            || (kind == RefKind::Secret
                && self
                    .volume_secrets
                    .get(&r)
                    .is_some_and(|vs| vs.iter().any(|v| self.reaches_volume(node, v))))
    }

    /// Whether one of the node's pods uses the claim to which the volume is bound.
    pub(super) fn reaches_volume(&self, node: &str, name: &str) -> bool {
        let claim = self.volumes.get(name).map(|(claim, _)| claim);
        claim.is_some_and(|c| self.reach.get(c).is_some_and(|nodes| nodes.contains_key(node)))
    }

    /// Whether the pod is bound to the node.
    pub(super) fn has_pod(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.pods.get(&(namespace.to_owned(), name.to_owned())).is_some_and(|p| p.node == node)
    }

    /// Whether the VolumeAttachment is for the node.
    pub(super) fn has_attachment(&self, node: &str, name: &str) -> bool {
        self.attachments.get(name).is_some_and(|n| n == node)
    }

    /// Whether the ResourceSlice is the node's.
    pub(super) fn has_slice(&self, node: &str, name: &str) -> bool {
        self.slices.get(name).is_some_and(|n| n == node)
    }
}
