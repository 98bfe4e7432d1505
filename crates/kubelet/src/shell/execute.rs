//! Carries out what the core asks for: one function for each op.

use super::{Context, handler, probe, pull, start};
use crate::core::ops::Op;
use crate::core::{Outcome, Sandbox, podspec, resize, resources, sandbox};
use crate::volumes;
use client::{Api, DeleteOptions};
use cri::{
    PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StopContainerRequest, StopPodSandboxRequest, UpdateContainerResourcesRequest,
    UpdatePodSandboxResourcesRequest,
};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::Duration;

/// Answers of a runtime may come this much later than the grace that it was given.
const STOP_SLACK: Duration = Duration::from_secs(30);

/// Carries out one op for `pod`.
pub(crate) async fn run(ctx: Arc<Context>, pod: Arc<Pod>, op: Op) -> Outcome {
    match op {
        Op::Mount => Outcome::Mounted(volumes::mount(&ctx, &pod).await),
        Op::CreateSandbox { attempt } => Outcome::Sandbox(create_sandbox(&ctx, &pod, attempt).await),
        Op::StopSandbox { id } => {
            let request = StopPodSandboxRequest { pod_sandbox_id: id.clone() };
            let r = gone_is_fine(ctx.runtime.stop_pod_sandbox(request).await);
            Outcome::SandboxStopped(id, r)
        }
        Op::EnsureImage { container, image, policy } => {
            let r = pull::ensure(&ctx, &pod, &container, &image, &policy).await;
            Outcome::Image(container, r)
        }
        Op::Start { container, role, restart_count, sandbox, ips, image_ref } => {
            let what = start::What { name: container, role, restart_count, sandbox, ips, image_ref };
            start::start(&ctx, &pod, what).await
        }
        Op::PreStop { id, container, limit } => {
            handler::pre_stop(&ctx, &pod, &id, &container, limit).await;
            Outcome::PreStopped(id)
        }
        Op::Stop { id, grace } => stop(&ctx, id, grace).await,
        Op::RemoveContainer { id } => {
            let request = RemoveContainerRequest { container_id: id.clone() };
            let r = gone_is_fine(ctx.runtime.remove_container(request).await);
            Outcome::ContainerRemoved(id, r)
        }
        Op::RemoveSandbox { id } => {
            let request = RemovePodSandboxRequest { pod_sandbox_id: id.clone() };
            let r = gone_is_fine(ctx.runtime.remove_pod_sandbox(request).await);
            Outcome::SandboxRemoved(id, r)
        }
        Op::Resize { id, container } => {
            let r = resize(&ctx, &pod, &id, &container).await;
            Outcome::Resized(id, r)
        }
        Op::Probe { id, container, kind } => {
            let answer = probe::run(&ctx, &pod, &id, &container, kind).await;
            ctx.probes.count(podspec::uid(&pod), &container, kind, &answer);
            Outcome::Probed(id, container, kind, answer)
        }
        Op::Unmount => Outcome::Unmounted(volumes::unmount(&ctx, &pod).await),
        Op::DeletePod => Outcome::Deleted(delete(&ctx, &pod).await),
        Op::Clear => Outcome::Cleared(volumes::clear(&ctx, &pod).await),
    }
}

fn gone_is_fine<T>(r: Result<T, cri::CriError>) -> Result<(), String> {
    match r {
        Err(e) if !e.is_not_found() => Err(e.to_string()),
        _ => Ok(()),
    }
}

async fn create_sandbox(ctx: &Arc<Context>, pod: &Arc<Pod>, attempt: u32) -> Result<Sandbox, String> {
    let (config, notes) = sandbox::config(pod, attempt, &ctx.settings)?;
    notes.into_iter().for_each(|n| ctx.teller.pod(pod, n));
    super::disk::make_dir(&config.log_directory, 0o755).await?;
    let runtime_handler = ctx.objects.runtime_handler(pod).await?;
    let request = RunPodSandboxRequest { config: Some(config), runtime_handler };
    let made = ctx.runtime.run_pod_sandbox(request).await.map_err(|e| e.to_string())?;
    let request = PodSandboxStatusRequest { pod_sandbox_id: made.pod_sandbox_id, verbose: false };
    let answer = ctx.runtime.pod_sandbox_status(request).await.map_err(|e| e.to_string())?;
    answer.status.as_ref().map(Sandbox::from_cri).ok_or_else(|| "pod sandbox status is nil".to_owned())
}

/// Gives the pod as a whole what it may use. What can't be is no failure: the containers' own limits hold.
async fn resize_pod(ctx: &Arc<Context>, pod: &Arc<Pod>) -> bool {
    let sandbox = ctx.pod(podspec::uid(pod)).and_then(|h| h.observed.ready_sandbox().map(|s| s.id.clone()));
    let request = UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: sandbox.unwrap_or_default(),
        overhead: Some(resources::for_overhead(pod)),
        resources: Some(resources::for_sandbox(pod)),
    };
    let answer = ctx.runtime.update_pod_sandbox_resources(request).await;
    if let Err(e) = &answer {
        tracing::debug!(pod = podspec::full_name(pod), "the pod's limits are not changed: {e}");
    }
    answer.is_ok()
}

/// Gives a container what its spec says; returns that as text. The pod must have more before its containers, and can
/// have less after the last of them: the kernel refuses what is in the wrong order.
async fn resize(ctx: &Arc<Context>, pod: &Arc<Pod>, id: &str, name: &str) -> Result<String, String> {
    let (c, _) = podspec::find_container(pod, name).ok_or_else(|| format!("container {name:?} is gone"))?;
    let request = UpdateContainerResourcesRequest {
        container_id: id.to_owned(),
        linux: Some(resources::for_container(pod, &c, &ctx.settings)),
        ..UpdateContainerResourcesRequest::default()
    };
    let grown = resize_pod(ctx, pod).await;
    ctx.runtime.update_container_resources(request).await.map_err(|e| e.to_string())?;
    if !grown {
        resize_pod(ctx, pod).await;
    }
    Ok(resize::amounts(&c))
}

async fn stop(ctx: &Arc<Context>, id: String, grace: i64) -> Outcome {
    let request = StopContainerRequest { container_id: id.clone(), timeout: grace };
    let limit = Duration::from_secs(u64::try_from(grace).unwrap_or(0)).saturating_add(STOP_SLACK);
    let answer = match tokio::time::timeout(limit, ctx.runtime.stop_container(request)).await {
        Ok(r) => gone_is_fine(r),
        Err(_) => Err(format!("the runtime did not stop container {id} within {} s", limit.as_secs())),
    };
    let seen = match ctx.observe_container(&id).await {
        Ok(Some(o)) => Some(o),
        // Gone: as ended as can be.
        Ok(None) => {
            let gone = ctx.pods().values().find_map(|h| h.observed.by_id(&id).cloned());
            gone.map(|o| crate::core::Observed { state: crate::core::State::Exited, ..o })
        }
        Err(_) => None,
    };
    Outcome::Stopped(id, seen, answer)
}

async fn delete(ctx: &Arc<Context>, pod: &Arc<Pod>) -> Result<(), String> {
    let options = DeleteOptions { grace: Some(0), ..DeleteOptions::of_uid(podspec::uid(pod)) };
    let api = Api::<Pod>::namespaced(&ctx.client, podspec::namespace(pod));
    match api.delete(podspec::name(pod), &options).await {
        Err(e) if !e.is_not_found() && !e.is_conflict() => Err(e.to_string()),
        _ => Ok(()),
    }
}
