//! Keeps logs from growing without end (`pkg/kubelet/logs/container_log_manager.go`). Rotated files are kept as
//! they are: they are few and bounded.

use crate::core::State;
use crate::core::sandbox;
use crate::shell::{Context, blocking};
use cri::ReopenContainerLogRequest;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often logs are looked at (`containerLogMonitorInterval`).
const PERIOD: Duration = Duration::from_secs(10);

/// Runs for ever.
pub(crate) async fn run(ctx: Arc<Context>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let handles: Vec<_> = ctx.pods().values().cloned().collect();
        for h in handles {
            let dir = PathBuf::from(sandbox::log_directory(&h.pod, &ctx.settings));
            for c in h.observed.containers.iter().filter(|c| c.state == State::Running) {
                let path = dir.join(crate::core::container::log_path(&c.name, c.restart_count));
                if let Err(e) = rotate(&ctx, &c.id, path).await {
                    tracing::warn!(container = c.id, "log not rotated: {e}");
                }
            }
        }
    }
}

async fn rotate(ctx: &Arc<Context>, id: &str, path: PathBuf) -> Result<(), String> {
    let Ok(meta) = std::fs::metadata(&path) else { return Ok(()) };
    if meta.len() < ctx.config.log_max_bytes {
        return Ok(());
    }
    let (stamp, keep) =
        (jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string(), ctx.config.log_max_files);
    let rotated = PathBuf::from(format!("{}.{stamp}", path.display()));
    let (from, to) = (path.clone(), rotated.clone());
    blocking(move || {
        std::fs::rename(&from, &to).map_err(|e| e.to_string())?;
        prune(&from, keep)
    })
    .await?;
    let request = ReopenContainerLogRequest { container_id: id.to_owned() };
    if let Err(e) = ctx.runtime.reopen_container_log(request).await {
        // The runtime still writes to the old file: give it its name back.
        std::fs::rename(&rotated, &path).map_err(|e| e.to_string())?;
        return Err(e.to_string());
    }
    Ok(())
}

/// Removes the oldest rotated files beyond `keep` in all, the present one counted.
fn prune(path: &Path, keep: usize) -> Result<(), String> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(dir).map_err(|e| e.to_string())?;
    let mut old: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(&prefix))
        .map(|e| e.path())
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(keep.saturating_sub(1));
    old.iter().take(surplus).try_for_each(|p| std::fs::remove_file(p).map_err(|e| e.to_string()))
}
