//! The volumes of a pod on this node: what is needed is fetched first, then written and mounted in one go.
//! Everything is idempotent: a refresh does the same again.

mod atomic;
mod directory;
mod fetch;
mod mounts;
mod payload;
mod subpath;

use crate::core::podspec;
use crate::core::{container, dns, env};
use crate::shell::{Context, Followed, Object, blocking, make_dir_now, now, write_file};
use cri::{ImageSpec, Mount};
use directory::Access;
use fetch::Source;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory of a pod's volumes below its own.
const VOLUMES: &str = "volumes";
/// The directory of bound parts of volumes below a pod's own.
const SUB_PATHS: &str = "volume-subpaths";
/// Where a container finds its hosts file.
const ETC_HOSTS: &str = "/etc/hosts";
/// Most bytes of a file of variables.
const MAX_ENV_FILE: u64 = 64 << 10;
/// The mode of a file for last words: any user of the container may write it.
const LAST_WORDS_MODE: u32 = 0o666;

/// Where a volume stands on the node.
fn place(ctx: &Context, pod: &Pod, plugin: &str, name: &str) -> PathBuf {
    let dir = format!("kubernetes.io~{plugin}");
    ctx.pod_dir(podspec::uid(pod)).join(VOLUMES).join(dir).join(name)
}

/// Where an `emptyDir` stands.
pub(crate) fn empty_dir_path(ctx: &Context, pod: &Pod, name: &str) -> PathBuf {
    place(ctx, pod, "empty-dir", name)
}

/// The pod's volumes that use up the node's disk for as long as it lives.
pub(crate) fn disk_volumes(ctx: &Context, pod: &Pod) -> Vec<PathBuf> {
    let on_disk = |v: &&Volume| {
        v.empty_dir.as_ref().is_some_and(|e| e.medium.as_deref().unwrap_or_default().is_empty())
    };
    volumes(pod).iter().filter(on_disk).map(|v| empty_dir_path(ctx, pod, &v.name)).collect()
}

fn volumes(pod: &Pod) -> &[Volume] {
    podspec::spec(pod).volumes.as_deref().unwrap_or_default()
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let sc = podspec::spec(pod).security_context.as_ref()?;
    sc.fs_group.and_then(|g| u32::try_from(g).ok())
}

fn changes(v: &Volume) -> bool {
    v.config_map.is_some() || v.secret.is_some() || v.downward_api.is_some() || v.projected.is_some()
}

/// Whether anything in the pod's volumes changes while it runs.
pub(crate) fn refreshes(pod: &Pod) -> bool {
    volumes(pod).iter().any(changes)
}

/// The ConfigMaps and Secrets that the pod's volumes show.
pub(crate) fn followed(pod: &Pod) -> BTreeSet<Object> {
    let ns = podspec::namespace(pod);
    let map = |name: &str| (Followed::ConfigMap, ns.to_owned(), name.to_owned());
    let secret = |name: &str| (Followed::Secret, ns.to_owned(), name.to_owned());
    let mut out = BTreeSet::new();
    for v in volumes(pod) {
        out.extend(v.config_map.as_ref().map(|c| map(&c.name)));
        out.extend(v.secret.as_ref().and_then(|s| s.secret_name.as_deref()).map(secret));
        for s in v.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            out.extend(s.config_map.as_ref().map(|c| map(&c.name)));
            out.extend(s.secret.as_ref().map(|s| secret(&s.name)));
        }
    }
    out
}

/// Makes the pod's directory and all its volumes.
pub(crate) async fn mount(ctx: &Arc<Context>, pod: &Arc<Pod>) -> Result<(), String> {
    make_dir_now(&ctx.pod_dir(podspec::uid(pod)), 0o750)?;
    set_up(ctx, pod, volumes(pod)).await
}

/// Brings what changes in the pod's volumes up to date.
pub(crate) async fn refresh(ctx: &Arc<Context>, pod: &Arc<Pod>) -> Result<(), String> {
    let changing: Vec<Volume> = volumes(pod).iter().filter(|v| changes(v)).cloned().collect();
    set_up(ctx, pod, &changing).await
}

async fn set_up(ctx: &Arc<Context>, pod: &Arc<Pod>, list: &[Volume]) -> Result<(), String> {
    if list.is_empty() {
        return Ok(());
    }
    let named = |v: &Volume, e: String| format!("MountVolume.SetUp failed for volume {:?} : {e}", v.name);
    let sources = try_join_all(list.iter().map(|v| async move {
        let source = fetch::source(ctx, pod, v).await.map_err(|e| named(v, e))?;
        Ok::<_, String>((v.name.clone(), source))
    }))
    .await?;
    let group = fs_group(pod);
    let policy = podspec::spec(pod).security_context.as_ref().and_then(|s| s.fs_group_change_policy.clone());
    let lazily = policy.as_deref() == Some("OnRootMismatch");
    let stamp = now().as_nanosecond().to_string();
    blocking(move || {
        for (name, source) in sources {
            let r = make(&source, group, lazily, &stamp);
            r.map_err(|e| format!("MountVolume.SetUp failed for volume {name:?} : {e}"))?;
        }
        Ok(())
    })
    .await
}

fn make(source: &Source, group: Option<u32>, lazily: bool, stamp: &str) -> Result<(), String> {
    match source {
        Source::Files { dir, files, secret } => {
            make_dir_now(dir, 0o777)?;
            if *secret && !mounts::is_mount(dir) {
                // Without the right to mount, the files stand on disk.
                if let Err(e) = mounts::tmpfs(dir, 0, group) {
                    tracing::debug!("no tmpfs for {}: {e}", dir.display());
                }
            }
            atomic::write(dir, files, group, stamp).map(|_| ())
        }
        Source::EmptyDir { dir, memory } => directory::empty_dir(dir, *memory, group),
        Source::HostPath { path, kind, open, .. } => directory::host_path(path, kind, *open),
        Source::Local { path, read_only } => {
            if !Path::new(path).exists() {
                return Err(format!("path {path:?} does not exist"));
            }
            let group = group.filter(|_| !read_only);
            group.map_or(Ok(()), |g| directory::give_to_group(Path::new(path), g, Access::Write, lazily))
        }
        Source::Image { .. } => Ok(()),
    }
}

/// Unmounts everything of the pod and removes its volumes. What containers left for the status stays.
pub(crate) async fn unmount(ctx: &Arc<Context>, pod: &Arc<Pod>) -> Result<(), String> {
    let dir = ctx.pod_dir(podspec::uid(pod));
    if !dir.exists() {
        return Ok(());
    }
    blocking(move || {
        mounts::unmount_below(&dir)?;
        for part in [VOLUMES, SUB_PATHS] {
            remove(&dir.join(part))?;
        }
        Ok(())
    })
    .await
}

/// Removes all directories of the pod.
pub(crate) async fn clear(ctx: &Arc<Context>, pod: &Arc<Pod>) -> Result<(), String> {
    ctx.objects.forget_tokens(podspec::uid(pod));
    let dir = ctx.pod_dir(podspec::uid(pod));
    let logs = PathBuf::from(crate::core::sandbox::log_directory(pod, &ctx.settings));
    blocking(move || {
        if dir.exists() {
            mounts::unmount_below(&dir)?;
        }
        remove(&dir)?;
        remove(&logs)
    })
    .await
}

fn remove(dir: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {e}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The mounts of one container: its volumes, its hosts file, and the file for its last words.
pub(crate) async fn container_mounts(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    c: &Container,
    vars: &[(String, String)],
    ips: &[String],
) -> Result<Vec<Mount>, String> {
    let mut out = Vec::new();
    for (i, m) in c.volume_mounts.iter().flatten().enumerate() {
        let Some(v) = volumes(pod).iter().find(|v| v.name == m.name) else {
            return Err(format!("volume {:?} of container {:?} is not there", m.name, c.name));
        };
        let source = fetch::place_of(ctx, pod, v).await?;
        out.push(volume_mount(ctx, pod, c, (i, m), vars, source).await?);
    }
    let own_hosts = out.iter().any(|m: &Mount| m.container_path == ETC_HOSTS);
    if !own_hosts && (podspec::host_network(pod) || !ips.is_empty()) {
        out.push(hosts_mount(ctx, pod, ips)?);
    }
    out.push(last_words_mount(ctx, pod, c)?);
    Ok(out)
}

async fn volume_mount(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    c: &Container,
    (index, m): (usize, &VolumeMount),
    vars: &[(String, String)],
    source: Source,
) -> Result<Mount, String> {
    let (root, read_only) = match source {
        Source::Image { reference } => {
            let image = ImageSpec { image: reference, ..ImageSpec::default() };
            let mount = container::mount(m, String::new(), true);
            return Ok(Mount { image: Some(image), image_sub_path: sub_path(m, vars)?, ..mount });
        }
        Source::Files { dir, .. } => (dir, true),
        Source::EmptyDir { dir, .. } => (dir, false),
        Source::HostPath { path, read_only, .. } | Source::Local { path, read_only } => {
            (PathBuf::from(path), read_only)
        }
    };
    let sub = sub_path(m, vars)?;
    if sub.is_empty() {
        return Ok(container::mount(m, root.to_string_lossy().into_owned(), read_only));
    }
    let base = ctx.pod_dir(podspec::uid(pod)).join(SUB_PATHS);
    let target = base.join(&m.name).join(&c.name).join(index.to_string());
    let bound = target.clone();
    blocking(move || {
        let fd = subpath::open(&root, Path::new(&sub))?;
        if mounts::is_mount(&bound) {
            if subpath::is_bound(&fd, &bound) {
                return Ok(());
            }
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(&bound, flags)
                .map_err(|e| format!("cannot unmount {}: {e}", bound.display()))?;
        }
        if bound.symlink_metadata().is_ok_and(|m| m.is_file()) {
            let _ = std::fs::remove_file(&bound);
        }
        subpath::bind(&fd, &bound)
    })
    .await
    .map_err(|why| {
        format!("failed to prepare subPath for volumeMount {:?} of container {:?}: {why}", m.name, c.name)
    })?;
    Ok(container::mount(m, target.to_string_lossy().into_owned(), read_only))
}

fn sub_path(m: &VolumeMount, vars: &[(String, String)]) -> Result<String, String> {
    let Some(expr) = m.sub_path_expr.as_deref().filter(|e| !e.is_empty()) else {
        return Ok(m.sub_path.clone().unwrap_or_default());
    };
    let missing = std::cell::RefCell::new(Vec::new());
    let lookup = |name: &str| {
        let found = vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        if found.is_none() {
            missing.borrow_mut().push(name.to_owned());
        }
        found
    };
    let expanded = env::expand(expr, &lookup);
    if let Some(name) = missing.borrow().first() {
        return Err(format!("cannot expand subPathExpr {expr:?}: missing value for {name:?}"));
    }
    if expanded.is_empty() {
        return Err(format!("subPathExpr {expr:?} expands to nothing"));
    }
    Ok(expanded)
}

/// The text of a small file in a volume of the pod, opened beneath the volume whatever links it holds.
pub(crate) async fn file_text(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    volume: &str,
    path: &str,
) -> Result<String, String> {
    use std::io::Read;
    let v = volumes(pod).iter().find(|v| v.name == volume);
    let v = v.ok_or_else(|| format!("cannot find the volume {volume:?} referenced by FileKeyRef"))?;
    let root = match fetch::place_of(ctx, pod, v).await? {
        Source::Files { dir, .. } | Source::EmptyDir { dir, .. } => dir,
        _ => return Err(format!("the volume {volume:?} referenced by FileKeyRef is no emptyDir")),
    };
    let file = subpath::open_file(&root, Path::new(path))?;
    let path = path.to_owned();
    blocking(move || {
        let mut text = String::new();
        file.take(MAX_ENV_FILE)
            .read_to_string(&mut text)
            .map_err(|e| format!("cannot read {path:?}: {e}"))?;
        Ok(text)
    })
    .await
}

fn bind(container_path: &str, host_path: &Path) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_string_lossy().into_owned(),
        ..Mount::default()
    }
}

fn hosts_mount(ctx: &Context, pod: &Pod, ips: &[String]) -> Result<Mount, String> {
    let text = match podspec::host_network(pod) {
        true => dns::host_network_hosts_file(pod, &std::fs::read_to_string(ETC_HOSTS).unwrap_or_default()),
        false => dns::hosts_file(pod, ips, &ctx.config.cluster_domain),
    };
    let path = ctx.pod_dir(podspec::uid(pod)).join("etc-hosts");
    write_file(&path, text.as_bytes(), 0o644)?;
    Ok(bind(ETC_HOSTS, &path))
}

fn last_words_mount(ctx: &Context, pod: &Pod, c: &Container) -> Result<Mount, String> {
    let dir = ctx.pod_dir(podspec::uid(pod)).join("containers").join(&c.name);
    make_dir_now(&dir, 0o750)?;
    let path = dir.join(format!("{:08x}", now().as_nanosecond() & 0xffff_ffff));
    write_file(&path, b"", LAST_WORDS_MODE)?;
    Ok(bind(container::termination_path(c), &path))
}
