//! What is left over: pods in the runtime that the API doesn't know, their directories, and images that nobody
//! uses (`pkg/kubelet/images/image_gc_manager.go`).

use super::{Context, pressure, worker};
use crate::core::evict::{FileSystem, Reserve};
use cri::{ImageFsInfoRequest, ImageSpec, ListImagesRequest, RemoveImageRequest};
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often to look for leftovers of pods.
const PODS_PERIOD: Duration = Duration::from_secs(60);
/// How often to look at the images' disk (`imageGCPeriod`).
const IMAGES_PERIOD: Duration = Duration::from_secs(300);
/// An image younger than this on the node stays (`imageMinimumGCAge`).
const IMAGE_MIN_AGE: Duration = Duration::from_secs(120);

/// Takes in hand everything in the runtime and on disk of which no worker knows. Call it once the API's pods are
/// known.
pub(crate) async fn adopt_orphans(ctx: &Arc<Context>) -> Result<(), cri::CriError> {
    let mut left = ctx.known_pods().await?;
    for e in std::fs::read_dir(ctx.config.root.join("pods")).into_iter().flatten().flatten() {
        let uid = e.file_name().to_string_lossy().into_owned();
        let mut pod = Pod::default();
        pod.metadata.uid = Some(uid.clone());
        left.entry(uid).or_insert(pod);
    }
    for (uid, pod) in left {
        if ctx.pod(&uid).is_some() {
            continue;
        }
        let observed = ctx.observe_pod(&uid).await?;
        // One may have come from the API meanwhile.
        if ctx.pod(&uid).is_none() {
            tracing::info!(uid, "a pod that the API does not know is removed");
            worker::spawn(ctx, Arc::new(pod), Some(observed), true, None);
        }
    }
    Ok(())
}

/// Runs for ever.
pub(crate) async fn run_pods(ctx: Arc<Context>) {
    loop {
        tokio::time::sleep(PODS_PERIOD).await;
        if let Err(e) = adopt_orphans(&ctx).await {
            tracing::debug!("leftovers are not looked for: {e}");
        }
    }
}

/// Runs for ever.
pub(crate) async fn run_images(ctx: Arc<Context>) {
    let mut seen = BTreeMap::new();
    loop {
        let sweep = tokio::time::timeout(IMAGES_PERIOD, ctx.sweep_images.notified()).await.is_ok();
        if let Err(e) = collect_images(&ctx, &mut seen, sweep).await {
            let node = ctx.node.borrow().clone();
            ctx.teller.node(&node, true, "ImageGCFailed", e);
        }
    }
}

/// Bytes to free so that `until` is free; none while `start` is.
fn missing(fs: &FileSystem, (start, until): (Reserve, Reserve)) -> Option<u64> {
    let short = fs.available < start.of(fs.capacity);
    short.then(|| u64::try_from(until.of(fs.capacity) - fs.available).unwrap_or(0))
}

/// Where images are kept.
pub(crate) async fn image_place(ctx: &Context) -> Result<String, String> {
    let info = ctx.runtime.image_fs_info(ImageFsInfoRequest {}).await.map_err(|e| e.to_string())?;
    let fs = info.image_filesystems.first().and_then(|f| f.fs_id.clone());
    fs.map(|f| f.mountpoint).ok_or_else(|| "the runtime tells no image filesystem".to_owned())
}

/// Bytes to free now: what is missing, or as many as can be had.
async fn wanted(ctx: &Context, sweep: bool) -> Result<Option<u64>, String> {
    if sweep {
        return Ok(Some(u64::MAX));
    }
    let fs = pressure::file_system(Path::new(&image_place(ctx).await?));
    Ok(missing(&fs, ctx.config.image_gc))
}

async fn collect_images(
    ctx: &Context,
    seen: &mut BTreeMap<String, (Instant, Instant)>,
    sweep: bool,
) -> Result<(), String> {
    let listed = SystemTime::now();
    let list =
        ctx.runtime.list_images(ListImagesRequest { filter: None }).await.map_err(|e| e.to_string())?;
    let used: HashSet<String> = {
        let pods = ctx.pods();
        let all = pods.values().flat_map(|h| h.observed.containers.iter());
        all.flat_map(|c| [c.image.clone(), c.image_ref.clone()]).collect()
    };
    let at = Instant::now();
    let present: BTreeSet<String> = list.images.iter().map(|i| i.id.clone()).collect();
    seen.retain(|id, _| present.contains(id));
    ctx.pulled.forget_absent(&present, listed);
    for i in &list.images {
        let names = i.repo_tags.iter().chain(&i.repo_digests).chain([&i.id]);
        let in_use = i.pinned || names.into_iter().any(|n| used.contains(n));
        let entry = seen.entry(i.id.clone()).or_insert((at, at));
        if in_use {
            entry.1 = at;
        }
    }
    let Some(mut to_free) = wanted(ctx, sweep).await? else { return Ok(()) };
    let mut idle: Vec<_> =
        list.images.iter().filter(|i| !i.pinned).filter_map(|i| Some((i, seen.get(&i.id)?))).collect();
    idle.retain(|(_, (first, last))| *last != at && first.elapsed() >= IMAGE_MIN_AGE);
    idle.sort_by_key(|(_, times)| times.1);
    for (image, _) in idle {
        if to_free == 0 {
            return Ok(());
        }
        let spec = ImageSpec { image: image.id.clone(), ..ImageSpec::default() };
        let removed = ctx.runtime.remove_image(RemoveImageRequest { image: Some(spec) }).await;
        if removed.is_ok() {
            to_free = to_free.saturating_sub(image.size);
        }
    }
    match to_free {
        0 => Ok(()),
        _ if sweep => Ok(()),
        n => Err(format!(
            "Failed to garbage collect required amount of images. {n} bytes are still to be freed."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{FileSystem, Reserve, missing};

    #[test]
    fn images_are_removed_between_two_marks() {
        let free = |available, capacity| {
            let fs = FileSystem { available, capacity, ..FileSystem::default() };
            missing(&fs, (Reserve::percent(15), Reserve { percent: 20, at_most: 180 }))
        };
        assert_eq!([free(20, 100), free(15, 100), free(0, 0)], [None; 3]);
        assert_eq!([free(10, 100), free(100, 1000)], [Some(10), Some(80)]);
    }
}
