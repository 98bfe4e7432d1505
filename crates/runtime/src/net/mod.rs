//! The pod network of one instance: a bridge, a pair of interfaces for each sandbox, addresses, one table of rules.
//!
//! Fills the role that CNI has elsewhere. Pods get /32 addresses and route everything over the bridge's address: the
//! node sees each packet between pods as a router, so service and policy rules hold for neighbours too, without
//! br_netfilter.

mod forwarding;
mod ipam;
mod netlink;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(crate) use ipam::Cidr;
use netlink::{Netlink, Veth, index_of};
pub(crate) use rules::HostPort;
use rules::Table;

/// The interface's name inside pods.
pub(crate) const POD_INTERFACE: &str = "eth0";
/// The kernel's limit for interface names, less its final NUL.
const NAME_LIMIT: usize = 15;
const MTU: u32 = 1500;

/// The pod network of this instance.
pub(crate) struct Network {
    bridge: String,
    table: String,
    not_masqueraded: Vec<String>,
    /// Where the pod CIDR is kept.
    file: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    cidr: Option<Cidr>,
    used: BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
    host_ports: Vec<HostPort>,
    ready: bool,
}

/// The hardware address of the bridge, of the range that is everybody's own (as CNI plugins make it from the address).
/// Without one the bridge takes the least of its ports', another with each pod that comes or goes, and the pods that
/// stay speak to a gateway that is no more until they ask for it again.
fn hardware_address(gateway: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = gateway.octets();
    [0x0a, 0x58, a, b, c, d]
}

impl Network {
    /// The network of the instance with this id; its CIDR is what an earlier run was told, if any.
    pub(crate) fn new(instance: &str, state: &Path, not_masqueraded: &[String]) -> Self {
        let mut bridge = format!("ic-{instance}");
        bridge.truncate(NAME_LIMIT);
        let file = state.join("pod-cidr");
        let cidr = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        Self {
            bridge,
            table: format!("ironclad-{instance}"),
            not_masqueraded: not_masqueraded.to_vec(),
            file,
            inner: Mutex::new(Inner { cidr, ..Inner::default() }),
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes addresses and ports of sandboxes found at start, and sets the network up if its CIDR is known.
    pub(crate) fn restore(
        &self,
        used: impl IntoIterator<Item = Ipv4Addr>,
        ports: Vec<HostPort>,
    ) -> io::Result<()> {
        let mut inner = self.inner();
        inner.used.extend(used);
        inner.host_ports = ports;
        if inner.cidr.is_some() { self.set_up(&mut inner) } else { Ok(()) }
    }

    /// Takes the pod CIDR; the same again changes nothing.
    pub(crate) fn configure(&self, list: &str) -> Result<(), String> {
        let cidr = Cidr::first_v4(list)?;
        let mut inner = self.inner();
        if inner.cidr == Some(cidr) && inner.ready {
            return Ok(());
        }
        if inner.cidr.is_some_and(|old| old != cidr) && !inner.used.is_empty() {
            return Err(format!("cannot change the pod CIDR to {cidr} while pods hold addresses of another"));
        }
        let partial = self.file.with_extension("partial");
        fs::write(&partial, cidr.to_string())
            .and_then(|()| fs::rename(&partial, &self.file))
            .map_err(|error| format!("cannot keep the pod CIDR: {error}"))?;
        if inner.cidr.is_some_and(|old| old != cidr) {
            let _ = Netlink::open().and_then(|netlink| netlink.delete(&self.bridge));
        }
        inner.cidr = Some(cidr);
        self.set_up(&mut inner).map_err(|error| format!("cannot set up the pod network: {error}"))
    }

    /// Why pods cannot have a network yet; `None` if they can.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        (!self.inner().ready).then_some("the pod network has no CIDR yet: the node's spec.podCIDR is not set")
    }

    fn set_up(&self, inner: &mut Inner) -> io::Result<()> {
        let Some(cidr) = inner.cidr else { return Ok(()) };
        let netlink = Netlink::open()?;
        match netlink.add_bridge(&self.bridge, MTU) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let index = index_of(&self.bridge)?;
        netlink.set_up(index)?;
        netlink.set_hardware_address(index, hardware_address(cidr.gateway()))?;
        netlink.add_address(index, cidr.gateway(), cidr.prefix())?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let settings = format!("/proc/sys/net/ipv4/conf/{}", self.bridge);
        // Pods are neighbours on the link but must go on sending through us; the guard chain makes the second safe.
        fs::write(format!("{settings}/send_redirects"), "0")?;
        fs::write(format!("{settings}/route_localnet"), "1")?;
        self.apply(inner)?;
        if let Err(error) = forwarding::allow(&self.bridge) {
            tracing::warn!(%error, "a firewall of this node may drop pods' packets");
        }
        inner.ready = true;
        Ok(())
    }

    fn apply(&self, inner: &Inner) -> io::Result<()> {
        let Some(cidr) = inner.cidr else { return Ok(()) };
        let table = Table {
            name: &self.table,
            bridge: &self.bridge,
            cidr: cidr.to_string(),
            not_masqueraded: &self.not_masqueraded,
            host_ports: &inner.host_ports,
        };
        rules::apply(&table.text())
    }

    /// Reserves an address.
    pub(crate) fn reserve(&self) -> Result<Ipv4Addr, String> {
        let mut inner = self.inner();
        let cidr = inner.cidr.filter(|_| inner.ready).ok_or("the pod network has no CIDR yet")?;
        let address = cidr.next_free(&inner.used, inner.last).ok_or_else(|| {
            format!("no free address is left in the pod CIDR {cidr}; remove pods or use a larger one")
        })?;
        inner.used.insert(address);
        inner.last = Some(address);
        Ok(address)
    }

    /// Connects a sandbox: called in the sandbox's own network namespace, which `namespace` names, by a thread of it.
    /// `host` was opened in the node's.
    pub(crate) fn connect(
        &self,
        host: &HostSide,
        address: Ipv4Addr,
        veth: &str,
        namespace: impl AsFd,
    ) -> io::Result<()> {
        let pair = Veth { name: veth, peer: POD_INTERFACE, master: host.bridge, mtu: MTU };
        let doing = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        host.netlink.add_veth(&pair, namespace).map_err(doing("adding the pod's pair of interfaces"))?;
        let pod = Netlink::open()?;
        let index = index_of(POD_INTERFACE).map_err(doing("finding the pod's interface"))?;
        pod.set_up(index).map_err(doing("setting the pod's interface up"))?;
        pod.add_address(index, address, 32).map_err(doing("adding the pod's address"))?;
        pod.add_route(index, Some(host.gateway), None).map_err(doing("adding the route to the bridge"))?;
        pod.add_route(index, None, Some(host.gateway)).map_err(doing("adding the default route"))
    }

    /// What a sandbox's thread needs of the node's side; opened in the node's namespace.
    pub(crate) fn host_side(&self) -> io::Result<HostSide> {
        let gateway = self.inner().cidr.map(Cidr::gateway).ok_or(io::ErrorKind::NotConnected)?;
        Ok(HostSide { netlink: Netlink::open()?, bridge: index_of(&self.bridge)?, gateway })
    }

    /// Lets a port of the bridge send frames back where they came from (a pod that reaches itself by its Service).
    pub(crate) fn hairpin(&self, veth: &str) {
        if let Err(error) = fs::write(format!("/sys/class/net/{veth}/brport/hairpin_mode"), "1") {
            tracing::debug!(%error, veth, "no hairpin mode");
        }
    }

    /// Opens host ports into a pod.
    pub(crate) fn open_ports(&self, ports: &[HostPort]) -> io::Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut inner = self.inner();
        let before = inner.host_ports.len();
        inner.host_ports.extend_from_slice(ports);
        self.apply(&inner).inspect_err(|_| inner.host_ports.truncate(before))
    }

    /// Gives back a sandbox's interface and address.
    pub(crate) fn release(&self, address: Option<Ipv4Addr>, veth: Option<&str>) {
        if let Some(veth) = veth {
            match Netlink::open().and_then(|netlink| netlink.delete(veth)) {
                Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                    tracing::warn!(%error, veth, "interface stays")
                }
                _ => {}
            }
        }
        if let Some(address) = address {
            self.inner().used.remove(&address);
        }
    }

    /// Closes the host ports that lead to an address.
    pub(crate) fn close_ports(&self, address: Option<Ipv4Addr>) {
        let mut inner = self.inner();
        let before = inner.host_ports.len();
        inner.host_ports.retain(|port| Some(port.pod_ip) != address);
        if inner.host_ports.len() != before
            && let Err(error) = self.apply(&inner)
        {
            tracing::warn!(%error, "host ports of a removed pod stay");
        }
    }

    /// Removes an interface; one that is gone already is fine.
    fn delete_link(&self, netlink: &Netlink, name: &str) -> io::Result<()> {
        netlink.delete(name).or_else(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => Ok(()),
            _ => Err(error),
        })
    }

    /// Removes the bridge with every port of it, and the rules.
    pub(crate) fn purge(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let netlink = Netlink::open()?;
        for port in
            fs::read_dir(format!("/sys/class/net/{}/brif", self.bridge)).into_iter().flatten().flatten()
        {
            self.delete_link(&netlink, &port.file_name().to_string_lossy())?;
        }
        self.delete_link(&netlink, &self.bridge)?;
        if inner.cidr.is_some() {
            rules::remove(&self.table)?;
            forwarding::forget(&self.bridge)?;
        }
        *inner = Inner::default();
        Ok(())
    }
}

/// The node's side of new connections.
pub(crate) struct HostSide {
    netlink: Netlink,
    bridge: u32,
    gateway: Ipv4Addr,
}

/// Sets the loopback interface of the calling thread's namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    const LOOPBACK_INDEX: u32 = 1;
    Netlink::open()?.set_up(LOOPBACK_INDEX)
}
