//! Hears from the runtime what happens to containers (KEP-3386), and looks for itself where the runtime can't
//! tell or the stream broke.

use super::observe;
use super::{Context, Message};
use crate::core::observe::POD_UID_LABEL;
use crate::core::{Outcome, PodObservation, Sandbox};
use cri::{Code, ContainerEventResponse, ContainerEventType, ContainerStatus, GetEventsRequest};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// How often to look when the runtime tells nothing.
const POLL: Duration = Duration::from_secs(1);
/// How often to look although the runtime tells.
const RELIST: Duration = Duration::from_secs(60);
/// Pause before asking for the stream again.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs for ever.
pub(crate) async fn run(ctx: Arc<Context>) {
    loop {
        match ctx.runtime.get_container_events(GetEventsRequest {}).await {
            Ok(mut events) => {
                relist(&ctx).await;
                loop {
                    match tokio::time::timeout(RELIST, events.next()).await {
                        Err(_) => relist(&ctx).await,
                        Ok(Some(Ok(event))) => heard(&ctx, event).await,
                        Ok(Some(Err(e))) => {
                            tracing::warn!("the runtime's event stream failed: {e}");
                            break;
                        }
                        Ok(None) => break,
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(e) => {
                let missing = e.code == Code::Unimplemented;
                tracing::debug!(missing, "no event stream: {e}");
                tokio::time::sleep(POLL).await;
                relist(&ctx).await;
            }
        }
    }
}

fn uid_of(event: &ContainerEventResponse) -> Option<String> {
    let of_sandbox = event.pod_sandbox_status.as_ref();
    let from_meta =
        of_sandbox.and_then(|s| s.metadata.as_ref()).map(|m| m.uid.clone()).filter(|u| !u.is_empty());
    let label = |s: &ContainerStatus| s.labels.get(POD_UID_LABEL).cloned();
    from_meta.or_else(|| event.containers_statuses.iter().find_map(label))
}

async fn heard(ctx: &Arc<Context>, event: ContainerEventResponse) {
    let uid = uid_of(&event);
    if event.container_event_type == ContainerEventType::ContainerDeletedEvent as i32 {
        let to = uid.and_then(|u| ctx.pod(&u)).into_iter();
        for h in to {
            let _ =
                h.sender.send(Message::Outcome(Box::new(Outcome::Gone(event.container_id.clone())))).await;
        }
        return;
    }
    let Some(uid) = uid else { return relist(ctx).await };
    let Some(handle) = ctx.pod(&uid) else { return };
    let mut seen = PodObservation::default();
    seen.sandboxes.extend(event.pod_sandbox_status.as_ref().map(Sandbox::from_cri));
    seen.containers.extend(event.containers_statuses.iter().filter_map(observe::container));
    if seen.containers.is_empty() {
        let asked = ctx.observe_container(&event.container_id).await;
        seen.containers.extend(asked.ok().flatten());
    }
    let _ = handle.sender.send(Message::Outcome(Box::new(Outcome::Seen(seen)))).await;
}

/// Asks for everything and tells each worker of its pod.
async fn relist(ctx: &Arc<Context>) {
    let handles: Vec<(String, _)> = ctx.pods().iter().map(|(u, h)| (u.clone(), h.clone())).collect();
    for (uid, h) in handles {
        match ctx.observe_pod(&uid).await {
            Ok(all) if *h.observed != all => {
                let _ = h.sender.send(Message::Outcome(Box::new(Outcome::Relisted(all)))).await;
            }
            Ok(_) => {}
            Err(e) => return tracing::warn!("cannot list the runtime's containers: {e}"),
        }
    }
}
