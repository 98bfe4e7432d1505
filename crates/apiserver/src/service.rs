//! The pools out of which services get addresses and ports. They are a reading of the stored services, made again at each
//! start, so they can't leak and need no repair (`pkg/registry/core/service/ipallocator`, `portallocator`).

use crate::catalog::Served;
use crate::objects::Objects;
use crate::server::ApiServer;
use meta::{FieldError, FieldPath, Object, Status};
use registry::service::{self, Allocated, Family, Wanted};
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Pools {
    ips: HashSet<IpAddr>,
    /// By protocol, since TCP and UDP may share a number.
    ports: BTreeSet<(String, u16)>,
}

/// The pools of the cluster.
#[derive(Debug)]
pub(crate) struct Allocator {
    network: u32,
    prefix: u8,
    node_ports: RangeInclusive<u16>,
    pools: Mutex<Pools>,
}

/// What was taken for a write that isn't committed yet. Dropped, it goes back.
#[must_use]
pub(crate) struct Lease<'a> {
    allocator: &'a Allocator,
    taken: service::Held,
    /// Given up by the write, so freed once it is committed.
    given_up: service::Held,
}

impl Lease<'_> {
    /// The write is committed.
    pub(crate) fn keep(mut self) {
        self.taken = service::Held::default();
        let given_up = std::mem::take(&mut self.given_up);
        self.allocator.free(&given_up);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.allocator.free(&taken);
    }
}

impl Allocator {
    pub(crate) fn new((network, prefix): (Ipv4Addr, u8), node_ports: RangeInclusive<u16>) -> Self {
        let prefix = prefix.clamp(8, 30);
        let network = u32::from(network) & (u32::MAX << (32 - prefix));
        Self { network, prefix, node_ports, pools: Mutex::default() }
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the stored services hold.
    pub(crate) fn load(&self, objects: &Objects<'_>) {
        for object in objects.list("", "services", "") {
            let held = service::held(&object);
            let mut pools = self.pools();
            pools.ips.extend(held.cluster_ips);
            pools.ports.extend(held.node_ports);
        }
    }

    /// The first address of the network: the one of the service `kubernetes`.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    /// The network in CIDR notation.
    pub(crate) fn cidr(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }

    fn size(&self) -> u32 {
        1u32 << (32 - self.prefix)
    }

    pub(crate) fn free(&self, held: &service::Held) {
        let mut pools = self.pools();
        held.cluster_ips.iter().for_each(|ip| {
            pools.ips.remove(ip);
        });
        held.node_ports.iter().for_each(|p| {
            pools.ports.remove(p);
        });
    }

    fn take_ip(&self, pools: &mut Pools, wanted: Option<IpAddr>, seed: u64) -> Result<IpAddr, String> {
        let Some(ip) = wanted else { return self.any_ip(pools, seed) };
        let range = format!("{}/{}", Ipv4Addr::from(self.network), self.prefix);
        let inside = matches!(ip, IpAddr::V4(v4) if (1..self.size() - 1).contains(&u32::from(v4).wrapping_sub(self.network)));
        if !inside {
            return Err(format!(
                "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}"
            ));
        }
        match pools.ips.insert(ip) {
            true => Ok(ip),
            false => Err(format!("failed to allocate IP {ip}: provided IP is already allocated")),
        }
    }

    /// A free address, out of the upper part of the network as long as there is one: people choose from the lower part
    /// by hand (KEP-3070).
    fn any_ip(&self, pools: &mut Pools, seed: u64) -> Result<IpAddr, String> {
        let last = self.size() - 2;
        let reserved = (self.size() / 16).clamp(16, 256).min(last);
        let scan = |pools: &mut Pools, from: u32, to: u32| {
            let n = to.saturating_sub(from) + 1;
            let start = u32::try_from(seed % u64::from(n)).unwrap_or(0);
            let free = (0..n)
                .map(|i| from + (start + i) % n)
                .map(|o| IpAddr::from(Ipv4Addr::from(self.network + o)));
            let ip = free.into_iter().find(|ip| !pools.ips.contains(ip))?;
            pools.ips.insert(ip);
            Some(ip)
        };
        let upper = (reserved < last).then(|| scan(pools, reserved + 1, last)).flatten();
        upper
            .or_else(|| scan(pools, 1, reserved.min(last)))
            .ok_or_else(|| "failed to allocate a serviceIP: range is full".to_owned())
    }

    fn take_port(
        &self,
        pools: &mut Pools,
        protocol: &str,
        wanted: Option<u16>,
        seed: u64,
    ) -> Result<u16, String> {
        let (first, last) = (*self.node_ports.start(), *self.node_ports.end());
        if let Some(port) = wanted {
            if !self.node_ports.contains(&port) {
                return Err(format!(
                    "provided port is not in the valid range. The range of valid ports is {first}-{last}"
                ));
            }
            return match pools.ports.insert((protocol.to_owned(), port)) {
                true => Ok(port),
                false => Err("provided port is already allocated".to_owned()),
            };
        }
        let n = u64::from(last - first) + 1;
        let reserved = (n / 32).clamp(16, 128).min(n - 1);
        let numbers = (0..n - reserved).map(|i| reserved + (seed + i) % (n - reserved)).chain(0..reserved);
        let numbers = numbers.filter_map(|o| u16::try_from(u64::from(first) + o).ok());
        for port in numbers {
            // One number serves all protocols of a service, so that it must be free in all.
            let free = ["TCP", "UDP", "SCTP"].iter().all(|p| !pools.ports.contains(&((*p).to_owned(), port)));
            if free && pools.ports.insert((protocol.to_owned(), port)) {
                return Ok(port);
            }
        }
        Err("range is full".to_owned())
    }
}

impl ApiServer {
    /// Takes addresses and ports for a service, and writes them into it. Other kinds pass.
    pub(crate) fn reserve(
        &self,
        served: &Served,
        new: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
    ) -> Result<Lease<'_>, Status> {
        let mut lease = Lease {
            allocator: &self.services,
            taken: service::Held::default(),
            given_up: service::Held::default(),
        };
        if served.kind.kind != "Service" || !served.kind.group.is_empty() {
            return Ok(lease);
        }
        let name = new.metadata.name.clone();
        let invalid = |faults: &[FieldError]| Status::invalid("", "Service", &name, faults);
        let faults = service::init_families(new, old, &[Family::V4]);
        if !faults.is_empty() {
            return Err(invalid(&faults));
        }
        let wanted = service::wanted(new, old);
        let allocated = self.allocate(new, &wanted, &mut lease).map_err(|fault| invalid(&[fault]))?;
        service::put(new, &allocated);
        if let Some(old) = old {
            let (before, now) = (service::held(old), service::held(new));
            lease.given_up.cluster_ips =
                before.cluster_ips.into_iter().filter(|ip| !now.cluster_ips.contains(ip)).collect();
            lease.given_up.node_ports =
                before.node_ports.into_iter().filter(|p| !now.node_ports.contains(p)).collect();
        }
        if dry_run {
            lease.given_up = service::Held::default();
        }
        Ok(lease)
    }

    fn allocate(
        &self,
        new: &Object,
        wanted: &Wanted,
        lease: &mut Lease<'_>,
    ) -> Result<Allocated, FieldError> {
        let mut allocated = Allocated::default();
        let mut pools = self.services.pools();
        let seed = || self.uids.suffix(8).bytes().fold(0u64, |n, b| n.wrapping_mul(131) + u64::from(b));
        for (i, _, ip) in &wanted.cluster_ips {
            let ip = self.services.take_ip(&mut pools, *ip, seed()).map_err(|why| {
                let shown = new.get(&["spec", "clusterIPs"]).cloned().unwrap_or_default();
                FieldError::invalid(&FieldPath::new("spec.clusterIPs"), shown, why)
            })?;
            lease.taken.cluster_ips.push(ip);
            allocated.cluster_ips.push((*i, ip));
        }
        for want in &wanted.node_ports {
            let path = FieldPath::new("spec.ports").index(want.index).child("nodePort");
            let port = self.services.take_port(&mut pools, &want.protocol, want.number, seed());
            let port = port.map_err(|why| FieldError::invalid(&path, want.number.unwrap_or(0), why))?;
            lease.taken.node_ports.push((want.protocol.clone(), port));
            allocated.node_ports.push((want.index, port));
        }
        if let Some(number) = wanted.health_check {
            let path = FieldPath::new("spec.healthCheckNodePort");
            let port = self.services.take_port(&mut pools, "TCP", number, seed());
            let port = port.map_err(|why| FieldError::invalid(&path, number.unwrap_or(0), why))?;
            lease.taken.node_ports.push(("TCP".to_owned(), port));
            allocated.health_check = Some(port);
        }
        Ok(allocated)
    }
}
