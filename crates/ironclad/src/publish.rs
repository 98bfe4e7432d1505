//! What the server's process makes known to the cluster: the Service of its DNS, and the settings that a node needs.

use crate::wiring::DOMAIN;
use anyhow::{Context, Result};
use api::core::v1::{ConfigMap, Service};
use client::{Api, PatchKind};
use client::{Client, Resource};
use network::address::Ranges;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The ConfigMap with the cluster's settings.
const NAME: &str = "ironclad-cluster";
/// Its namespace.
const NAMESPACE: &str = "kube-system";
/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a node needs to know of its cluster, in kubeadm's words (`ClusterConfiguration.networking`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterSettings {
    /// Addresses of all pods.
    pub(crate) pod_subnet: String,
    /// Addresses of services.
    pub(crate) service_subnet: String,
    /// The cluster's domain.
    pub(crate) dns_domain: String,
}

impl ClusterSettings {
    fn new(ranges: Ranges) -> Self {
        Self { pod_subnet: ranges.pods(), service_subnet: ranges.services(), dns_domain: DOMAIN.to_owned() }
    }

    /// The settings that the cluster has published.
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        let map = Api::<ConfigMap>::namespaced(client, NAMESPACE).get(NAME).await;
        let data = map.context("the cluster's settings cannot be read")?.data.unwrap_or_default();
        serde_json::to_value(data)
            .and_then(serde_json::from_value)
            .context("the server's settings for nodes are not such as this version knows; use the same version on both")
    }

    /// The address ranges.
    pub(crate) fn ranges(&self) -> Result<Ranges> {
        Ranges::named(&self.pod_subnet, &self.service_subnet).with_context(|| {
            format!(
                "the cluster's addresses {} and {} are not such as this version knows; use the server's version",
                self.pod_subnet, self.service_subnet
            )
        })
    }
}

/// Publishes everything, and tries again until it is there.
pub(crate) async fn run(client: Client, ranges: Ranges) {
    loop {
        let settings = publish_settings(&client, ranges).await;
        let dns = publish_dns(&client, ranges.dns()).await;
        let Err(e) = settings.and(dns) else { return };
        tracing::debug!("the cluster's settings are not published yet: {e}");
        tokio::time::sleep(RETRY).await;
    }
}

async fn publish_settings(client: &Client, ranges: Ranges) -> Result<(), client::Error> {
    let wanted = json!(ClusterSettings::new(ranges));
    let maps = Api::<ConfigMap>::namespaced(client, NAMESPACE);
    match maps.find(NAME).await? {
        Some(map) if json!(map.data.as_ref()) == wanted => Ok(()),
        Some(_) => maps.patch(NAME, "", PatchKind::Merge, &json!({"data": wanted})).await.map(drop),
        None => {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": wanted,
                "metadata": {"name": NAME, "namespace": NAMESPACE}});
            client.create(&Resource::of::<ConfigMap>(), NAMESPACE, map.to_string()).await.map(drop)
        }
    }
}

/// Makes the Service `kube-dns`, by which people and programs find the cluster's DNS. It has no endpoints: the server
/// answers at the service's address itself. One that is there already stays as it is.
async fn publish_dns(client: &Client, address: Ipv4Addr) -> Result<(), client::Error> {
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": address.to_string(), "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]},
    });
    let created = client.create(&Resource::of::<Service>(), "kube-system", service.to_string()).await;
    match created {
        Err(e) if !e.is_already_exists() && !e.is_final() => Err(e),
        // An address that is taken on a second start means that the service is there.
        _ => Ok(()),
    }
}
