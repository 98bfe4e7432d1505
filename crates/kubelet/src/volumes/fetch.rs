//! What a volume is made of: fetched from the API with the node's identity, or a place on the node.

use super::directory::memory_size;
use super::payload::{self, Defaults, Files};
use super::{fs_group, place};
use crate::core::podspec;
use crate::shell::{Context, pull_image};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, ImageVolumeSource, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use std::path::PathBuf;
use std::sync::Arc;

/// How long a token lives where nothing is said.
const TOKEN_SECONDS: i64 = 3600;

/// What a volume is made of.
pub(crate) enum Source {
    /// Files that the node writes; `secret` ones not to disk.
    Files { dir: PathBuf, files: Files, secret: bool },
    /// A directory that lives as long as the pod; in `memory`, of at most so many bytes.
    EmptyDir { dir: PathBuf, memory: Option<i64> },
    /// A path of the node; where it is made, `open` to any user.
    HostPath { path: String, kind: String, open: bool, read_only: bool },
    /// A path of the node that belongs to a volume.
    Local { path: String, read_only: bool },
    /// The content of an image.
    Image { reference: String },
}

/// The source of a volume, with everything fetched.
pub(crate) async fn source(ctx: &Arc<Context>, pod: &Arc<Pod>, v: &Volume) -> Result<Source, String> {
    let ns = podspec::namespace(pod);
    if let Some(i) = &v.image {
        return image(ctx, pod, &v.name, i, policy(i)).await;
    }
    let mut out = place_of(ctx, pod, v).await?;
    let Source::Files { files, .. } = &mut out else { return Ok(out) };
    if let Some(c) = &v.config_map {
        let name = &c.name;
        let optional = c.optional == Some(true);
        let m = ctx.objects.config_map(ns, name).await?;
        let defaults = Defaults::new(c.default_mode, c.default_user);
        *files = payload::config_map(m.as_deref(), name, c.items.as_ref(), defaults, optional)?;
    } else if let Some(s) = &v.secret {
        let name = s.secret_name.as_deref().unwrap_or_default();
        let optional = s.optional == Some(true);
        let secret = ctx.objects.secret(ns, name).await?;
        let default = Defaults::new(s.default_mode, s.default_user);
        *files = payload::secret(secret.as_deref(), name, s.items.as_ref(), default, optional)?;
    } else if let Some(d) = &v.downward_api {
        let items = d.items.as_deref().unwrap_or_default();
        let defaults = Defaults::new(d.default_mode, d.default_user);
        *files = payload::downward(pod, items, defaults, &ctx.around)?;
    } else if let Some(p) = &v.projected {
        *files = projected(ctx, pod, p).await?;
    }
    Ok(out)
}

async fn projected(ctx: &Arc<Context>, pod: &Arc<Pod>, p: &ProjectedVolumeSource) -> Result<Files, String> {
    let default = Defaults::new(p.default_mode, p.default_user);
    let mut out = Files::new();
    for s in p.sources.iter().flatten() {
        out.extend(projection(ctx, pod, s, default).await?);
    }
    Ok(out)
}

async fn projection(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    s: &VolumeProjection,
    default: Defaults,
) -> Result<Files, String> {
    let ns = podspec::namespace(pod);
    if let Some(c) = &s.config_map {
        let m = ctx.objects.config_map(ns, &c.name).await?;
        return payload::config_map(
            m.as_deref(),
            &c.name,
            c.items.as_ref(),
            default,
            c.optional == Some(true),
        );
    }
    if let Some(c) = &s.secret {
        let secret = ctx.objects.secret(ns, &c.name).await?;
        return payload::secret(
            secret.as_deref(),
            &c.name,
            c.items.as_ref(),
            default,
            c.optional == Some(true),
        );
    }
    if let Some(d) = &s.downward_api {
        return payload::downward(pod, d.items.as_deref().unwrap_or_default(), default, &ctx.around);
    }
    if let Some(t) = &s.service_account_token {
        return token(ctx, pod, t, default).await;
    }
    if let Some(b) = &s.cluster_trust_bundle {
        let name = b.name.as_deref().unwrap_or_default();
        if b.optional == Some(true) {
            return Ok(Files::new());
        }
        return Err(format!("clusterTrustBundle {name:?}: projection is not supported by this node"));
    }
    Err("a projected source of a kind that is not supported by this node".to_owned())
}

async fn token(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    t: &ServiceAccountTokenProjection,
    default: Defaults,
) -> Result<Files, String> {
    let seconds = t.expiration_seconds.unwrap_or(TOKEN_SECONDS);
    let audience = t.audience.as_deref().filter(|a| !a.is_empty());
    let text = ctx.objects.fresh_token(pod, audience, seconds).await?;
    let owner = payload::owner(t.user).or(default.owner()).or_else(|| payload::single_user(pod));
    // As upstream: readable by the group if there is one, by the one user if there is one, else as the volume says.
    let file_mode = if fs_group(pod).is_some() || owner.is_some() { 0o600 } else { default.mode() };
    payload::token(&t.path, text, file_mode, owner)
}

/// Where a volume stands, without its content.
pub(crate) async fn place_of(ctx: &Arc<Context>, pod: &Arc<Pod>, v: &Volume) -> Result<Source, String> {
    let files = |plugin: &str, secret: bool| Source::Files {
        dir: place(ctx, pod, plugin, &v.name),
        files: Files::new(),
        secret,
    };
    if let Some(e) = &v.empty_dir {
        return empty_dir(ctx, pod, &v.name, e);
    }
    if v.config_map.is_some() {
        return Ok(files("configmap", false));
    }
    if v.secret.is_some() {
        return Ok(files("secret", true));
    }
    if v.downward_api.is_some() {
        return Ok(files("downward-api", false));
    }
    if v.projected.is_some() {
        return Ok(files("projected", true));
    }
    if let Some(h) = &v.host_path {
        let (path, kind) = (h.path.clone(), h.type_.clone().unwrap_or_default());
        return Ok(Source::HostPath { path, kind, open: false, read_only: false });
    }
    if let Some(c) = &v.persistent_volume_claim {
        return claim(ctx, pod, &c.claim_name, c.read_only == Some(true)).await;
    }
    if v.ephemeral.is_some() {
        return claim(ctx, pod, &format!("{}-{}", podspec::name(pod), v.name), false).await;
    }
    if let Some(i) = &v.image {
        let policy = policy(i);
        // What "Always" asks for was done when the volume was set up.
        return image(ctx, pod, &v.name, i, if policy == "Always" { "IfNotPresent" } else { policy }).await;
    }
    if v == &(Volume { name: v.name.clone(), ..Volume::default() }) {
        return empty_dir(ctx, pod, &v.name, &EmptyDirVolumeSource::default());
    }
    Err("a volume of a kind that is not supported by this node".to_owned())
}

fn empty_dir(ctx: &Context, pod: &Pod, name: &str, e: &EmptyDirVolumeSource) -> Result<Source, String> {
    let medium = e.medium.as_deref().unwrap_or_default();
    if medium.starts_with("HugePages") {
        return Err(format!("emptyDir medium {medium:?} is not supported by this node"));
    }
    let memory = (medium == "Memory").then(|| memory_size(pod, e, ctx.around.allocatable_memory));
    Ok(Source::EmptyDir { dir: place(ctx, pod, "empty-dir", name), memory })
}

fn policy(i: &ImageVolumeSource) -> &str {
    let reference = i.reference.as_deref().unwrap_or_default();
    i.pull_policy.as_deref().unwrap_or_else(|| crate::core::images::default_policy(reference))
}

async fn image(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    volume: &str,
    i: &ImageVolumeSource,
    policy: &str,
) -> Result<Source, String> {
    let reference = i.reference.as_deref().unwrap_or_default();
    let reference = pull_image(ctx, pod, volume, reference, policy).await.map_err(|f| f.message)?;
    Ok(Source::Image { reference })
}

async fn claim(ctx: &Arc<Context>, pod: &Arc<Pod>, name: &str, read_only: bool) -> Result<Source, String> {
    let pv = ctx.objects.bound_volume(podspec::namespace(pod), name).await?;
    let spec = pv.spec.unwrap_or_default();
    if let Some(h) = spec.host_path {
        let below = std::path::Path::new(&h.path).parent();
        let open = below.is_some() && below == ctx.config.volumes_dir.as_deref();
        return Ok(Source::HostPath { path: h.path, kind: h.type_.unwrap_or_default(), open, read_only });
    }
    if let Some(l) = spec.local {
        return Ok(Source::Local { path: l.path, read_only });
    }
    let volume = pv.metadata.name.unwrap_or_default();
    Err(format!(
        "persistentvolume {volume:?} is of a kind that is not supported by this node (hostPath and local are)"
    ))
}
