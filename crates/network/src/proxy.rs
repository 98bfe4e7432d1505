//! Keeps the kernel's rules and the DNS zone in step with the cluster: watch, compute, apply.

use crate::clients::Forgetting;
use crate::conntrack;
use crate::dns::Server;
use crate::link;
use crate::nft::{Programmed, Table};
use crate::rules::{self, Backends, Frontend, Protocol, RuleSet};
use api::Kind;
use api::core::v1::Service;
use api::discovery::v1::EndpointSlice;
use client::reflector::{Batch, Reflector};
use client::{Caches, Change, Client, Key, Resource};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// Batches of changes that may wait while the kernel is being programmed.
const MAX_WAITING: usize = 64;
/// Changes that arrive within this time of each other go to the kernel in one transaction.
const GATHER: Duration = Duration::from_millis(1);
/// Pause before a failed transaction is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often clients of endpoints that are gone are looked for, when some of them end meanwhile.
const FORGET_TRIES: usize = 3;
/// A transaction that takes longer has failed.
const NFT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the proxy of one node needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The table of rules.
    pub table: Table,
    /// The interface that carries the service addresses.
    pub interface: String,
    /// Network of the services, with [`Config::service_bits`].
    pub service_network: Ipv4Addr,
    /// Length of the network's prefix.
    pub service_bits: u8,
}

/// Makes the interface that carries the service addresses; needed before the DNS server can bind.
pub fn prepare(config: &Config) -> io::Result<()> {
    let addresses = [config.table.dns, config.table.host];
    link::ensure(&config.interface, &addresses, config.service_network, config.service_bits)
}

/// Lets replies to the loopback addresses of node ports in by the bridge, once it is there.
fn allow_loopback_replies(config: &Config) -> io::Result<()> {
    // Replies of pods to the loopback addresses of node ports come in by the bridge; the guard chain keeps
    // everything else of that kind out (CVE-2020-8558).
    let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", config.table.bridge);
    match std::fs::write(path, "1") {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Removes everything of this proxy from the machine.
pub async fn purge(config: &Config) -> io::Result<()> {
    let name = &config.table.name;
    let rules = nft(&format!("table ip {name} {{}}\ndelete table ip {name}\n")).await;
    link::remove(&config.interface)?;
    rules
}

/// One service's share of the rules.
type Shares = BTreeMap<(String, String), RuleSet>;

struct Proxy {
    config: Config,
    dns: Option<Server>,
    caches: Caches,
    services: usize,
    slices: usize,
    shares: Shares,
    programmed: Programmed,
    /// Whether the kernel has what `shares` says; if not, everything is sent.
    in_step: bool,
    /// UDP front ends whose endpoints changed, and whose clients may still be led to the old ones.
    moved: BTreeSet<Frontend>,
    /// Front ends with affinity of which endpoints are gone.
    shrunk: BTreeSet<Frontend>,
}

/// Runs until it is dropped: errors are logged and tried again.
pub async fn run(config: Config, client: Client, dns: Option<Server>) {
    let mut caches = Caches::default();
    let (services, slices) = (caches.add_kind(&Service::INFO), caches.add_kind(&EndpointSlice::INFO));
    let (sink, mut source) = mpsc::channel(MAX_WAITING);
    for (info, slot) in [(&Service::INFO, services), (&EndpointSlice::INFO, slices)] {
        let reflector = Reflector::all(&client, Resource::from_info(info), info.decode, slot);
        tokio::spawn(reflector.run(sink.clone()));
    }
    drop(sink);
    let mut proxy = Proxy {
        config,
        dns,
        caches,
        services,
        slices,
        shares: Shares::default(),
        programmed: Programmed::default(),
        in_step: false,
        moved: BTreeSet::new(),
        shrunk: BTreeSet::new(),
    };
    let mut dirty = BTreeSet::new();
    loop {
        let pause = if proxy.in_step || !proxy.synced() { Duration::MAX } else { RETRY };
        match tokio::time::timeout(pause, source.recv()).await {
            Ok(Some(batch)) => proxy.take(batch, &mut dirty),
            Ok(None) => return,
            Err(_) => {}
        }
        tokio::time::sleep(GATHER).await;
        while let Ok(more) = source.try_recv() {
            proxy.take(more, &mut dirty);
        }
        if proxy.synced() {
            proxy.apply(std::mem::take(&mut dirty)).await;
        }
    }
}

impl Proxy {
    fn synced(&self) -> bool {
        [self.services, self.slices]
            .iter()
            .all(|s| self.caches.slots().get(*s).is_some_and(|s| s.cache.is_synced()))
    }

    /// Applies a batch to the caches and notes the services that it concerns.
    fn take(&mut self, batch: Batch, dirty: &mut BTreeSet<(String, String)>) {
        let slices = batch.slot == self.slices;
        for feed in batch.feeds {
            for change in self.caches.apply(batch.slot, feed) {
                dirty.extend(concerned(&change, slices));
            }
        }
    }

    async fn apply(&mut self, dirty: BTreeSet<(String, String)>) {
        let mut commands = String::new();
        for key in dirty {
            let new = self.refresh(&key);
            let old = self.shares.remove(&key).unwrap_or_default();
            commands.push_str(&self.programmed.change(&self.config.table, &old, &new));
            self.moved.extend(moved(&old, &new));
            self.shrunk.extend(shrunk(&old, &new));
            if !new.frontends.is_empty() {
                self.shares.insert(key, new);
            }
        }
        if self.in_step && (commands.is_empty() || self.send(&commands).await) {
            self.forget_clients().await;
            return self.forget_flows().await;
        }
        if let Err(e) = allow_loopback_replies(&self.config) {
            tracing::warn!("node ports will not answer on loopback: {e}");
        }
        let all = RuleSet { frontends: self.shares.values().flat_map(|s| s.frontends.clone()).collect() };
        let mut programmed = Programmed::default();
        let commands = programmed.replace(&self.config.table, &all);
        // One front end may be claimed by two services; the count of users is kept by service.
        self.programmed = programmed.with_users(self.shares.values());
        self.in_step = self.send(&commands).await;
        if self.in_step {
            // The table is new, and knows no clients.
            self.shrunk.clear();
            self.forget_flows().await;
        }
    }

    /// Takes front ends out of a list, with their endpoints as they are now.
    fn as_now(&self, frontends: BTreeSet<Frontend>) -> BTreeMap<Frontend, Backends> {
        let now = |f: Frontend| {
            let found = self.shares.values().find_map(|s| s.frontends.get(&f));
            (f, found.cloned().unwrap_or_default())
        };
        frontends.into_iter().map(now).collect()
    }

    /// Frees clients of services with affinity from endpoints that are gone.
    async fn forget_clients(&mut self) {
        if self.shrunk.is_empty() {
            return;
        }
        let shrunk = std::mem::take(&mut self.shrunk);
        let frontends = self.as_now(shrunk);
        let table = &self.config.table.name;
        let forgetting = Forgetting { table, frontends: &frontends };
        for (protocol, map) in forgetting.maps() {
            for attempt in 1..=FORGET_TRIES {
                let listing = match nft_output(&["-j", "list", "map", "ip", table, &map], "").await {
                    Ok(text) => text,
                    Err(e) => {
                        tracing::warn!("clients may be led to endpoints that are gone: {e}");
                        break;
                    }
                };
                let commands = forgetting.commands(protocol, &listing);
                match if commands.is_empty() { Ok(()) } else { nft(&commands).await } {
                    Ok(()) => break,
                    // Somebody's time was over in between.
                    Err(e) if attempt == FORGET_TRIES => {
                        tracing::warn!("clients may be led to endpoints that are gone: {e}");
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Lets UDP clients find the endpoints that there are now.
    async fn forget_flows(&mut self) {
        if self.moved.is_empty() {
            return;
        }
        let moved = std::mem::take(&mut self.moved);
        let frontends = self.as_now(moved);
        match tokio::task::spawn_blocking(move || conntrack::forget(&frontends)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(n)) => tracing::debug!(n, "UDP flows to endpoints that are gone are forgotten"),
            Ok(Err(e)) => tracing::warn!("UDP clients may be led to endpoints that are gone: {e}"),
        }
    }

    async fn send(&self, commands: &str) -> bool {
        match nft(commands).await {
            Ok(()) => true,
            Err(e) => {
                tracing::warn!("service rules were not applied, trying again: {e}");
                false
            }
        }
    }

    /// Computes one service anew, and tells DNS.
    fn refresh(&self, (namespace, name): &(String, String)) -> RuleSet {
        let view = self.caches.view();
        let service = view.get::<Service>(namespace, name);
        let own = |s: &&EndpointSlice| {
            s.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name")) == Some(name)
        };
        let slices: Vec<&EndpointSlice> = view.list::<EndpointSlice>(namespace).filter(own).collect();
        if let Some(dns) = &self.dns {
            dns.update(|zone| {
                zone.remove(namespace, name);
                if let Some(service) = service {
                    zone.add(service, &slices);
                }
            });
        }
        let mut share = RuleSet::default();
        if let Some(service) = service {
            rules::add_service(&mut share, service, &slices, &self.config.node);
        }
        share
    }
}

/// The UDP front ends whose endpoints are not what they were.
fn moved(old: &RuleSet, new: &RuleSet) -> BTreeSet<Frontend> {
    let all = old.frontends.keys().chain(new.frontends.keys());
    let differs = |f: &&Frontend| old.frontends.get(f) != new.frontends.get(f);
    all.filter(|f| f.protocol == Protocol::Udp).filter(differs).copied().collect()
}

/// The front ends with affinity of which endpoints are gone.
fn shrunk(old: &RuleSet, new: &RuleSet) -> BTreeSet<Frontend> {
    let gone = |(f, was): &(&Frontend, &Backends)| {
        let now = new.frontends.get(f).map(|b| b.targets.as_slice()).unwrap_or_default();
        was.affinity.is_some() && was.targets.iter().any(|t| !now.contains(t))
    };
    old.frontends.iter().filter(gone).map(|(f, _)| *f).collect()
}

/// The services that a change concerns, as (namespace, name).
fn concerned(change: &Change, slices: bool) -> Vec<(String, String)> {
    let objects = [change.old.clone(), change.new.clone()].into_iter().flatten();
    let key = |o: std::sync::Arc<dyn api::Stored>| match slices {
        true => rules::service_of(&*api::downcast::<EndpointSlice>(o)?),
        false => {
            let key = Key::of(&*o);
            Some((key.namespace.to_string(), key.name.to_string()))
        }
    };
    objects.filter_map(key).collect()
}

/// Runs one transaction of nftables commands.
pub(crate) async fn nft(commands: &str) -> io::Result<()> {
    nft_output(&["-f", "-"], commands).await.map(drop)
}

/// Runs `nft` with a text to read; what it says.
async fn nft_output(arguments: &[&str], input: &str) -> io::Result<String> {
    let mut command = tokio::process::Command::new("nft");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child =
        command.spawn().map_err(|e| io::Error::new(e.kind(), format!("cannot start nft: {e}")))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let out = tokio::time::timeout(NFT_TIMEOUT, both).await??;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stderr);
    Err(io::Error::other(text.lines().next().unwrap_or("nft failed without a word").to_owned()))
}
