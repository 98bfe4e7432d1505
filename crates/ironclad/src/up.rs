//! `ironclad up` and `ironclad server`: from settings to a ready cluster, and its orderly end.

use crate::check::{Level, Machine};
use crate::claims::Claims;
use crate::ending::Ending;
use crate::node::Node;
use crate::progress::{say, since_exec, start_logging, tell};
use crate::settings::{Cluster, Settings};
use crate::wiring::{self, ControlPlane};
use crate::{data_dir, kubeconfig};
use anyhow::{Context, Result, bail};
use api::core::v1::Node as NodeObject;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Less free space than this is not enough to start with, in bytes.
pub(crate) const MIN_FREE: u64 = 64 << 20;
/// Threads for everything that waits.
pub(crate) const WORKERS: usize = 2;
/// Between two looks at whether everything is ready.
pub(crate) const PACE: Duration = Duration::from_millis(2);
/// After this long without being ready a warning says what is missing.
pub(crate) const SLOW: Duration = Duration::from_secs(20);

/// What is held while the cluster runs.
struct Held {
    _lock: data_dir::Lock,
    cluster: Cluster,
    listener: TcpListener,
}

/// Runs a cluster until SIGTERM or Ctrl-C.
pub(crate) fn run(settings: Settings, started: Instant) -> Result<()> {
    start_logging();
    runtime::raise_open_files();
    if settings.node {
        machine_allows()?;
    }
    let held = take(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("ironclad")
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let result = runtime.block_on(serve(&settings, held, started));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Fails with everything that keeps a node from running here.
pub(crate) fn machine_allows() -> Result<()> {
    let missing: Vec<String> = Machine::look()
        .findings()
        .into_iter()
        .filter(|f| f.level == Level::Missing)
        .map(|f| f.text)
        .collect();
    if missing.is_empty() { Ok(()) } else { bail!("{}", missing.join("\n")) }
}

/// Takes data directory, port and address ranges. Touches nothing before it is sure of the port.
fn take(settings: &Settings) -> Result<Held> {
    let dir = &settings.data_dir;
    if let Some(free) = dir.free_bytes().filter(|free| *free < MIN_FREE) {
        bail!(
            "only {} MiB are free where {} is, and a cluster needs {}; make room, or choose another place with --data-dir",
            free >> 20,
            dir.root().display(),
            MIN_FREE >> 20
        );
    }
    if dir.node_file().exists() {
        bail!(
            "{} is the folder of a node that joined a cluster elsewhere; name another with --data-dir",
            dir.root().display()
        );
    }
    if let Some(path) = &settings.write_kubeconfig {
        kubeconfig::takes(path)?;
    }
    let early = if dir.exists() { Some(dir.lock()?) } else { None };
    let claims = if settings.node { Some(Claims::open()?) } else { None };
    let (cluster, listener) = Cluster::choose(settings, claims.as_ref())?;
    dir.create()?;
    let lock = match early {
        Some(lock) => lock,
        None => dir.lock()?,
    };
    if let Some(claims) = claims {
        claims.take(cluster.address_ranges()?, dir)?;
        node(settings, &cluster)?.prepare()?;
    }
    cluster.save(dir)?;
    Ok(Held { _lock: lock, cluster, listener })
}

async fn serve(settings: &Settings, held: Held, started: Instant) -> Result<()> {
    let mut ending = Ending::new()?;
    let (stop, stopping) = watch::channel(false);
    let Held { _lock, cluster, listener } = held;
    tell(&format!("data in {}, API at {}", settings.data_dir.root().display(), cluster.server_url()));
    let plane = wiring::build(settings, &cluster)?;
    kubeconfig::write(&settings.data_dir.kubeconfig(), &cluster, &plane.pki)?;
    if let Some(path) = &settings.write_kubeconfig {
        let context = kubeconfig::write(path, &cluster, &plane.pki)?;
        tell(&format!("{} has the context {context}", path.display()));
    }
    let serving = listen(settings, &cluster, &plane, listener, &stopping)?;
    plane.start_deciders(settings, &cluster)?;
    let begin = async {
        if settings.node {
            let node = node(settings, &cluster)?;
            node.start(plane.door(&node.name, node.internal_ip())?, stopping.clone()).await?;
        }
        wait_ready(settings, &plane).await?;
        say(&format!("ready in {} ms", since_exec(started).as_millis()));
        tell(&format!("export KUBECONFIG={}", settings.data_dir.kubeconfig().display()));
        std::future::pending::<Result<()>>().await
    };
    let result = tokio::select! {
        result = begin => result,
        () = ending.told() => Ok(()),
    };
    tell("stopping; containers go on, `ironclad down` stops them");
    stop.send_replace(true);
    for task in serving {
        let _ = task.await;
    }
    result
}

/// The node of a cluster on this machine.
fn node(settings: &Settings, cluster: &Cluster) -> Result<Node> {
    Ok(Node {
        dir: settings.data_dir.clone(),
        name: settings.node_name.clone(),
        ranges: cluster.address_ranges()?,
        domain: wiring::DOMAIN.to_owned(),
        address: cluster.machine(),
    })
}

type Serving = Vec<tokio::task::JoinHandle<()>>;

/// Listens where the user asked, and for pods at the node's own address.
fn listen(
    settings: &Settings,
    cluster: &Cluster,
    plane: &ControlPlane,
    listener: TcpListener,
    stopping: &watch::Receiver<bool>,
) -> Result<Serving> {
    let mut listeners = vec![listener];
    let advertised = cluster.advertise(settings.node)?;
    if !cluster.listen.ip().is_unspecified() && advertised != cluster.listen {
        let address = advertised;
        listeners.push(
            TcpListener::bind(address).with_context(|| format!("cannot listen for pods at {address}"))?,
        );
    }
    let mut serving = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (server, tls, mut stopping) = (plane.server.clone(), plane.tls.clone(), stopping.clone());
        serving.push(tokio::spawn(async move {
            let stop = async move { drop(stopping.wait_for(|s| *s).await) };
            if let Err(e) = server.serve(listener, tls, stop).await {
                tracing::error!("the API server stopped listening: {e}");
            }
        }));
    }
    Ok(serving)
}

/// Waits until /readyz says ok and, with a node, the node is Ready.
async fn wait_ready(settings: &Settings, plane: &ControlPlane) -> Result<()> {
    let client = plane.client("system:apiserver", &["system:masters"], "ironclad");
    let nodes = client::Api::<NodeObject>::all(&client);
    let mut warn_at = Instant::now() + SLOW;
    loop {
        let api = client.send(client::Call::get_path("/readyz")).await;
        let why = match api {
            Err(e) => format!("the API is not ready: {e}"),
            Ok(_) if !settings.node => return Ok(()),
            Ok(_) => match nodes.find(&settings.node_name).await {
                Ok(Some(node)) if is_ready(&node) => return Ok(()),
                Ok(Some(node)) => format!("the node is not Ready: {}", why_not(&node)),
                Ok(None) => "the node has not registered".into(),
                Err(e) => format!("the node can't be read: {e}"),
            },
        };
        if Instant::now() > warn_at {
            tracing::warn!("not ready yet: {why}");
            warn_at += SLOW;
        }
        tokio::time::sleep(PACE).await;
    }
}

fn ready_condition(node: &NodeObject) -> Option<&api::core::v1::NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == "Ready")
}

pub(crate) fn is_ready(node: &NodeObject) -> bool {
    ready_condition(node).is_some_and(|c| c.status == "True")
}

pub(crate) fn why_not(node: &NodeObject) -> String {
    ready_condition(node)
        .and_then(|c| c.message.clone())
        .unwrap_or_else(|| "it has not said anything yet".into())
}
