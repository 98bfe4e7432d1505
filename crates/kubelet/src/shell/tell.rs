//! Events on their way to the API: one task tells them in order; a full queue drops them, never stalls a pod.

use super::context::now;
use crate::core::Note;
use crate::core::podspec;
use client::Client;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use reconcile::{EventNote, Recorder};
use tokio::sync::mpsc;

/// Events that may wait to be told.
const QUEUE: usize = 1024;
/// The component that events name.
const COMPONENT: &str = "kubelet";

/// Hands events over to be told.
#[derive(Clone)]
pub(crate) struct Teller {
    queue: mpsc::Sender<EventNote>,
}

impl Teller {
    /// Starts the task that tells events for `host`.
    pub(crate) fn start(client: Client, host: String) -> Self {
        let (queue, mut notes) = mpsc::channel::<EventNote>(QUEUE);
        tokio::spawn(async move {
            let mut recorder = Recorder::default();
            while let Some(note) = notes.recv().await {
                let Some(write) = recorder.record((COMPONENT, &host), &note, now()) else { continue };
                let sent = client.send(write.call).await;
                match (sent, write.otherwise) {
                    (Err(e), Some(call)) if e.is_not_found() => drop(client.send(call).await),
                    (Err(e), _) => tracing::debug!(reason = note.reason, "event not recorded: {e}"),
                    (Ok(_), _) => {}
                }
            }
        });
        Self { queue }
    }

    fn send(&self, note: EventNote) {
        if self.queue.try_send(note).is_err() {
            tracing::warn!("too many events wait to be recorded; one is dropped");
        }
    }

    /// An event about a pod or one of its containers.
    pub(crate) fn pod(&self, pod: &Pod, note: Note) {
        let field_path = note.container.as_ref().map(|(role, name)| podspec::field_path(*role, name));
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path,
        };
        let (reason, message) = (note.reason.to_owned(), note.message);
        self.send(EventNote { regarding, warning: note.warning, reason, message });
    }

    /// An event about the node. Upstream refers to it by its name in the place of the UID.
    pub(crate) fn node(&self, node: &Node, warning: bool, reason: &str, message: String) {
        let name = node.metadata.name.clone();
        let regarding = ObjectReference {
            kind: Some("Node".to_owned()),
            uid: name.clone(),
            name,
            ..ObjectReference::default()
        };
        self.send(EventNote { regarding, warning, reason: reason.to_owned(), message });
    }
}
