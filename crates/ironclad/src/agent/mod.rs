//! `ironclad agent`: this machine as a node of a cluster whose server runs elsewhere.

mod credentials;
mod discovery;
mod join;
pub(crate) mod token;

use crate::claims::Claims;
use crate::cli::Agent;
use crate::data_dir::{DataDir, write_atomically};
use crate::ending::Ending;
use crate::node::{Door, Node};
use crate::progress::{say, since_exec, start_logging, tell};
use crate::publish::ClusterSettings;
use crate::up::{PACE, SLOW, WORKERS, is_ready, machine_allows, why_not};
use anyhow::{Context, Result, bail};
use api::core::v1::Node as NodeObject;
use client::config::Config;
use client::{Api, Client};
use credentials::{Credential, Renewable};
use kubelet::ServerTls;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// First and longest pause until the node is known to the server.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What a node keeps from the day on which it joined.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Membership {
    /// `https://host:port`.
    pub(crate) server: String,
    /// The name under which it joined.
    pub(crate) node_name: String,
    /// The cluster's settings, as of the last time that the server was reached.
    pub(crate) cluster: Option<ClusterSettings>,
}

impl Membership {
    /// The membership of this folder; none when it has none.
    pub(crate) fn load(dir: &DataDir) -> Result<Option<Self>> {
        let path = dir.node_file();
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(dir.refused(&path, &e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is damaged; remove the node with `ironclad down --purge`, and join again",
                    path.display()
                )
            }),
        }
    }

    fn save(&self, dir: &DataDir) -> Result<()> {
        let path = dir.node_file();
        let json = serde_json::to_vec_pretty(self).context("cannot encode the node's settings")?;
        write_atomically(&path, &json, 0o600).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Runs a node until SIGTERM or Ctrl-C.
pub(crate) fn run(flags: Agent, started: Instant) -> Result<()> {
    start_logging();
    runtime::raise_open_files();
    machine_allows()?;
    let dir = DataDir::new(flags.cluster.data_dir.clone())?;
    if dir.cluster_file().exists() {
        bail!(
            "{} is the folder of a cluster with a server of its own; give the node another with --data-dir",
            dir.root().display()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("ironclad")
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let result = runtime.block_on(serve(&dir, &flags, started));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(dir: &DataDir, flags: &Agent, started: Instant) -> Result<()> {
    let mut ending = Ending::new()?;
    let (stop, stopping) = watch::channel(false);
    let made = !dir.root().exists();
    dir.create()?;
    let lock = dir.lock()?;
    let begin = async {
        let (client, name) = start(dir, flags, stopping).await?;
        wait_ready(&client, &name).await;
        say(&format!("ready in {} ms", since_exec(started).as_millis()));
        std::future::pending::<Result<()>>().await
    };
    let result = tokio::select! {
        result = begin => result,
        () = ending.told() => Ok(()),
    };
    if result.is_err() && made && !dir.node_file().exists() {
        // Whoever did not join leaves nothing behind.
        let _ = std::fs::remove_dir_all(dir.root());
    }
    if result.is_ok() {
        tell("stopping; containers go on, `ironclad down` stops them");
    }
    stop.send_replace(true);
    drop(lock);
    result
}

/// Joins, or comes back, and starts the node's parts.
async fn start(dir: &DataDir, flags: &Agent, stop: watch::Receiver<bool>) -> Result<(Client, String)> {
    let mut member = join::membership(dir, flags).await?;
    let authority = join::authority_file(dir);
    let ca = std::fs::read_to_string(&authority).map_err(|e| dir.refused(&authority, &e))?;
    let base = Config { server: member.server.clone(), ca_pem: ca.clone().into_bytes(), ..Config::default() };
    let own = Credential::node(&dir.pki(), &member.node_name);
    let Some(pem) = own.kept()? else {
        bail!(
            "this node's certificate has expired: join again with the line that `ironclad token` prints on the server"
        );
    };
    let transport = Renewable::new(base.clone(), &pem)?;
    let client = Client::new(transport.clone(), "kubelet");
    tokio::spawn(own.renew(pem, client.clone(), move |pem| transport.replace(pem)));
    let settings = settings(dir, &mut member, &client).await?;
    let address = match flags.node_ip {
        Some(address) => address,
        None => join::own_address(&member.server)?,
    };
    let ranges = settings.ranges()?;
    let name = member.node_name.clone();
    let node = Node { dir: dir.clone(), name, ranges, domain: settings.dns_domain, address };
    Claims::open()?.take_for_node(ranges, dir)?;
    node.prepare()?;
    let door = Door {
        node: client.clone(),
        proxy: proxy(dir, base, &client).await?,
        serving: serving(dir, &node, ca, client.clone())?,
    };
    node.start(door, stop).await?;
    Ok((client, member.node_name))
}

/// The cluster's settings: from the server, or, where it can't be reached now, as they were.
async fn settings(dir: &DataDir, member: &mut Membership, client: &Client) -> Result<ClusterSettings> {
    match (ClusterSettings::read(client).await, &member.cluster) {
        (Ok(settings), kept) => {
            if kept.as_ref() != Some(&settings) {
                member.cluster = Some(settings.clone());
                member.save(dir)?;
            }
            Ok(settings)
        }
        (Err(e), Some(kept)) => {
            tracing::warn!("going on without the server at {} until it is back: {e:#}", member.server);
            Ok(kept.clone())
        }
        (Err(e), None) => Err(e),
    }
}

/// The service proxy's client.
async fn proxy(dir: &DataDir, base: Config, client: &Client) -> Result<Client> {
    let credential = Credential::proxy(&dir.pki());
    let pem = credential.ensure(client).await.context("no certificate for the service proxy")?;
    let transport = Renewable::new(base, &pem)?;
    let proxy = Client::new(transport.clone(), "kube-proxy");
    tokio::spawn(credential.renew(pem, client.clone(), move |pem| transport.replace(pem)));
    Ok(proxy)
}

/// What the node agent serves with: what is kept, and else what comes once the node is known to the server.
fn serving(
    dir: &DataDir,
    node: &Node,
    ca: String,
    client: Client,
) -> Result<watch::Receiver<Option<ServerTls>>> {
    let credential = Credential::serving(&dir.pki(), &node.name, node.internal_ip());
    let tls = move |pem: &str| {
        Some(ServerTls { cert_pem: pem.to_owned(), key_pem: pem.to_owned(), client_ca_pem: ca.clone() })
    };
    // One for another address is of no use any more.
    let kept = credential.kept()?.filter(|pem| auth::pki::serves(pem, node.internal_ip().into()));
    let (sender, receiver) = watch::channel(kept.as_deref().and_then(&tls));
    let (name, address) = (node.name.clone(), node.internal_ip());
    tokio::spawn(async move {
        let current = match kept {
            Some(pem) => pem,
            None => {
                known(&client, &name, address).await;
                String::new()
            }
        };
        credential.renew(current, client, move |pem| drop(sender.send_replace(tls(pem)))).await;
    });
    Ok(receiver)
}

/// Waits until the server knows the node at this address: before, nobody would vouch for it.
async fn known(client: &Client, name: &str, address: Ipv4Addr) {
    let (nodes, text, mut pause) = (Api::<NodeObject>::all(client), address.to_string(), PAUSES.0);
    loop {
        if let Ok(Some(node)) = nodes.find(name).await {
            let addresses = node.status.and_then(|s| s.addresses).unwrap_or_default();
            if addresses.iter().any(|a| a.address == text) {
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn wait_ready(client: &Client, name: &str) {
    let nodes = Api::<NodeObject>::all(client);
    let (mut warn_at, mut pause) = (Instant::now() + SLOW, PACE);
    loop {
        let why = match nodes.find(name).await {
            Ok(Some(node)) if is_ready(&node) => return,
            Ok(Some(node)) => format!("the node is not Ready: {}", why_not(&node)),
            Ok(None) => "the node has not registered".into(),
            Err(e) => format!("the server does not answer: {e}"),
        };
        if Instant::now() > warn_at {
            tracing::warn!("not ready yet: {why}");
            warn_at += SLOW;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
