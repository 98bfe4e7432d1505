//! The node's part: runtime, node agent, service proxy and DNS of one machine.

use crate::data_dir::DataDir;
use crate::progress::tell;
use crate::runtime_process;
use anyhow::{Context, Result};
use client::Client;
use cri::GrpcRuntime;
use kubelet::{Reserve, ServerTls};
use network::address::Ranges;
use network::dns::{self, Server};
use network::nft::Table;
use network::zone::Zone;
use network::{overlay, peers, proxy};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// What must be free of the disk, or pods are ended (upstream asks for 10 %, and 15 % for images). The disk is the
/// user's own, and often rather full: a small share of a large one is no sign of distress.
const DISK_RESERVE: Reserve = Reserve { percent: 5, at_most: 1 << 30 };
/// What must be free of it, or images that nobody uses are removed, until the second is free (upstream: 15 % and 20 %).
const IMAGE_GC: (Reserve, Reserve) =
    (Reserve { percent: 7, at_most: 2 << 30 }, Reserve { percent: 10, at_most: 3 << 30 });
/// The first of the numbers that tell the tunnels of clusters apart; see [`overlay`].
const FIRST_VNI: u32 = 0x1c00;

/// What the node's parts need to know.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) dir: DataDir,
    pub(crate) name: String,
    pub(crate) ranges: Ranges,
    /// The cluster's domain.
    pub(crate) domain: String,
    /// The machine's address, as other machines and the API server reach it; loopback: only this machine does, and node
    /// ports answer there alone.
    pub(crate) address: Ipv4Addr,
}

/// How a node's parts come to the API server, and how they are known to it: in process, or over the network with
/// certificates of their own.
pub(crate) struct Door {
    /// As `system:node:<name>`.
    pub(crate) node: Client,
    /// As `system:kube-proxy`.
    pub(crate) proxy: Client,
    /// What the node agent serves with.
    pub(crate) serving: watch::Receiver<Option<ServerTls>>,
}

impl Node {
    /// What the Node object tells: a loopback address would mean nothing to pods, and be no endpoint of a service.
    pub(crate) fn internal_ip(&self) -> Ipv4Addr {
        if self.address.is_loopback() { self.ranges.host() } else { self.address }
    }

    /// How the service proxy is set up.
    pub(crate) fn proxy(&self) -> proxy::Config {
        let (service_network, service_bits) = self.ranges.service_network();
        let node_ports = match self.address.is_loopback() {
            true => vec!["127.0.0.0/8".to_owned(), self.ranges.host().to_string()],
            false => vec!["0.0.0.0/0".to_owned()],
        };
        proxy::Config {
            node: self.name.clone(),
            table: Table {
                name: format!("ironclad-services-{}", self.dir.id()),
                service_cidr: self.ranges.services(),
                dns: self.ranges.dns(),
                host: self.ranges.host(),
                bridge: runtime_process::bridge(&self.dir),
                node_port_addresses: node_ports,
            },
            interface: format!("ics-{}", self.dir.id()),
            service_network,
            service_bits,
        }
    }

    /// How the tunnels to other nodes are set up.
    pub(crate) fn overlay(&self) -> overlay::Config {
        overlay::Config {
            node: self.name.clone(),
            table: peers::Table {
                name: format!("ironclad-tunnel-{}", self.dir.id()),
                interface: format!("icx-{}", self.dir.id()),
                bridge: runtime_process::bridge(&self.dir),
                pods: self.ranges.pods(),
                vni: FIRST_VNI + u32::from(self.ranges.index()),
                port: overlay::PORT,
            },
        }
    }

    /// Whether another node of the cluster, on this very machine, has the cluster's addresses already: it answers for
    /// this one too.
    fn is_second(&self) -> bool {
        !network::link::exists(&self.proxy().interface)
            && crate::machine::addresses().contains(&self.ranges.dns())
    }

    /// Makes the interface that carries the cluster's service addresses.
    pub(crate) fn prepare(&self) -> Result<()> {
        if self.is_second() {
            return Ok(());
        }
        proxy::prepare(&self.proxy()).context("cannot make the interface for service addresses")
    }

    /// Starts everything of the node. What fails for good ends the start; what may come later is tried again by itself.
    pub(crate) async fn start(&self, door: Door, stop: watch::Receiver<bool>) -> Result<()> {
        let pods = self.ranges.pods();
        tell("starting the container runtime");
        runtime_process::ensure(&self.dir, &pods).await?;
        tokio::spawn(runtime_process::keep(self.dir.clone(), pods, stop.clone()));
        let runtime = Arc::new(GrpcRuntime::new(self.dir.runtime_socket()));
        self.start_network(door.proxy).await?;
        tell("starting the node agent");
        let volumes = self.dir.volumes();
        std::fs::create_dir_all(&volumes).with_context(|| format!("cannot make {}", volumes.display()))?;
        tokio::spawn(crate::volumes::run(door.node.named("volumes"), volumes, self.name.clone()));
        let config = self.kubelet(door.serving);
        tokio::spawn(async move {
            if let Err(e) = kubelet::run(config, door.node, runtime, stop).await {
                tracing::error!("the node agent ended: {e}");
            }
        });
        Ok(())
    }

    async fn start_network(&self, client: Client) -> Result<()> {
        let server = match self.is_second() {
            true => None,
            false => Some(self.start_dns().await?),
        };
        tokio::spawn(overlay::run(self.overlay(), client.clone()));
        tokio::spawn(proxy::run(self.proxy(), client, server));
        Ok(())
    }

    async fn start_dns(&self) -> Result<Server> {
        let address = SocketAddr::from((self.ranges.dns(), 53));
        let (udp, tcp) = bind_dns(address).await.with_context(|| {
            format!("cannot serve DNS at {address}; `ss -lnp 'sport = :53'` shows who listens there")
        })?;
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let forward = dns::name_servers(&resolv_conf, IpAddr::V4(self.ranges.dns()));
        let server = Server::new(Zone::new(&self.domain), forward);
        let serving = server.clone();
        tokio::spawn(async move {
            if let Err(e) = serving.serve(udp, tcp).await {
                tracing::error!("DNS ended: {e}");
            }
        });
        Ok(server)
    }

    fn kubelet(&self, serving: watch::Receiver<Option<ServerTls>>) -> kubelet::Config {
        let mut config = kubelet::Config::new(&self.name, self.dir.kubelet());
        config.node_ip = IpAddr::V4(self.internal_ip());
        config.bind_ip = config.node_ip;
        config.port = self.kubelet_port();
        config.pod_logs = self.dir.pod_logs();
        config.cluster_dns = vec![self.ranges.dns().to_string()];
        config.cluster_domain = self.domain.clone();
        config.eviction.nodefs = DISK_RESERVE;
        config.eviction.imagefs = DISK_RESERVE;
        config.image_gc = IMAGE_GC;
        config.tls = Some(serving);
        let place = (controllers::ANNOTATION_VOLUMES_DIR, self.dir.volumes());
        config.annotations.insert(place.0.to_owned(), place.1.to_string_lossy().into_owned());
        config.volumes_dir = Some(place.1);
        config
    }

    /// Upstream's port where it is free, so that firewalls and those who scrape metrics can know it; otherwise any.
    fn kubelet_port(&self) -> u16 {
        let usual = SocketAddr::from((self.internal_ip(), kubelet::DEFAULT_PORT));
        if std::net::TcpListener::bind(usual).is_ok() { kubelet::DEFAULT_PORT } else { 0 }
    }
}

/// How long another holder of the DNS address may take to let go: a server that was killed a moment ago may still be
/// dying, and its sockets with it.
const DNS_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const DNS_PAUSE: Duration = Duration::from_millis(50);

/// The two sockets of the cluster's DNS.
async fn bind_dns(address: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let both = || async { Ok((UdpSocket::bind(address).await?, TcpListener::bind(address).await?)) };
    let deadline = Instant::now() + DNS_PATIENCE;
    loop {
        match both().await {
            Err(e) if in_use(&e) && Instant::now() < deadline => tokio::time::sleep(DNS_PAUSE).await,
            other => return other,
        }
    }
}

fn in_use(e: &std::io::Error) -> bool {
    e.kind() == std::io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dns_waits_for_its_address() {
        let held = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = held.local_addr().unwrap();
        let (udp, ()) = tokio::join!(bind_dns(address), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        // The port's other half may have been taken by somebody else meanwhile; the wait is what counts.
        assert!(udp.is_ok() || udp.is_err_and(|e| in_use(&e)));
    }
}
