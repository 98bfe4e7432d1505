//! Puts the agent together and runs it: one readable list of what there is.

use super::context::Parts;
use super::machine_info::{self, Capacity};
use super::node_status::{self, Fixed};
use super::tell::Teller;
use super::{Config, Context, Message, Objects, garbage, lease, pleg, pressure, worker};
use crate::core::downward::Surroundings;
use crate::core::sandbox::NodeSettings;
use crate::core::{NodeView, Note, PodObservation, admit, dns, evict, podspec};
use crate::{logs, server};
use api::{Kind, Stored};
use client::cache::{Cache, Change};
use client::reflector::{Batch, Reflector};
use client::{Api, Client, Resource};
use cri::{ContainerRuntime, VersionRequest};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Batches of pods that may wait.
const QUEUE: usize = 64;
/// Pause between attempts to reach the runtime.
const RUNTIME_PAUSE: Duration = Duration::from_millis(100);
/// How the agent names itself to the API.
const USER_AGENT: &str = "kubelet/v1.37.0";

/// Why the agent can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directories can't be made.
    #[error("{0}")]
    Disk(String),
    /// Its HTTPS server can't be started.
    #[error("{0}")]
    Server(String),
}

/// Runs the node agent until `shutdown` turns true. Pods go on when it ends; the next start takes them over.
pub async fn run(
    config: Config,
    client: Client,
    runtime: Arc<dyn ContainerRuntime>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    for dir in [&config.root.join("pods"), &config.pod_logs] {
        super::make_dir_now(dir, 0o755).map_err(Error::Disk)?;
    }
    let client = client.named(USER_AGENT);
    let listener = server::listen(&config).await.map_err(Error::Server)?;
    let port = listener.as_ref().map(server::Listening::port);
    let Some(version) = runtime_version(&*runtime, &mut shutdown).await else { return Ok(()) };
    let capacity = Capacity::read(&config);
    let system = machine_info::system(&version.runtime_name, &version.runtime_version);
    let fixed = Fixed { system, capacity, port };
    let ctx = Arc::new(context(config, client, runtime, &version.runtime_name, capacity));
    ctx.node.send_replace(Arc::new(node_status::initial(&ctx.config, &fixed)));
    let mut tasks = JoinSet::new();
    tasks.spawn(node_status::run(ctx.clone(), fixed));
    tasks.spawn(lease::run(ctx.clone()));
    tasks.spawn(pods(ctx.clone()));
    tasks.spawn(garbage::run_images(ctx.clone()));
    tasks.spawn(pressure::run(ctx.clone()));
    tasks.spawn(logs::run_rotation(ctx.clone()));
    if let Some(l) = listener {
        tasks.spawn(server::serve(ctx.clone(), l));
    }
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|s| *s) => break,
            Some(end) = tasks.join_next() => {
                if let Err(e) = end {
                    tracing::error!("a part of the node agent failed: {e}");
                }
            }
        }
    }
    // Workers end without touching their pods.
    ctx.stop.send_replace(true);
    ctx.pods().clear();
    Ok(())
}

/// Waits for the runtime; none if the agent is to end first.
async fn runtime_version(
    runtime: &dyn ContainerRuntime,
    shutdown: &mut watch::Receiver<bool>,
) -> Option<cri::VersionResponse> {
    loop {
        let why = match runtime.version(VersionRequest { version: "v1".to_owned() }).await {
            Ok(v) => return Some(v),
            Err(e) => e,
        };
        tracing::debug!("the container runtime does not answer yet: {why}");
        tokio::select! {
            _ = shutdown.wait_for(|s| *s) => return None,
            () = tokio::time::sleep(RUNTIME_PAUSE) => {}
        }
    }
}

fn context(
    config: Config,
    client: Client,
    runtime: Arc<dyn ContainerRuntime>,
    runtime_name: &str,
    capacity: Capacity,
) -> Context {
    let host_ips = vec![config.node_ip.to_string()];
    let resolv_conf = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
    let allocatable = capacity.allocatable(&config);
    let settings = NodeSettings {
        resolver: dns::Resolver {
            cluster_servers: config.cluster_dns.clone(),
            cluster_domain: config.cluster_domain.clone(),
            host: dns::parse_resolv_conf(&resolv_conf),
        },
        pod_logs: config.pod_logs.to_string_lossy().into_owned(),
        seccomp_dir: config.root.join("seccomp").to_string_lossy().into_owned(),
        memory: capacity.memory,
        unified_cgroups: std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        apparmor: std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|t| t.trim() == "Y"),
    };
    let around = Surroundings {
        pod_ips: Vec::new(),
        host_ips: host_ips.clone(),
        allocatable_cpu: allocatable.cpu,
        allocatable_memory: allocatable.memory,
        allocatable_storage: allocatable.storage,
    };
    let view = NodeView { host_ips, runtime_name: runtime_name.to_owned() };
    let teller = Teller::start(client.clone(), config.node_name.clone());
    let objects = Objects::start(client.clone());
    Context::new(Parts { config, client, runtime, view, settings, around, objects, teller })
}

/// Follows the pods that are bound to this node.
async fn pods(ctx: Arc<Context>) {
    let (sink, mut batches) = mpsc::channel::<Batch>(QUEUE);
    let reflector = Reflector {
        fields: format!("spec.nodeName={}", ctx.config.node_name),
        ..Reflector::all(&ctx.client, Resource::of::<Pod>(), <Pod as Kind>::INFO.decode, 0)
    };
    let mut others = JoinSet::new();
    others.spawn(reflector.run(sink));
    let mut cache = Cache::default();
    let mut adopted = false;
    while let Some(batch) = batches.recv().await {
        let mut changes: Vec<Change> = batch.feeds.into_iter().flat_map(|f| cache.apply(f)).collect();
        // Who was there first is admitted first.
        changes.sort_by_key(|c| c.object().and_then(|o| o.meta().creation_timestamp.clone()));
        for change in changes {
            dispatch(&ctx, change, adopted).await;
        }
        if !adopted && cache.is_synced() {
            adopted = true;
            if let Err(e) = garbage::adopt_orphans(&ctx).await {
                tracing::warn!("leftovers are not looked for: {e}");
            }
            others.spawn(pleg::run(ctx.clone()));
            others.spawn(garbage::run_pods(ctx.clone()));
        }
    }
}

fn pod_of(o: Option<Arc<dyn Stored>>) -> Option<Arc<Pod>> {
    api::downcast::<Pod>(o?)
}

async fn tell(ctx: &Context, uid: &str, message: Message) -> bool {
    match ctx.pod(uid) {
        Some(h) => h.sender.send(message).await.is_ok(),
        None => false,
    }
}

/// `adopted`: nothing of a pod can be in the runtime that this agent did not put there.
async fn dispatch(ctx: &Arc<Context>, change: Change, adopted: bool) {
    let (old, new) = (pod_of(change.old), pod_of(change.new));
    if let Some(old) = old {
        let same = new.as_ref().is_some_and(|n| n.metadata.uid == old.metadata.uid);
        if !same {
            tell(ctx, podspec::uid(&old), Message::Removed).await;
        }
    }
    let Some(pod) = new else { return };
    let uid = podspec::uid(&pod).to_owned();
    if tell(ctx, &uid, Message::Update(pod.clone())).await {
        return;
    }
    // What can't be told is not taken as absent: a second sandbox could be made. The worker asks until it knows.
    let observed = match adopted && is_new(&pod) {
        true => Some(PodObservation::default()),
        false => ctx.observe_pod(&uid).await.ok(),
    };
    let absent = observed.as_ref().is_some_and(|o| o.sandboxes.is_empty());
    let verdict = if absent { refuse(ctx, &pod).await } else { None };
    worker::spawn(ctx, pod, observed, false, verdict);
}

/// Whether no node can have started anything of the pod.
fn is_new(pod: &Pod) -> bool {
    let s = podspec::status(pod);
    s.start_time.is_none() && s.container_statuses.as_ref().is_none_or(Vec::is_empty)
}

fn others(ctx: &Context, pod: &Pod) -> Vec<Arc<Pod>> {
    let pods = ctx.pods();
    let others = pods.iter().filter(|(uid, h)| h.active && *uid != podspec::uid(pod));
    others.map(|(_, h)| h.pod.clone()).collect()
}

/// Why a pod that runs here can't have what it newly asks for; none if it can.
pub(crate) fn no_room(ctx: &Context, pod: &Pod) -> Option<String> {
    let (others, node) = (others(ctx, pod), ctx.node.borrow().clone());
    admit::fits(pod, others.iter().map(|p| &**p), &node).err().map(|r| r.message)
}

/// What stands against running the pod here, by the node as it is known.
fn rejection(ctx: &Context, pod: &Pod) -> Option<admit::Rejection> {
    let others = others(ctx, pod);
    let node = ctx.node.borrow().clone();
    let pressed = |flag: &std::sync::atomic::AtomicBool| flag.load(std::sync::atomic::Ordering::Relaxed);
    match evict::refusal(pod, pressed(&ctx.memory_pressure), pressed(&ctx.disk_pressure)) {
        Some(message) => Some(admit::Rejection { reason: evict::REASON.to_owned(), message }),
        None => admit::admit(pod, others.iter().map(|p| &**p), &node, ctx.settings.apparmor).err(),
    }
}

/// Why the pod can't run here, as the phase, reason and message of its status. The scheduler may have seen newer labels
/// and amounts of the node than we have: before a pod is refused, the node is asked for (`getNodeAnyWay`).
pub(crate) async fn refuse(ctx: &Context, pod: &Arc<Pod>) -> Option<(String, String, String)> {
    if podspec::is_deleting(pod) || podspec::is_terminal(podspec::status(pod).phase.as_deref()) {
        return None;
    }
    rejection(ctx, pod)?;
    if let Ok(node) = Api::<Node>::all(&ctx.client).get(&ctx.config.node_name).await {
        ctx.node.send_replace(Arc::new(node));
    }
    let r = rejection(ctx, pod)?;
    let reason: &'static str = admit::known_reason(&r.reason);
    ctx.teller.pod(pod, Note::warning(reason, r.message.clone()));
    Some(("Failed".to_owned(), r.reason, format!("Pod was rejected: {}", r.message)))
}
