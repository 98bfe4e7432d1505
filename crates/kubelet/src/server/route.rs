//! Which handler a path belongs to.

use super::{Answer, Request, answer, cadvisor, container_logs, node_logs, stats, stream, text};
use crate::core::evict::Reserve;
use crate::core::observe::State;
use crate::core::podspec;
use crate::shell::{Context, PodHandle};
use cri::ExecSyncRequest;
use http::Method;
use serde_json::json;
use std::sync::Arc;

/// Seconds that a command run by `/run` may take.
const RUN_SECONDS: i64 = 600;

/// The query of a request, decoded; a name may stand several times.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=x%20y`.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|p| !p.is_empty());
        Self(
            pairs
                .map(|p| p.split_once('=').unwrap_or((p, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// The first value of a name; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect()
    }

    /// Whether a name says yes, by one of these names.
    pub(crate) fn is(&self, names: &[&str]) -> bool {
        names.iter().any(|n| matches!(self.get(n), "1" | "true" | "True"))
    }
}

fn decode(text: &str) -> String {
    let (bytes, mut out) = (text.as_bytes(), Vec::new());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(b)) => {
                out.push(b);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (b, _) => out.push(b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Answers a request whose client is known and allowed.
pub(crate) async fn route(ctx: &Arc<Context>, request: Request) -> Answer {
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let get = *request.method() == Method::GET;
    let either = get || *request.method() == Method::POST;
    match parts.as_slice() {
        ["healthz"] | ["healthz", "ping" | "syncloop" | "log"] | ["livez"] | ["readyz"] if get => {
            text(200, "ok")
        }
        ["pods"] if get => pods(ctx, false),
        ["runningpods"] if get => pods(ctx, true),
        ["containerLogs", ns, pod, container] if get => {
            container_logs::serve(ctx, ns, pod, container, &query).await
        }
        ["exec", ns, pod, container] if either => {
            stream::exec(ctx, request, (ns, pod, "", container), &query).await
        }
        ["exec", ns, pod, uid, container] if either => {
            stream::exec(ctx, request, (ns, pod, uid, container), &query).await
        }
        ["attach", ns, pod, container] if either => {
            stream::attach(ctx, request, (ns, pod, "", container), &query).await
        }
        ["attach", ns, pod, uid, container] if either => {
            stream::attach(ctx, request, (ns, pod, uid, container), &query).await
        }
        ["portForward", ns, pod] if either => stream::port_forward(ctx, request, (ns, pod, ""), &query).await,
        ["portForward", ns, pod, uid] if either => {
            stream::port_forward(ctx, request, (ns, pod, uid), &query).await
        }
        ["run", ns, pod, container] if !get => run(ctx, (ns, pod, "", container), &query).await,
        ["run", ns, pod, uid, container] if !get => run(ctx, (ns, pod, uid, container), &query).await,
        ["stats", "summary"] if either => stats::summary(ctx).await,
        ["metrics", "cadvisor"] if get => cadvisor::cadvisor(ctx).await,
        ["metrics", "probes"] if get => cadvisor::probes(ctx),
        ["logs", below @ ..] if get => node_logs::serve(below).await,
        ["metrics", "resource"] if get => stats::resource_metrics(ctx).await,
        ["metrics"] if get => stats::metrics(ctx),
        ["configz"] if get => configz(ctx),
        _ => text(404, "404 page not found"),
    }
}

fn pods(ctx: &Context, running: bool) -> Answer {
    let fits = |h: &&PodHandle| !running || h.observed.alive().next().is_some();
    let items: Vec<_> = ctx.pods().values().filter(fits).map(|h| h.pod.clone()).collect();
    let items: Vec<_> = items.iter().map(|p| json!(&**p)).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    answer(200, "application/json", list.to_string())
}

fn configz(ctx: &Context) -> Answer {
    let c = &ctx.config;
    let in_use = |free: Reserve| 100 - free.percent;
    let body = json!({"kubeletconfig": {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "clusterDomain": c.cluster_domain, "clusterDNS": c.cluster_dns, "maxPods": c.max_pods,
        "containerLogMaxFiles": c.log_max_files, "containerLogMaxSize": c.log_max_bytes.to_string(),
        "imageGCHighThresholdPercent": in_use(c.image_gc.0), "imageGCLowThresholdPercent": in_use(c.image_gc.1)}});
    answer(200, "application/json", body.to_string())
}

/// The runtime's identifier of a running container, or the answer that tells why there is none.
pub(crate) fn running_container(
    ctx: &Context,
    (ns, pod, uid, name): (&str, &str, &str, &str),
) -> Result<String, Box<Answer>> {
    let Some(h) = ctx.find_pod(ns, pod, uid) else {
        return Err(Box::new(text(404, "pod does not exist")));
    };
    if podspec::find_container(&h.pod, name).is_none() {
        return Err(Box::new(text(404, &format!("container not found ({name:?})"))));
    }
    let found = h.observed.containers.iter().find(|c| c.name == name && c.state == State::Running);
    found.map(|c| c.id.clone()).ok_or_else(|| Box::new(text(500, &format!("container not found ({name:?})"))))
}

async fn run(ctx: &Context, place: (&str, &str, &str, &str), query: &Query) -> Answer {
    let id = match running_container(ctx, place) {
        Ok(id) => id,
        Err(a) => return *a,
    };
    let cmd: Vec<String> = query.get("cmd").split(' ').map(str::to_owned).collect();
    match ctx.runtime.exec_sync(ExecSyncRequest { container_id: id, cmd, timeout: RUN_SECONDS }).await {
        Ok(a) => answer(200, "text/plain; charset=utf-8", [a.stdout, a.stderr].concat()),
        Err(e) => text(500, &e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn queries_are_decoded() {
        let q = Query::parse("command=sh&command=-c&command=echo%20a+b%2&tty=1&x");
        assert_eq!(q.all("command"), ["sh", "-c", "echo a b%2"]);
        assert!(q.is(&["tty"]) && !q.is(&["stdin"]));
    }
}
