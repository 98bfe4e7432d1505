//! The node's part: runtime, node agent, service proxy and DNS of one machine.

use crate::cli::Agent;
use crate::data_dir::DataDir;
use crate::progress::tell;
use crate::runtime_process;
use crate::settings::{Cluster, Settings};
use crate::wiring::{ControlPlane, DOMAIN};
use anyhow::{Context, Result};
use client::{Client, Resource};
use cri::{ContainerRuntime, GrpcRuntime};
use network::address::Ranges;
use network::dns::{self, Server};
use network::nft::Table;
use network::proxy;
use network::zone::Zone;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// Hundredths of the disk that must be free, or pods are ended (upstream asks for 10, and 15 for images).
const DISK_PERCENT: i64 = 5;

/// What the node's parts need to know.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) dir: DataDir,
    pub(crate) name: String,
    pub(crate) ranges: Ranges,
    /// Whether node ports answer at every address of the machine, or on loopback only.
    pub(crate) open: bool,
}

impl Node {
    /// The node of a cluster on this machine.
    pub(crate) fn new(settings: &Settings, cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            dir: settings.data_dir.clone(),
            name: settings.node_name.clone(),
            ranges: cluster.address_ranges()?,
            open: !cluster.listen.ip().is_loopback(),
        })
    }

    /// How the service proxy is set up.
    pub(crate) fn proxy(&self) -> proxy::Config {
        let (service_network, service_bits) = self.ranges.service_network();
        let node_ports = if self.open { "0.0.0.0/0" } else { "127.0.0.0/8" };
        proxy::Config {
            node: self.name.clone(),
            table: Table {
                name: format!("ironclad-services-{}", self.dir.id()),
                service_cidr: self.ranges.services(),
                dns: self.ranges.dns(),
                host: self.ranges.host(),
                bridge: runtime_process::bridge(&self.dir),
                node_port_addresses: vec![node_ports.into()],
            },
            interface: format!("ics-{}", self.dir.id()),
            service_network,
            service_bits,
        }
    }

    /// Starts everything of the node. What fails for good ends the start; what may come later is tried again by itself.
    pub(crate) async fn start(&self, plane: &ControlPlane, stop: watch::Receiver<bool>) -> Result<()> {
        let pods = self.ranges.pods();
        tell("starting the container runtime");
        runtime_process::ensure(&self.dir, &pods).await?;
        tokio::spawn(runtime_process::keep(self.dir.clone(), pods, stop.clone()));
        let runtime = Arc::new(GrpcRuntime::new(self.dir.runtime_socket()));
        self.tell_pod_network(&*runtime).await?;
        let user = format!("system:node:{}", self.name);
        let node_client = plane.client(&user, &["system:nodes"], "kubelet");
        self.start_network(plane.client("system:kube-proxy", &[], "kube-proxy")).await?;
        tokio::spawn(publish_dns(
            plane.client("system:apiserver", &["system:masters"], "ironclad"),
            self.ranges.dns(),
        ));
        tell("starting the node agent");
        let config = self.kubelet(plane)?;
        let volumes = self.dir.volumes();
        std::fs::create_dir_all(&volumes).with_context(|| format!("cannot make {}", volumes.display()))?;
        // No node may change volumes; the one that is in the server's process acts for the volumes' controller.
        let tender = plane.controller("persistent-volume-binder").named("volumes");
        tokio::spawn(crate::volumes::run(tender, volumes, self.name.clone()));
        tokio::spawn(async move {
            if let Err(e) = kubelet::run(config, node_client, runtime, stop).await {
                tracing::error!("the node agent ended: {e}");
            }
        });
        Ok(())
    }

    /// The share of the pods' range that this node has: the first, as the only node.
    async fn tell_pod_network(&self, runtime: &GrpcRuntime) -> Result<()> {
        let share = self.ranges.pods().replace("/16", "/24");
        let network = cri::NetworkConfig { pod_cidr: share };
        let request = cri::UpdateRuntimeConfigRequest {
            runtime_config: Some(cri::RuntimeConfig { network_config: Some(network) }),
        };
        runtime
            .update_runtime_config(request)
            .await
            .context("the container runtime refused the pod network")?;
        Ok(())
    }

    async fn start_network(&self, client: Client) -> Result<()> {
        let config = self.proxy();
        let address = SocketAddr::from((self.ranges.dns(), 53));
        let udp = UdpSocket::bind(address).await.with_context(|| format!("cannot serve DNS at {address}"))?;
        let tcp =
            TcpListener::bind(address).await.with_context(|| format!("cannot serve DNS at {address}"))?;
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let forward = dns::name_servers(&resolv_conf, IpAddr::V4(self.ranges.dns()));
        let server = Server::new(Zone::new(DOMAIN), forward);
        let serving = server.clone();
        tokio::spawn(async move {
            if let Err(e) = serving.serve(udp, tcp).await {
                tracing::error!("DNS ended: {e}");
            }
        });
        tokio::spawn(proxy::run(config, client, Some(server)));
        Ok(())
    }

    fn kubelet(&self, plane: &ControlPlane) -> Result<kubelet::Config> {
        let now = meta::Time::new(jiff::Timestamp::now());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let serving = plane.pki.node_serving(&self.name, vec![auth::pki::Host::Ip(loopback)], now)?;
        let mut config = kubelet::Config::new(&self.name, self.dir.kubelet());
        config.port = 0;
        config.pod_logs = self.dir.pod_logs();
        config.cluster_dns = vec![self.ranges.dns().to_string()];
        config.cluster_domain = DOMAIN.into();
        // The disk is the user's own, and often rather full: a small share of a large one is no sign of distress.
        config.eviction.nodefs = DISK_PERCENT;
        config.eviction.imagefs = DISK_PERCENT;
        config.tls = Some(kubelet::ServerTls {
            cert_pem: serving.cert,
            key_pem: serving.key,
            client_ca_pem: plane.pki.ca.cert.clone(),
        });
        Ok(config)
    }
}

/// Makes the Service `kube-dns`, by which people and programs find the cluster's DNS. It has no endpoints: the server
/// answers at the service's address itself. One that is there already stays as it is.
async fn publish_dns(client: Client, address: Ipv4Addr) {
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": address.to_string(), "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]},
    });
    let created =
        client.create(&Resource::of::<api::core::v1::Service>(), "kube-system", service.to_string()).await;
    // An address that is taken on a second start means that the service is there.
    if let Err(e) = created.map(drop).or_else(|e| if e.is_already_exists() { Ok(()) } else { Err(e) }) {
        tracing::debug!("the service kube-dns was not made: {e}");
    }
}

/// `ironclad agent`.
pub(crate) fn agent(flags: Agent) -> Result<()> {
    let _ = (flags.cluster, flags.kubeconfig, flags.node_name);
    anyhow::bail!(
        "joining a node to a control plane that runs elsewhere is not there yet; `ironclad up` runs both on one machine"
    )
}
