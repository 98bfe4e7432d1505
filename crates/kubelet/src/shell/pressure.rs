//! Looks whether the node runs short of memory or disk, and ends pods before the kernel does
//! (`pkg/kubelet/eviction/eviction_manager.go`).

use super::{Context, Message, PodHandle, blocking, garbage};
use crate::core::evict::{self, Figures, FileSystem, Resource, Shortage, Usage};
use crate::core::observe::{CONTAINER_NAME_LABEL, POD_UID_LABEL};
use crate::core::{Note, podspec, sandbox};
use cri::{ContainerStats, ListContainerStatsRequest};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often to look (`evictionMonitoringPeriod`).
const PERIOD: Duration = Duration::from_secs(10);
/// How long the node stays under pressure after it was (`evictionPressureTransitionPeriod`).
const TRANSITION: Duration = Duration::from_secs(300);
/// Files of a volume that are counted at most.
const MAX_FILES: usize = 1_000_000;

/// When the node was last short of something.
#[derive(Default)]
struct Last {
    memory: Option<Instant>,
    disk: Option<Instant>,
    /// Images nobody uses were asked to go for this shortage already.
    swept: bool,
}

/// Runs for ever.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut last = Last::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let short = evict::shortages(&figures(&ctx).await, &ctx.config.eviction);
        look(&ctx, &mut last, &short).await;
        let handles: Vec<PodHandle> = ctx.pods().values().filter(|h| h.active).cloned().collect();
        for h in handles {
            outgrown(&ctx, &h).await;
        }
    }
}

/// Notes what the node is short of, and does one thing about it: images that nobody uses go before pods do.
async fn look(ctx: &Context, last: &mut Last, short: &[Shortage]) {
    let at = Instant::now();
    for s in short {
        match s.resource {
            Resource::Memory => last.memory = Some(at),
            Resource::Storage | Resource::Inodes => last.disk = Some(at),
        }
    }
    let recent = |t: Option<Instant>| t.is_some_and(|t| t.elapsed() < TRANSITION);
    ctx.memory_pressure.store(recent(last.memory), Ordering::Relaxed);
    ctx.disk_pressure.store(recent(last.disk), Ordering::Relaxed);
    let Some(first) = short.first() else {
        last.swept = false;
        return;
    };
    let node = ctx.node.borrow().clone();
    ctx.teller.node(
        &node,
        true,
        "EvictionThresholdMet",
        format!("Attempting to reclaim {}", first.resource.word()),
    );
    if first.resource != Resource::Memory && !std::mem::replace(&mut last.swept, true) {
        return ctx.sweep_images.notify_one();
    }
    relieve(ctx, first).await;
}

async fn figures(ctx: &Context) -> Figures {
    let memory = available_memory();
    let nodefs = file_system(&ctx.config.root);
    let imagefs = match garbage::image_place(ctx).await {
        Ok(place) => file_system(Path::new(&place)),
        Err(_) => FileSystem::default(),
    };
    Figures { memory, nodefs, imagefs }
}

/// A file system; one that can't be asked is one of which nothing is known.
pub(crate) fn file_system(path: &Path) -> FileSystem {
    let Ok(s) = rustix::fs::statvfs(path) else { return FileSystem::default() };
    let n = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    FileSystem {
        available: n(s.f_bavail.saturating_mul(s.f_frsize)),
        capacity: n(s.f_blocks.saturating_mul(s.f_frsize)),
        inodes_free: n(s.f_ffree),
        inodes: n(s.f_files),
    }
}

fn available_memory() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<i64>().ok());
    kib.map_or(i64::MAX, |k| k * 1024)
}

async fn end(ctx: &Context, h: &PodHandle, message: String) {
    tracing::warn!(pod = podspec::full_name(&h.pod), "evicted: {message}");
    ctx.teller.pod(&h.pod, Note::warning(evict::REASON, message.clone()));
    let _ = h.sender.send(Message::Evict(evict::REASON.to_owned(), message, 0)).await;
}

/// What the runtime says of each container, by the pod's UID.
async fn stats(ctx: &Context) -> HashMap<String, Vec<(String, ContainerStats)>> {
    let mut out: HashMap<String, Vec<_>> = HashMap::new();
    let listed = ctx.runtime.list_container_stats(ListContainerStatsRequest { filter: None }).await;
    for s in listed.map(|l| l.stats).unwrap_or_default() {
        let label = |k: &str| s.attributes.as_ref().and_then(|a| a.labels.get(k)).cloned();
        if let (Some(uid), Some(name)) = (label(POD_UID_LABEL), label(CONTAINER_NAME_LABEL)) {
            out.entry(uid).or_default().push((name, s));
        }
    }
    out
}

fn amount(n: Option<&cri::UInt64Value>) -> i64 {
    n.map_or(0, |n| i64::try_from(n.value).unwrap_or(i64::MAX))
}

fn memory_usage(h: &PodHandle, containers: Vec<(String, ContainerStats)>) -> Usage {
    let used = |s: &ContainerStats| amount(s.memory.as_ref().and_then(|m| m.working_set_bytes.as_ref()));
    let containers = containers.iter().map(|(name, s)| (name.clone(), used(s))).collect();
    Usage { pod: h.pod.clone(), containers, volumes: 0 }
}

/// Writable layers with logs by container, and volumes.
async fn disk_usage(ctx: &Context, h: &PodHandle, containers: Vec<(String, ContainerStats)>) -> Usage {
    let logs = PathBuf::from(sandbox::log_directory(&h.pod, &ctx.settings));
    let volumes: Vec<PathBuf> = crate::volumes::disk_volumes(ctx, &h.pod);
    let used = |s: &ContainerStats| amount(s.writable_layer.as_ref().and_then(|w| w.used_bytes.as_ref()));
    let layers: Vec<(String, i64)> = containers.iter().map(|(name, s)| (name.clone(), used(s))).collect();
    let sizes = blocking(move || {
        let containers: Vec<_> =
            layers.into_iter().map(|(n, b)| (n.clone(), b + size_of(&logs.join(&n)))).collect();
        Ok((containers, volumes.iter().map(|v| size_of(v)).sum()))
    });
    let (containers, volumes) = sizes.await.unwrap_or_default();
    Usage { pod: h.pod.clone(), containers, volumes }
}

/// Ends one pod.
async fn relieve(ctx: &Context, short: &Shortage) {
    let mut stats = stats(ctx).await;
    let handles: Vec<PodHandle> = ctx.pods().values().filter(|h| h.active).cloned().collect();
    let mut all = Vec::new();
    for h in &handles {
        let Some(containers) = stats.remove(podspec::uid(&h.pod)) else { continue };
        all.push(match short.resource {
            Resource::Memory => memory_usage(h, containers),
            Resource::Storage | Resource::Inodes => disk_usage(ctx, h, containers).await,
        });
    }
    let Some(victim) = evict::victim(&all, short.resource) else { return };
    let message = evict::message(victim, short);
    let handle = handles.iter().find(|h| Arc::ptr_eq(&h.pod, &victim.pod));
    if let Some(h) = handle {
        end(ctx, h, message).await;
    }
}

async fn outgrown(ctx: &Context, h: &PodHandle) {
    for (name, limit, written) in evict::limited_volumes(&h.pod) {
        let dir = crate::volumes::empty_dir_path(ctx, &h.pod, &name);
        let size = blocking(move || Ok(size_of(&dir))).await.unwrap_or(0);
        if size > limit {
            return end(ctx, h, evict::volume_message(&name, &written)).await;
        }
    }
    if evict::has_storage_limit(&h.pod) {
        let containers = stats(ctx).await.remove(podspec::uid(&h.pod)).unwrap_or_default();
        if let Some(message) = evict::storage_excess(&disk_usage(ctx, h, containers).await) {
            end(ctx, h, message).await;
        }
    }
}

/// Bytes on disk below `dir`, links not followed.
fn size_of(dir: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt;
    let (mut todo, mut sum, mut seen) = (vec![PathBuf::from(dir)], 0u64, 0);
    while let Some(d) = todo.pop() {
        for e in std::fs::read_dir(&d).into_iter().flatten().flatten() {
            let Ok(meta) = e.metadata() else { continue };
            seen += 1;
            sum += meta.blocks() * 512;
            if meta.is_dir() {
                todo.push(e.path());
            }
            if seen >= MAX_FILES {
                return i64::MAX;
            }
        }
    }
    i64::try_from(sum).unwrap_or(i64::MAX)
}
