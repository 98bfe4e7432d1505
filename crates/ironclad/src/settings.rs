//! Settings: what a user may set, and what a cluster keeps from its first start on.

use crate::claims::Claims;
use crate::cli::Up;
use crate::data_dir::{DataDir, write_atomically};
use anyhow::{Context, Result};
use network::address::{MAX_CLUSTERS, Ranges};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

/// Where the API of the first cluster on a machine listens.
const FIRST_PORT: u16 = 6443;
/// How many ports from there on are tried for a new cluster.
const PORTS: u16 = 100;

/// The file that `--config` names. Flags win over it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    write_kubeconfig: Option<PathBuf>,
    no_node: Option<bool>,
    node_name: Option<String>,
}

impl ConfigFile {
    fn parse(value: Value) -> Result<Self> {
        let settings = match value {
            // An empty file says nothing, as one with comments alone does.
            Value::Null => Map::new(),
            Value::Object(settings) => settings,
            _ => anyhow::bail!("settings are a map, such as `noNode: true`"),
        };
        for (name, value) in &settings {
            let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
            serde_json::from_value::<Self>(alone).with_context(|| name.clone())?;
        }
        Ok(serde_json::from_value(Value::Object(settings))?)
    }
}

/// What one start of a cluster is asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: DataDir,
    /// Asked for on this start; none leaves it to the cluster.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) write_kubeconfig: Option<PathBuf>,
    pub(crate) node: bool,
    pub(crate) node_name: String,
}

impl Settings {
    /// Flags over the file over the defaults.
    pub(crate) fn new(flags: Up, server_only: bool) -> Result<Self> {
        let file = match &flags.config {
            None => ConfigFile::default(),
            Some(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("cannot read the config file {}", path.display()))?;
                let text = String::from_utf8_lossy(&bytes);
                let read = meta::yaml::decode(&text).map_err(|e| anyhow::anyhow!("{e}"));
                let decoded = read.with_context(|| format!("{} is neither YAML nor JSON", path.display()))?;
                ConfigFile::parse(decoded.value)
                    .with_context(|| format!("in the config file {}", path.display()))?
            }
        };
        let node_name = file.node_name.unwrap_or_else(host_name);
        if let Some(fault) = meta::names::dns1123_subdomain(&node_name).first() {
            anyhow::bail!("the node can't be named {node_name:?}: {fault}");
        }
        Ok(Self {
            data_dir: DataDir::new(flags.cluster.data_dir.or(file.data_dir))?,
            listen: flags.listen.or(file.listen),
            write_kubeconfig: flags.write_kubeconfig.or(file.write_kubeconfig),
            node: !(flags.no_node || server_only || file.no_node == Some(true)),
            node_name,
        })
    }
}

/// The machine's name as a node's: in lower case, what a name can't have replaced.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let clean = clean.trim_matches(['-', '.']).to_owned();
    if meta::names::dns1123_subdomain(&clean).is_empty() { clean } else { "localhost".into() }
}

/// What a cluster keeps from its first start on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    /// Where the API listens.
    pub(crate) listen: SocketAddr,
    /// Number of the address ranges (see `network::address`).
    pub(crate) ranges: u8,
}

impl Cluster {
    /// The cluster of this folder; none when there is none yet.
    pub(crate) fn load(dir: &DataDir) -> Result<Option<Self>> {
        let path = dir.cluster_file();
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(dir.refused(&path, &e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is damaged; restore it, or remove the cluster with `ironclad down --purge`",
                    path.display()
                )
            }),
        }
    }

    /// The cluster of this folder with its API's listener, chosen at the first start. Writes nothing.
    /// `claims` are those of the machine, where the cluster has a node here.
    pub(crate) fn choose(settings: &Settings, claims: Option<&Claims>) -> Result<(Self, TcpListener)> {
        let kept = Self::load(&settings.data_dir)?;
        let listener = match (settings.listen, &kept) {
            (Some(asked), _) => bind(asked)?,
            (None, Some(kept)) => bind(kept.listen)?,
            (None, None) => first_free(&kept_ports(claims))?,
        };
        let listen = listener.local_addr().context("the listening socket has no address")?;
        let ranges = match (kept, claims) {
            (Some(kept), _) => kept.ranges,
            (None, Some(claims)) => claims.choose()?.index(),
            (None, None) => far_ranges(&settings.data_dir),
        };
        Ok((Self { listen, ranges }, listener))
    }

    /// Keeps the settings for the next start.
    pub(crate) fn save(&self, dir: &DataDir) -> Result<()> {
        let path = dir.cluster_file();
        let json = serde_json::to_vec_pretty(self).context("cannot encode the cluster's settings")?;
        write_atomically(&path, &json, 0o600).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The cluster's address ranges.
    pub(crate) fn address_ranges(&self) -> Result<Ranges> {
        Ranges::new(self.ranges)
            .with_context(|| format!("there are no address ranges with number {}", self.ranges))
    }

    /// The address by which the machine is reached: that of the API, where it says one.
    pub(crate) fn machine(&self) -> Ipv4Addr {
        match self.listen.ip() {
            IpAddr::V4(ip) if !ip.is_unspecified() => ip,
            IpAddr::V6(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST,
            _ => crate::machine::main_address().unwrap_or(Ipv4Addr::LOCALHOST),
        }
    }

    /// Where pods reach the API: where it listens, or on this machine's own address for pods where that is loopback.
    pub(crate) fn advertise(&self, node: bool) -> Result<SocketAddr> {
        let machine = self.machine();
        let ip = if node && machine.is_loopback() { self.address_ranges()?.host() } else { machine };
        Ok(SocketAddr::from((ip, self.listen.port())))
    }

    /// The API's address for other machines.
    pub(crate) fn public_url(&self) -> String {
        format!("https://{}", SocketAddr::from((self.machine(), self.listen.port())))
    }

    /// The API's address for clients on this machine.
    pub(crate) fn server_url(&self) -> String {
        let ip = match self.listen.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        format!("https://{}", SocketAddr::new(ip, self.listen.port()))
    }
}

/// Ranges for a cluster whose nodes are on other machines, where the first ones may be in use by clusters of their own:
/// one of the last half, by the folder's name.
fn far_ranges(dir: &DataDir) -> u8 {
    const HALF: u32 = MAX_CLUSTERS as u32 / 2;
    let number = u32::from_str_radix(&dir.id(), 16).unwrap_or(0) % HALF + HALF;
    u8::try_from(number).unwrap_or(0)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use by another program; stop that one, or listen elsewhere with --listen ADDR:PORT"
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{} is not an address of this machine; choose another with --listen ADDR:PORT", address.ip())
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("port {} needs root; choose one above 1023 with --listen ADDR:PORT", address.port())
        }
        _ => anyhow::anyhow!("cannot listen on {address}: {e}"),
    })
}

/// Ports to which other clusters of this machine will come back, running or not.
fn kept_ports(claims: Option<&Claims>) -> BTreeSet<u16> {
    let holders = claims.map(Claims::holders).unwrap_or_default();
    let cluster = |root: PathBuf| Cluster::load(&DataDir::new(Some(root)).ok()?).ok()?;
    holders.into_iter().filter_map(cluster).map(|c| c.listen.port()).collect()
}

fn first_free(kept: &BTreeSet<u16>) -> Result<TcpListener> {
    let mut last = None;
    for port in (FIRST_PORT..FIRST_PORT + PORTS).filter(|p| !kept.contains(p)) {
        match bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no port to listen on")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cluster as Flags;

    fn settings(dir: &std::path::Path, listen: Option<&str>) -> Settings {
        let cluster = Flags { data_dir: Some(dir.join("c")) };
        let listen = listen.map(|l| l.parse().unwrap());
        let up = Up { cluster, listen, write_kubeconfig: None, no_node: true, config: None };
        Settings::new(up, false).unwrap()
    }

    #[test]
    fn a_cluster_keeps_its_port_and_ranges() {
        let tmp = tempfile::tempdir().unwrap();
        let s = settings(tmp.path(), None);
        let (first, listener) = Cluster::choose(&s, None).unwrap();
        s.data_dir.create().unwrap();
        first.save(&s.data_dir).unwrap();
        let busy = Cluster::choose(&s, None).unwrap_err().to_string();
        assert!(busy.contains("in use by another program") && busy.contains("--listen"), "{busy}");
        drop(listener);
        assert_eq!(Cluster::choose(&s, None).unwrap().0, first);
    }

    #[test]
    fn loopback_is_not_left_for_pods() {
        let at = |listen: &str| {
            let cluster = Cluster { listen: listen.parse().unwrap(), ranges: 0 };
            (cluster.machine().is_loopback(), cluster.server_url())
        };
        assert_eq!(at("127.0.0.1:7"), (true, "https://127.0.0.1:7".into()));
        assert_eq!(at("[::1]:7"), (true, "https://[::1]:7".into()));
        assert_eq!(at("192.0.2.1:7"), (false, "https://192.0.2.1:7".into()));
    }

    #[test]
    fn a_server_without_a_node_leaves_the_first_ranges_to_others() {
        for name in ["/a", "/b", "/var/lib/ironclad"] {
            let dir = DataDir::new(Some(name.into())).unwrap();
            assert!(far_ranges(&dir) >= MAX_CLUSTERS / 2 && Ranges::new(far_ranges(&dir)).is_some());
        }
    }

    #[test]
    fn a_second_cluster_takes_the_next_port() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, _held) = Cluster::choose(&settings(a.path(), None), None).unwrap();
        let (second, _held2) = Cluster::choose(&settings(b.path(), None), None).unwrap();
        assert_ne!(first.listen, second.listen);
    }

    #[test]
    fn the_port_of_a_stopped_cluster_is_left_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let claims = Claims::open_at(&tmp.path().join("ranges")).unwrap();
        let s = settings(tmp.path(), None);
        let (stopped, listener) = Cluster::choose(&s, Some(&claims)).unwrap();
        s.data_dir.create().unwrap();
        stopped.save(&s.data_dir).unwrap();
        claims.take(stopped.address_ranges().unwrap(), &s.data_dir).unwrap();
        drop(listener);
        let other = tempfile::tempdir().unwrap();
        let (second, _held) = Cluster::choose(&settings(other.path(), None), Some(&claims)).unwrap();
        assert_ne!(second.listen, stopped.listen);
    }

    #[test]
    fn unknown_settings_are_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("c.yaml");
        std::fs::write(&path, "listen: 127.0.0.1:7000\nnoNodes: true\n").unwrap();
        let cluster = Flags { data_dir: Some(tmp.path().into()) };
        let up =
            Up { cluster, listen: None, write_kubeconfig: None, no_node: false, config: Some(path.clone()) };
        let error = format!("{:#}", Settings::new(up.clone(), false).unwrap_err());
        assert!(error.contains("unknown field `noNodes`"), "{error}");
        std::fs::write(&path, "nodeName: Big_One\n").unwrap();
        let error = format!("{:#}", Settings::new(up.clone(), false).unwrap_err());
        assert!(error.contains("the node can't be named \"Big_One\": a lowercase RFC 1123"), "{error}");
        for (text, fault) in [
            ("listen: 5", "listen: invalid type: integer `5`, expected socket address"),
            ("listen: here", "listen: invalid socket address syntax"),
            ("- noNode", "settings are a map"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Settings::new(up.clone(), false).unwrap_err());
            assert!(error.contains(fault), "{text}: {error}");
        }
        std::fs::write(&path, "# nothing yet\n").unwrap();
        assert!(Settings::new(up.clone(), false).unwrap().node);
        std::fs::write(&path, "listen: 127.0.0.1:7000\nnoNode: true\n").unwrap();
        let s = Settings::new(up, false).unwrap();
        assert_eq!((s.listen.unwrap().port(), s.node), (7000, false));
    }
}
