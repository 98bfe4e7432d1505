//! `GET /containerLogs/<namespace>/<pod>/<container>`.

use super::route::Query;
use super::{Answer, text};
use crate::core::observe::{Observed, State};
use crate::core::{container, podspec, sandbox};
use crate::logs::{self, Options};
use crate::shell::{Context, PodHandle, now};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ContainerStatus;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces of a log that may wait for a slow reader.
const QUEUE: usize = 16;

fn options(q: &Query) -> Result<Options, String> {
    let number = |name: &str| match q.get(name) {
        "" => Ok(None),
        n => n
            .parse::<u64>()
            .map(Some)
            .map_err(|_| format!("invalid {name}: {n:?} is not a whole number of 0 or more")),
    };
    let since = match (number("sinceSeconds")?, q.get("sinceTime")) {
        (Some(n), _) => {
            let back = SignedDuration::from_secs(i64::try_from(n).unwrap_or(i64::MAX));
            Some(now().saturating_sub(back).unwrap_or(Timestamp::MIN))
        }
        (None, "") => None,
        (None, t) => Some(t.parse().map_err(|_| format!("invalid sinceTime: {t:?}"))?),
    };
    let stream = Some(q.get("stream").to_owned()).filter(|s| !s.is_empty() && s != "All");
    Ok(Options {
        follow: q.is(&["follow"]),
        tail: number("tailLines")?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        since,
        timestamps: q.is(&["timestamps"]),
        limit: number("limitBytes")?,
        stream,
    })
}

/// Why a container that has not run has no log (`validateContainerLogStatus`).
fn waiting(pod: &str, name: &str, s: Option<&ContainerStatus>) -> String {
    let state = s.and_then(|s| s.state.as_ref()).and_then(|s| s.waiting.as_ref());
    let why = match state.and_then(|w| w.reason.as_deref()).unwrap_or("ContainerCreating") {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    format!("container {name:?} in pod {pod:?} is waiting to start: {why}")
}

fn choose<'a>(h: &'a PodHandle, pod: &str, name: &str, previous: bool) -> Result<&'a Observed, String> {
    let mut ran = h.observed.containers.iter().filter(|c| c.name == name && c.state != State::Created);
    let s = podspec::status(&h.pod);
    let lists = [&s.container_statuses, &s.init_container_statuses, &s.ephemeral_container_statuses];
    let status = lists.into_iter().flatten().flatten().find(|s| s.name == name);
    if previous {
        // A container that waits to run again has its last run as the newest.
        let newest = ran.next();
        let waits = status.and_then(|s| s.state.as_ref()).is_some_and(|s| s.waiting.is_some());
        let found = if waits { newest.filter(|c| c.state == State::Exited) } else { ran.next() };
        return found
            .ok_or_else(|| format!("previous terminated container {name:?} in pod {pod:?} not found"));
    }
    ran.next().ok_or_else(|| waiting(pod, name, status))
}

/// Serves a container's log.
pub(crate) async fn serve(ctx: &Arc<Context>, ns: &str, pod: &str, name: &str, query: &Query) -> Answer {
    let options = match options(query) {
        Ok(o) => o,
        Err(e) => return text(422, &e),
    };
    let Some(h) = ctx.find_pod(ns, pod, "") else {
        return text(404, &format!("pod {pod:?} not found"));
    };
    if podspec::find_container(&h.pod, name).is_none() {
        return text(404, &format!("container {name:?} not found in pod {pod:?}"));
    }
    let chosen = match choose(&h, pod, name, query.is(&["previous"])) {
        Ok(c) => c,
        Err(e) => return text(400, &e),
    };
    let dir = PathBuf::from(sandbox::log_directory(&h.pod, &ctx.settings));
    let path = dir.join(container::log_path(&chosen.name, chosen.restart_count));
    if let Err(e) = tokio::fs::metadata(&path).await {
        return text(
            500,
            &format!("failed to try resolving symlinks in path {:?}: {e}", path.display().to_string()),
        );
    }
    let (sink, pieces) = mpsc::channel::<Bytes>(QUEUE);
    let (uid, id) = (podspec::uid(&h.pod).to_owned(), chosen.id.clone());
    let ctx = ctx.clone();
    tokio::spawn(async move {
        let ended = || {
            let runs = |h: &PodHandle| h.observed.by_id(&id).is_some_and(|c| c.state == State::Running);
            ctx.pod(&uid).is_none_or(|h| !runs(&h))
        };
        if let Err(e) = logs::follow(&path, options, ended, sink).await {
            tracing::debug!("reading {} ended: {e}", path.display());
        }
    });
    let stream = futures::stream::unfold(pieces, |mut p| async move { Some((p.recv().await?, p)) });
    let body = StreamBody::new(stream.map(|b| Ok::<_, Infallible>(Frame::data(b)))).boxed_unsync();
    let mut out = http::Response::new(body);
    let kind = http::HeaderValue::from_static("text/plain");
    out.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    out
}
