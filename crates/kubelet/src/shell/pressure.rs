//! Looks whether the node runs short, and ends pods before the kernel does.

use super::machine_info::EVICTION_MEMORY;
use super::{Context, Message, PodHandle, blocking};
use crate::core::observe::{CONTAINER_NAME_LABEL, POD_UID_LABEL};
use crate::core::{Note, evict, podspec};
use cri::ListContainerStatsRequest;
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

/// Runs for ever.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut short_at: Option<Instant> = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let available = available_memory();
        if available < EVICTION_MEMORY {
            short_at = Some(Instant::now());
            relieve(&ctx, available).await;
        }
        let pressure = short_at.is_some_and(|t| t.elapsed() < TRANSITION);
        ctx.memory_pressure.store(pressure, Ordering::Relaxed);
        let handles: Vec<PodHandle> = ctx.pods().values().filter(|h| h.active).cloned().collect();
        for h in handles {
            outgrown(&ctx, &h).await;
        }
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

/// Ends one pod.
async fn relieve(ctx: &Context, available: i64) {
    let Ok(list) = ctx.runtime.list_container_stats(ListContainerStatsRequest { filter: None }).await else {
        return;
    };
    let mut used: HashMap<String, Vec<(String, i64)>> = HashMap::new();
    for s in list.stats {
        let labels = s.attributes.map(|a| a.labels).unwrap_or_default();
        let (Some(uid), Some(name)) = (labels.get(POD_UID_LABEL), labels.get(CONTAINER_NAME_LABEL)) else {
            continue;
        };
        let bytes =
            s.memory.and_then(|m| m.working_set_bytes).map_or(0, |n| i64::try_from(n.value).unwrap_or(0));
        used.entry(uid.clone()).or_default().push((name.clone(), bytes));
    }
    let handles: Vec<PodHandle> = ctx.pods().values().filter(|h| h.active).cloned().collect();
    let all: Vec<evict::Usage> = handles
        .iter()
        .filter_map(|h| {
            Some(evict::Usage { pod: h.pod.clone(), containers: used.remove(podspec::uid(&h.pod))? })
        })
        .collect();
    let Some(victim) = evict::victim(&all) else { return };
    let message = evict::memory_message(victim, EVICTION_MEMORY, available);
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
