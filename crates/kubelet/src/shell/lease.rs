//! The node's sign of life (`pkg/kubelet/kubelet.go: nodeLeaseController`, KEP-589).

use super::Context;
use super::context::now;
use client::{Api, Error};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use std::sync::Arc;
use std::time::Duration;

/// The namespace of nodes' leases.
const NAMESPACE: &str = "kube-node-lease";
/// Seconds after which a node that gave no sign counts as lost (`nodeLeaseDurationSeconds`).
const DURATION_SECONDS: i32 = 40;
/// The first and the longest pause after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(7));

fn renewed(mut lease: Lease, ctx: &Context) -> Lease {
    let name = &ctx.config.node_name;
    lease.metadata.name = Some(name.clone());
    lease.metadata.namespace = Some(NAMESPACE.to_owned());
    let uid = ctx.node.borrow().metadata.uid.clone();
    if let (Some(uid), true) = (uid, lease.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)) {
        lease.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.clone(),
            uid,
            ..OwnerReference::default()
        }]);
    }
    let mut spec = lease.spec.take().unwrap_or_default();
    spec.holder_identity = Some(name.clone());
    spec.lease_duration_seconds = Some(DURATION_SECONDS);
    spec.renew_time = Some(MicroTime(now()));
    lease.spec = Some(spec);
    lease
}

async fn renew(ctx: &Context, last: &mut Option<Lease>) -> Result<(), Error> {
    let api = Api::<Lease>::namespaced(&ctx.client, NAMESPACE);
    let lease = match last.take() {
        Some(l) => Some(l),
        None => api.find(&ctx.config.node_name).await?,
    };
    let answer = match lease {
        Some(l) => api.update(&renewed(l, ctx)).await?,
        None => api.create(&renewed(Lease::default(), ctx)).await?,
    };
    *last = Some(answer);
    Ok(())
}

/// Runs for ever.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut last = None;
    let mut pause = RETRY.0;
    loop {
        let wait = match renew(&ctx, &mut last).await {
            Ok(()) => {
                pause = RETRY.0;
                ctx.config.lease_period
            }
            Err(e) => {
                tracing::debug!("the node's lease is not renewed: {e}");
                let wait = pause;
                pause = (pause * 2).min(RETRY.1);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}
