//! A pod as the scheduler sees it: what doesn't change while it waits is worked out once.

use crate::resources::{Resources, pod_requests, pod_requests_for_scoring};
use crate::terms::PodTerm;
use api::MetaExt;
use api::core::v1::{Container, Pod, PodAffinityTerm, PodSpec, Toleration, WeightedPodAffinityTerm};
use client::Key;
use std::sync::{Arc, LazyLock};

/// A port on the node itself that a pod wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub ip: String,
    /// Protocol.
    pub protocol: String,
    /// Port.
    pub port: i32,
}

impl HostPort {
    /// Whether both can't be had at once.
    pub fn collides(&self, other: &Self) -> bool {
        let any = |ip: &str| ip == "0.0.0.0" || ip.is_empty();
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// Terms of affinity of one pod.
#[derive(Clone, Debug, Default)]
pub struct Affinity {
    /// Pods that must be near.
    pub near: Vec<PodTerm>,
    /// Pods that must not be near.
    pub apart: Vec<PodTerm>,
    /// Pods that should (positive weight) or should not be near.
    pub preferred: Vec<PodTerm>,
}

/// A pod and what the scheduler worked out of it.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Namespace and name.
    pub key: Key,
    /// What it asks for.
    pub requests: Resources,
    /// CPU (thousandths) and memory (bytes) that it counts as in comparisons.
    pub scoring: (i64, i64),
    /// Ports on the node.
    pub ports: Vec<HostPort>,
    /// Affinity to other pods.
    pub affinity: Affinity,
}

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

impl PodInfo {
    /// Works a pod out.
    pub fn new(pod: Arc<Pod>) -> Self {
        Self {
            key: Key::new(pod.namespace(), pod.name()),
            requests: pod_requests(&pod),
            scoring: pod_requests_for_scoring(&pod),
            ports: host_ports(&pod),
            affinity: affinity(&pod),
            pod,
        }
    }

    /// The pod's spec.
    pub fn spec(&self) -> &PodSpec {
        self.pod.spec.as_ref().unwrap_or(&NO_SPEC)
    }

    /// `spec.priority`.
    pub fn priority(&self) -> i32 {
        self.spec().priority.unwrap_or(0)
    }

    /// The node that the pod is bound to; empty while it has none.
    pub fn node(&self) -> &str {
        self.spec().node_name.as_deref().unwrap_or_default()
    }

    /// `spec.tolerations`.
    pub fn tolerations(&self) -> &[Toleration] {
        self.spec().tolerations.as_deref().unwrap_or_default()
    }

    /// Whether the pod came to its end and holds nothing any more.
    pub fn is_terminal(&self) -> bool {
        is_terminal(&self.pod)
    }
}

/// Whether a pod came to its end (`Succeeded` or `Failed`).
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let all = spec.containers.iter().chain(sidecars);
    let of = |c: &Container| c.ports.clone().unwrap_or_default();
    let wanted = all.flat_map(of).filter_map(|p| {
        let port = p.host_port.filter(|p| *p > 0)?;
        let ip = p.host_ip.filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
        Some(HostPort { ip, protocol: p.protocol.unwrap_or_else(|| "TCP".into()), port })
    });
    wanted.collect()
}

fn affinity(pod: &Pod) -> Affinity {
    let Some(a) = pod.spec.as_ref().and_then(|s| s.affinity.as_ref()) else { return Affinity::default() };
    let (namespace, labels) = (pod.namespace(), pod.labels());
    let hard = |terms: Option<&Vec<PodAffinityTerm>>| {
        terms.into_iter().flatten().map(|t| PodTerm::new(t, namespace, labels, 0)).collect()
    };
    let soft = |terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i64| {
        let each = terms.into_iter().flatten();
        each.map(|t| PodTerm::new(&t.pod_affinity_term, namespace, labels, sign * i64::from(t.weight)))
            .collect::<Vec<_>>()
    };
    let (near, apart) = (a.pod_affinity.as_ref(), a.pod_anti_affinity.as_ref());
    let mut preferred =
        soft(near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()), 1);
    preferred.extend(soft(
        apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
        -1,
    ));
    Affinity {
        near: hard(near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
        apart: hard(apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
        preferred,
    }
}

/// The names of the claims that a pod mounts, its ephemeral volumes' included.
pub fn claim_names(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name(), v.name)),
        (None, None) => None,
    })
}
