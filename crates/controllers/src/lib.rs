//! The controllers: one file each, each a pure plan. No sockets, no clock, no store.

pub mod certificates;
mod claim_protection;
mod claims;
mod class_protection;
mod cronjob;
mod daemonset;
mod default_class;
mod deployment;
mod disruption;
mod endpoints;
mod ephemeral_volume;
mod gc;
mod history;
mod job;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod ownership;
mod placement;
mod pod_gc;
mod pods;
mod quota;
mod replicaset;
mod replication;
mod role_aggregation;
mod root_ca;
#[cfg(test)]
mod scene;
mod serviceaccount;
mod stale_disruption;
mod statefulset;
mod taint_eviction;
mod templates;
mod ttl;
mod volume_protection;
mod volumes;

pub(crate) use api::selectors;
pub use volumes::removal::{
    ANNOTATION_PLACE as ANNOTATION_VOLUMES_DIR, ANNOTATION_REMOVED as ANNOTATION_VOLUMES_REMOVED,
    ANNOTATION_TO_REMOVE as ANNOTATION_VOLUMES_TO_REMOVE,
};

use jiff::Timestamp;
use reconcile::Controller;

/// What controllers need to be told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The time at which they start.
    pub started: Timestamp,
    /// PEM of the authority that signs the API server's certificate, for pods to trust it.
    pub root_ca_pem: String,
    /// Addresses of pods: one range, or an IPv4 and an IPv6 one with a comma between; empty: nodes bring their
    /// own.
    pub cluster_cidr: String,
    /// Addresses among those that no node gets.
    pub kept_cidr: String,
    /// Where nodes that don't say keep the directories of volumes that the built-in provisioner makes; empty: they have no
    /// place for them.
    pub volumes_dir: String,
}

/// Every controller; one line each.
pub fn all(config: &Config) -> Vec<Box<dyn Controller>> {
    let started = config.started;
    vec![
        Box::new(certificates::RequestCleaner),
        Box::new(claim_protection::ClaimProtection),
        Box::new(class_protection::ClassProtection),
        Box::new(cronjob::CronJobs),
        Box::new(daemonset::DaemonSets),
        Box::new(default_class::DefaultClass { enabled: !config.volumes_dir.is_empty() }),
        Box::new(deployment::Deployments),
        Box::new(disruption::DisruptionBudgets),
        Box::new(stale_disruption::StaleDisruptions),
        Box::new(endpoints::EndpointSlices),
        Box::new(endpoints::EndpointsObjects),
        Box::new(endpoints::EndpointSliceMirror),
        Box::new(ephemeral_volume::EphemeralVolumes),
        Box::new(gc::GarbageCollector),
        Box::new(job::Jobs),
        Box::new(namespace::Namespaces),
        Box::new(node_ipam::NodeIpam::new(&config.cluster_cidr, &config.kept_cidr)),
        Box::new(node_lifecycle::NodeLifecycle { started }),
        Box::new(pod_gc::PodGc),
        Box::new(quota::ResourceQuotas),
        Box::new(replicaset::ReplicaSets),
        Box::new(replication::ReplicationControllers),
        Box::new(role_aggregation::RoleAggregation),
        Box::new(root_ca::RootCaPublisher { pem: config.root_ca_pem.clone() }),
        Box::new(serviceaccount::ServiceAccounts),
        Box::new(statefulset::StatefulSets),
        Box::new(taint_eviction::TaintEviction),
        Box::new(ttl::TtlAfterFinished),
        Box::new(volume_protection::VolumeProtection),
        Box::new(volumes::removal::VolumeRemoval),
        Box::new(volumes::VolumeBinder { volumes_dir: config.volumes_dir.clone() }),
    ]
}
