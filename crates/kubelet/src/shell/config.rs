//! What the agent is told at its start.

pub use crate::core::evict::{Reserve, Thresholds};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// The kubelet's port where nothing else is said.
pub const DEFAULT_PORT: u16 = 10250;

/// Certificates of the agent's HTTPS server, as PEM.
#[derive(Clone)]
pub struct ServerTls {
    /// The server's certificate chain.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: String,
    /// The authority that signs clients' certificates.
    pub client_ca_pem: String,
}

impl ServerTls {
    /// Certificates that never change.
    pub fn constant(self) -> watch::Receiver<Option<Self>> {
        watch::channel(Some(self)).1
    }
}

/// The agent's settings (`KubeletConfiguration` where upstream has one).
#[derive(Clone)]
pub struct Config {
    /// The node's name.
    pub node_name: String,
    /// The node's address, told to the API.
    pub node_ip: IpAddr,
    /// Where the HTTPS server listens.
    pub bind_ip: IpAddr,
    /// Its port; 0 picks a free one, which the node's status tells.
    pub port: u16,
    /// Certificates as they come and are renewed: before the first, connections are closed at once. None switches the
    /// HTTPS server off.
    pub tls: Option<watch::Receiver<Option<ServerTls>>>,
    /// Where pods' directories are kept.
    pub root: PathBuf,
    /// Where pods' logs are kept.
    pub pod_logs: PathBuf,
    /// The node's `resolv.conf`.
    pub resolv_conf: PathBuf,
    /// The cluster's name servers (`clusterDNS`).
    pub cluster_dns: Vec<String>,
    /// The cluster's domain (`clusterDomain`).
    pub cluster_domain: String,
    /// Labels that the node registers with, beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the node registers with.
    pub annotations: BTreeMap<String, String>,
    /// Where volumes are that were provisioned for this node: their directories are open to any user.
    pub volumes_dir: Option<PathBuf>,
    /// Most pods on the node (`maxPods`).
    pub max_pods: u32,
    /// How often the node's lease is renewed.
    pub lease_period: Duration,
    /// How often the node's status is written when nothing changes (`nodeStatusReportFrequency`).
    pub status_period: Duration,
    /// How often tokens and what else volumes show are looked at again though nobody said that they changed
    /// (`syncFrequency`).
    pub refresh_period: Duration,
    /// Bytes after which a container's log is rotated (`containerLogMaxSize`).
    pub log_max_bytes: u64,
    /// Log files kept for each container (`containerLogMaxFiles`).
    pub log_max_files: usize,
    /// Unused images are removed when less than the first of the images' file system is free, until the second is
    /// (what `imageGCHighThresholdPercent` and `imageGCLowThresholdPercent` leave of it).
    pub image_gc: (Reserve, Reserve),
    /// Below what the node is short, and ends pods (`evictionHard`).
    pub eviction: Thresholds,
    /// CPU and memory kept back from pods: thousandths and bytes.
    pub reserved: (i64, i64),
}

impl Config {
    /// Upstream's defaults for a node of this name on the loopback, with everything below `root`.
    pub fn new(node_name: &str, root: PathBuf) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: DEFAULT_PORT,
            tls: None,
            pod_logs: root.join("logs"),
            root,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            volumes_dir: None,
            max_pods: 110,
            lease_period: Duration::from_secs(10),
            status_period: Duration::from_secs(300),
            refresh_period: Duration::from_secs(60),
            log_max_bytes: 10 << 20,
            log_max_files: 5,
            image_gc: (Reserve::percent(15), Reserve::percent(20)),
            eviction: Thresholds::default(),
            reserved: (0, 0),
        }
    }
}
