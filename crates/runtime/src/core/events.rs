//! Container events for the node agent's evented PLEG (KEP-3386).

use std::sync::Arc;

pub(crate) use cri::ContainerEventType as Kind;
use cri::{ContainerEventResponse, CriError, EventStream};
use tokio::sync::broadcast::error::RecvError;

use super::{Container, Core};
use crate::clock;

impl Core {
    /// Tells every listener what happened, with the pod's and containers' state of now.
    pub(super) fn tell(&self, container: &Arc<Container>, kind: Kind) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let record = container.record();
        let Ok(sandbox) = self.sandbox(&record.sandbox) else { return };
        let others = self.containers_of(&record.sandbox);
        let event = ContainerEventResponse {
            container_id: record.id,
            container_event_type: kind.into(),
            created_at: clock::now_nanos(),
            pod_sandbox_status: Some(sandbox.status()),
            containers_statuses: others.iter().map(|container| container.status()).collect(),
        };
        let _ = self.events.send(event);
    }

    /// All events from now on. A listener that falls behind is cut off, and lists anew.
    pub(crate) fn listen(&self) -> EventStream {
        let receiver = self.events.subscribe();
        Box::pin(futures::stream::unfold(Some(receiver), |state| async {
            let mut receiver = state?;
            match receiver.recv().await {
                Ok(event) => Some((Ok(event), Some(receiver))),
                Err(RecvError::Lagged(missed)) => {
                    let message = format!("{missed} container events were missed; list anew");
                    Some((Err(CriError::new(cri::Code::DataLoss, message)), None))
                }
                Err(RecvError::Closed) => None,
            }
        }))
    }
}
