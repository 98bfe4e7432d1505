//! The nodes with what runs on them: the state that a decision is made from.

use crate::pod::{HostPort, PodInfo};
use crate::resources::{Resources, pod_slots};
use api::MetaExt;
use api::core::v1::{Node, Taint};
use client::Key;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One node.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub slots: i64,
    /// What its pods ask for.
    pub requested: Resources,
    /// CPU (thousandths) and memory (bytes) that its pods count as in comparisons.
    pub scoring: (i64, i64),
    /// Its pods, by namespace and name.
    pub pods: BTreeMap<Key, Arc<PodInfo>>,
    /// Images that are there, with their size in bytes.
    pub images: HashMap<String, i64>,
    /// Whether the node object exists (a pod may be bound to a name before we see the node).
    pub exists: bool,
}

impl NodeInfo {
    fn update(&mut self, node: &Node) {
        let (spec, status) = (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default());
        let allocatable = status.allocatable.or(status.capacity).unwrap_or_default();
        self.name = node.name().to_owned();
        self.labels = node.labels().clone();
        self.taints = spec.taints.unwrap_or_default();
        self.unschedulable = spec.unschedulable.unwrap_or(false);
        self.allocatable = Resources::from_map(&allocatable);
        self.slots = pod_slots(&allocatable);
        let images = status.images.unwrap_or_default();
        let named = images
            .iter()
            .flat_map(|i| i.names.iter().flatten().map(|n| (n.clone(), i.size_bytes.unwrap_or(0))));
        self.images = named.collect();
        self.exists = true;
    }

    /// Adds a pod, or takes it away (−1).
    fn account(&mut self, pod: &PodInfo, times: i64) {
        self.requested.add(&pod.requests, times);
        self.scoring.0 += times * pod.scoring.0;
        self.scoring.1 += times * pod.scoring.1;
    }

    /// A node without one of its pods, as preemption would leave it.
    pub fn without(&self, gone: &[Arc<PodInfo>]) -> Self {
        let mut left = self.clone();
        for pod in gone {
            if left.pods.remove(&pod.key).is_some() {
                left.account(pod, -1);
            }
        }
        left
    }

    /// Whether a port is free.
    pub fn has_free(&self, port: &HostPort) -> bool {
        !self.pods.values().any(|p| p.ports.iter().any(|q| q.collides(port)))
    }
}

/// All nodes, and the labels of all namespaces.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    index: HashMap<String, usize>,
    /// Where each pod is.
    pods: HashMap<Key, usize>,
    /// Labels of namespaces, for affinity that selects namespaces.
    pub namespaces: HashMap<String, BTreeMap<String, String>>,
    /// How many pods keep others away, or are drawn to them: when none does, nobody has to look.
    with_affinity: usize,
}

impl Snapshot {
    /// The nodes that exist.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(|n| n.exists)
    }

    /// A node by name, if it exists.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|i| &self.nodes[*i]).filter(|n| n.exists)
    }

    /// Whether any pod has (anti-)affinity to others.
    pub fn any_affinity(&self) -> bool {
        self.with_affinity > 0
    }

    /// Labels of a namespace; empty if unknown.
    pub fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        self.namespaces.get(namespace).cloned().unwrap_or_default()
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(i) = self.index.get(name) {
            return *i;
        }
        self.nodes.push(NodeInfo { name: name.to_owned(), ..NodeInfo::default() });
        self.index.insert(name.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Adds or changes a node.
    pub fn set_node(&mut self, node: &Node) {
        let i = self.slot(node.name());
        self.nodes[i].update(node);
    }

    /// Forgets a node; its pods stay on the books until they are gone.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(i) = self.index.get(name) {
            self.nodes[*i].exists = false;
        }
    }

    /// Puts a pod onto a node (by a binding that we saw, or one that we are about to make), from wherever it was.
    pub fn put_pod(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.key);
        let i = self.slot(node);
        self.nodes[i].account(&pod, 1);
        self.with_affinity += usize::from(has_affinity(&pod));
        self.pods.insert(pod.key.clone(), i);
        self.nodes[i].pods.insert(pod.key.clone(), pod);
    }

    /// Takes a pod off its node.
    pub fn remove_pod(&mut self, key: &Key) {
        let Some(i) = self.pods.remove(key) else { return };
        if let Some(pod) = self.nodes[i].pods.remove(key) {
            self.nodes[i].account(&pod, -1);
            self.with_affinity -= usize::from(has_affinity(&pod));
        }
    }
}

fn has_affinity(pod: &PodInfo) -> bool {
    let a = &pod.affinity;
    !(a.near.is_empty() && a.apart.is_empty() && a.preferred.is_empty())
}
