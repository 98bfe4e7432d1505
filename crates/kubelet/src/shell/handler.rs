//! Runs lifecycle hooks (`pkg/kubelet/lifecycle/handlers.go`).

use super::{Context, probe};
use crate::core::{Note, podspec};
use cri::ExecSyncRequest;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::sync::Arc;
use std::time::Duration;

/// How long an HTTP hook may take.
const HTTP_LIMIT: Duration = Duration::from_secs(60);

/// Runs one hook in or against a container. The error is for the status, never for an event: it may hold secrets.
pub(crate) async fn run(
    ctx: &Context,
    pod: &Pod,
    c: &Container,
    id: &str,
    pod_ip: &str,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let cmd = exec.command.clone().unwrap_or_default();
        let shown = cmd.join(" ");
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: 0 };
        let answer = ctx.runtime.exec_sync(request).await;
        let answer = answer.map_err(|e| format!("Exec lifecycle hook ([{shown}]) failed - error: {e}"))?;
        return match answer.exit_code {
            0 => Ok(()),
            code => {
                let output = [answer.stdout, answer.stderr].concat();
                let output = String::from_utf8_lossy(&output).into_owned();
                Err(format!(
                    "Exec lifecycle hook ([{shown}]) for Container {:?} in Pod {:?} failed - error: command '{shown}' \
                     exited with {code}: {output}",
                    c.name,
                    podspec::full_name(pod)
                ))
            }
        };
    }
    if let Some(get) = &hook.http_get {
        let target = probe::http_target(get, c, pod_ip)?;
        return match probe::http_get(&target, HTTP_LIMIT).await {
            Ok(answer) if answer.status < 400 => Ok(()),
            Ok(answer) => Err(format!("HTTP lifecycle hook failed with statuscode: {}", answer.status)),
            Err(e) => Err(e),
        };
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}

/// Runs a container's `preStop` hook for at most `limit` seconds.
pub(crate) async fn pre_stop(ctx: &Arc<Context>, pod: &Arc<Pod>, id: &str, name: &str, limit: i64) {
    let Some((c, role)) = podspec::find_container(pod, name) else { return };
    let Some(hook) = c.lifecycle.as_ref().and_then(|l| l.pre_stop.clone()) else { return };
    let handle = ctx.pod(podspec::uid(pod));
    let ips = handle.and_then(|h| h.observed.sandbox().map(|s| s.ips.clone())).unwrap_or_default();
    let ip = match podspec::host_network(pod) {
        true => ctx.around.host_ips.first().cloned().unwrap_or_default(),
        false => ips.first().cloned().unwrap_or_default(),
    };
    let limit = Duration::from_secs(u64::try_from(limit).unwrap_or(0));
    if let Ok(Err(e)) = tokio::time::timeout(limit, run(ctx, pod, &c, id, &ip, &hook)).await {
        tracing::debug!(container = name, "preStop hook failed: {e}");
        ctx.teller.pod(pod, Note::warning("FailedPreStopHook", "PreStopHook failed").of(role, name));
    }
}
