//! The controllers: one file each, each a pure plan. No sockets, no clock, no store.

mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod gc;
mod history;
mod job;
mod namespace;
mod node_lifecycle;
mod ownership;
mod placement;
mod pod_gc;
mod pods;
mod quota;
mod replicaset;
mod role_aggregation;
mod root_ca;
#[cfg(test)]
mod scene;
mod selectors;
mod serviceaccount;
mod statefulset;
mod taint_eviction;
mod templates;
mod ttl;
mod volume;

use jiff::Timestamp;
use reconcile::Controller;

/// What controllers need to be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The time at which they start.
    pub started: Timestamp,
    /// PEM of the authority that signs the API server's certificate, for pods to trust it.
    pub root_ca_pem: String,
    /// The directory on each node in which the built-in provisioner keeps volumes.
    pub volumes: String,
}

/// Every controller; one line each.
pub fn all(config: &Config) -> Vec<Box<dyn Controller>> {
    let started = config.started;
    vec![
        Box::new(cronjob::CronJobs),
        Box::new(daemonset::DaemonSets),
        Box::new(deployment::Deployments),
        Box::new(disruption::DisruptionBudgets),
        Box::new(endpoints::EndpointSlices),
        Box::new(endpoints::EndpointsObjects),
        Box::new(endpoints::EndpointSliceMirror),
        Box::new(gc::GarbageCollector),
        Box::new(job::Jobs),
        Box::new(namespace::Namespaces),
        Box::new(node_lifecycle::NodeLifecycle { started }),
        Box::new(pod_gc::PodGc),
        Box::new(quota::ResourceQuotas),
        Box::new(replicaset::ReplicaSets),
        Box::new(role_aggregation::RoleAggregation),
        Box::new(root_ca::RootCaPublisher { pem: config.root_ca_pem.clone() }),
        Box::new(serviceaccount::ServiceAccounts),
        Box::new(statefulset::StatefulSets),
        Box::new(taint_eviction::TaintEviction),
        Box::new(ttl::TtlAfterFinished),
        Box::new(volume::ClaimProtection),
        Box::new(volume::Claims { directory: config.volumes.clone() }),
        Box::new(volume::DefaultClass),
        Box::new(volume::VolumeProtection),
        Box::new(volume::Volumes),
    ]
}
