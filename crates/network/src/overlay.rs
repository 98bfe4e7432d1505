//! Keeps the tunnels to other nodes in step with the cluster: one VXLAN interface, and for each other node a neighbour, a
//! forwarding entry and a route. A cluster of one node has none of it.

use crate::link::{self, Vxlan};
use crate::peers::{Peers, Table, hardware_address, routes_of};
use crate::proxy::nft;
use api::Kind;
use api::core::v1::Node;
use client::reflector::{Batch, Reflector};
use client::{Caches, Client, Resource};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;
use tokio::sync::mpsc;

/// UDP port of the tunnels: Linux' own default, and that of flannel and k3s.
pub const PORT: u16 = 8472;
/// What a tunnel puts around each packet, in bytes.
const OVERHEAD: u32 = 50;
/// What a packet may have where the way to the other machine doesn't say.
const MTU: u32 = 1500;
/// Batches of changes that may wait.
const MAX_WAITING: usize = 16;
/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What the tunnels of one node need to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The rules beside the tunnels, with the names of what they are about.
    pub table: Table,
}

/// Runs until it is dropped: errors are logged and tried again.
pub async fn run(config: Config, client: Client) {
    let mut caches = Caches::default();
    let slot = caches.add_kind(&Node::INFO);
    let (sink, mut source) = mpsc::channel::<Batch>(MAX_WAITING);
    let reflector = Reflector::all(&client, Resource::of::<Node>(), Node::INFO.decode, slot);
    tokio::spawn(reflector.run(sink));
    let mut applied: Option<Peers> = None;
    let mut wanted = Peers::default();
    loop {
        let in_step = applied.as_ref() == Some(&wanted);
        match tokio::time::timeout(if in_step { Duration::MAX } else { RETRY }, source.recv()).await {
            Ok(Some(batch)) => {
                for feed in batch.feeds {
                    caches.apply(batch.slot, feed);
                }
            }
            Ok(None) => return,
            Err(_) => {}
        }
        if !caches.slots().get(slot).is_some_and(|s| s.cache.is_synced()) {
            continue;
        }
        let nodes: Vec<&Node> = caches.view().all::<Node>().collect();
        wanted = Peers::of(nodes.into_iter(), &config.node);
        if applied.as_ref() == Some(&wanted) {
            continue;
        }
        match apply(&config, &wanted, applied.as_ref()).await {
            Ok(()) => applied = Some(wanted.clone()),
            Err(e) => tracing::warn!("pods of other nodes are not reached yet, trying again: {e}"),
        }
    }
}

async fn apply(config: &Config, wanted: &Peers, before: Option<&Peers>) -> io::Result<()> {
    let interface = &config.table.interface;
    let (Some(machine), Some(address), false) = (wanted.machine, wanted.address, wanted.shares.is_empty())
    else {
        // Nobody to reach: what was there goes.
        let there = match before {
            None => link::exists(interface),
            Some(before) => !before.shares.is_empty(),
        };
        return if there { purge(config).await } else { Ok(()) };
    };
    let first = wanted.shares.values().next().copied().unwrap_or(machine);
    let tunnel = Vxlan {
        name: interface,
        vni: config.table.vni,
        port: PORT,
        local: machine,
        mac: hardware_address(machine),
        mtu: mtu(machine, first).saturating_sub(OVERHEAD),
    };
    nft(&config.table.replace(wanted)).await?;
    let index = match tunnel.ensure(address) {
        // Another node of the cluster on this machine has the tunnels; its routes are the machine's.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    for (share, at) in &wanted.shares {
        link::add_neighbour(index, share.0, hardware_address(*at), *at)?;
        link::add_route(index, *share, share.0, address)?;
    }
    let routes = std::fs::read_to_string("/proc/net/route")?;
    for stale in routes_of(interface, &routes).into_iter().filter(|r| !wanted.shares.contains_key(r)) {
        link::remove_route(index, stale)?;
    }
    Ok(())
}

/// How large packets to another machine may be.
fn mtu(from: Ipv4Addr, to: Ipv4Addr) -> u32 {
    let ask = || -> io::Result<u32> {
        let socket = UdpSocket::bind((from, 0))?;
        // Nothing is sent: the kernel looks up the way.
        socket.connect((to, PORT))?;
        Ok(rustix::net::sockopt::ip_mtu(&socket)?)
    };
    ask().unwrap_or(MTU)
}

/// Removes the tunnels and their rules from the machine; absent is fine.
pub async fn purge(config: &Config) -> io::Result<()> {
    let name = &config.table.name;
    link::remove(&config.table.interface)?;
    nft(&format!("table ip {name} {{}}\ndelete table ip {name}\n")).await
}
