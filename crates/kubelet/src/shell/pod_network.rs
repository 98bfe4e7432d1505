//! Hands the node's share of the pods' addresses, which the cluster gives it (`spec.podCIDR`), to the runtime
//! (`updatePodCIDR` in `pkg/kubelet/kubelet_network.go`).

use super::Context;
use api::Kind;
use client::reflector::{Batch, Reflector};
use client::{Cache, Resource};
use cri::{NetworkConfig, RuntimeConfig, UpdateRuntimeConfigRequest};
use k8s_openapi::api::core::v1::Node;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Batches of changes that may wait.
const QUEUE: usize = 4;

/// What the runtime was told, and word of changes.
pub(crate) struct Share {
    told: String,
    changes: watch::Receiver<String>,
    _follower: JoinSet<()>,
}

/// The ranges of a node, as the runtime takes them; empty before it has any.
fn ranges(node: &Node) -> String {
    let spec = node.spec.as_ref();
    let all = spec.and_then(|s| s.pod_cidrs.clone()).filter(|all| !all.is_empty());
    let one = || spec.and_then(|s| s.pod_cidr.clone()).into_iter().collect();
    all.unwrap_or_else(one).join(",")
}

impl Share {
    /// Follows the node's own object, so that a first share is not waited for.
    pub(crate) fn follow(ctx: &Arc<Context>) -> Self {
        let (sender, changes) = watch::channel(String::new());
        let (sink, mut batches) = mpsc::channel::<Batch>(QUEUE);
        let reflector = Reflector {
            fields: format!("metadata.name={}", ctx.config.node_name),
            ..Reflector::all(&ctx.client, Resource::of::<Node>(), <Node as Kind>::INFO.decode, 0)
        };
        let name = ctx.config.node_name.clone();
        let mut follower = JoinSet::new();
        follower.spawn(reflector.run(sink));
        follower.spawn(async move {
            let mut cache = Cache::default();
            while let Some(batch) = batches.recv().await {
                for change in batch.feeds.into_iter().flat_map(|f| cache.apply(f)) {
                    let Some(node) = change.new.and_then(api::downcast::<Node>) else { continue };
                    if node.metadata.name.as_ref() == Some(&name) {
                        let now = ranges(&node);
                        sender.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
                    }
                }
            }
        });
        Self { told: String::new(), changes, _follower: follower }
    }

    /// Waits for another share.
    pub(crate) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells the runtime, unless it knows and has set up its network.
    pub(crate) async fn tell(&mut self, ctx: &Context, node: &Node, ready: bool) {
        let now = match self.changes.borrow().as_str() {
            "" => ranges(node),
            newest => newest.to_owned(),
        };
        if now.is_empty() || (ready && now == self.told) {
            return;
        }
        let network_config = Some(NetworkConfig { pod_cidr: now.clone() });
        let request = UpdateRuntimeConfigRequest { runtime_config: Some(RuntimeConfig { network_config }) };
        match ctx.runtime.update_runtime_config(request).await {
            Ok(_) => self.told = now,
            // Tried again with the next look at the status.
            Err(e) => tracing::warn!("the runtime does not take the pod addresses {now}: {}", e.message),
        }
    }
}
