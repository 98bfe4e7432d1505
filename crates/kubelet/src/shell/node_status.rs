//! Registers the node and keeps its status true (`pkg/kubelet/kubelet_node_status.go`,
//! `pkg/kubelet/nodestatus/setters.go`).

use super::context::now;
use super::machine_info::{self, Capacity};
use super::pod_network::Share;
use super::{Config, Context};
use client::{Api, PatchKind};
use cri::{ListImagesRequest, StatusRequest};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// The version that the node tells: that of the API which it speaks.
pub(crate) const VERSION: &str = "v1.37.0";
/// How often the node looks whether its status is still true (`nodeStatusUpdateFrequency`).
const PERIOD: Duration = Duration::from_secs(10);
/// How often it looks until it is ready for the first time.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause after a failed write.
const RETRY_MAX: Duration = Duration::from_secs(7);
/// Images that the status tells of (`nodeStatusMaxImages`).
const MAX_IMAGES: usize = 50;
/// Names of one image that the status tells of.
const MAX_NAMES: usize = 5;

/// What of the status does not change while the agent runs.
pub(crate) struct Fixed {
    pub system: NodeSystemInfo,
    pub capacity: Capacity,
    pub port: Option<u16>,
}

fn amounts(c: Capacity, pods: u32) -> BTreeMap<String, Quantity> {
    let cpu = if c.cpu % 1000 == 0 { (c.cpu / 1000).to_string() } else { format!("{}m", c.cpu) };
    let kib = |bytes: i64| format!("{}Ki", bytes / 1024);
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu)),
        ("memory".to_owned(), Quantity(kib(c.memory))),
        ("ephemeral-storage".to_owned(), Quantity(kib(c.storage))),
        ("hugepages-2Mi".to_owned(), Quantity("0".to_owned())),
        ("hugepages-1Gi".to_owned(), Quantity("0".to_owned())),
        ("pods".to_owned(), Quantity(pods.to_string())),
    ])
}

fn labels(config: &Config) -> BTreeMap<String, String> {
    let arch = machine_info::architecture();
    let own = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let own = own.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
    own.chain(config.labels.clone()).collect()
}

/// The node as it registers.
pub(crate) fn initial(config: &Config, fixed: &Fixed) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(config.node_name.clone());
    node.metadata.labels = Some(labels(config));
    let note = ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned());
    node.metadata.annotations = Some(config.annotations.clone().into_iter().chain([note]).collect());
    let address = |kind: &str, a: String| NodeAddress { type_: kind.to_owned(), address: a };
    node.status = Some(NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        capacity: Some(amounts(fixed.capacity, config.max_pods)),
        allocatable: Some(amounts(fixed.capacity.allocatable(config), config.max_pods)),
        node_info: Some(fixed.system.clone()),
        daemon_endpoints: fixed.port.map(|port| NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(port) }),
        }),
        ..NodeStatus::default()
    });
    node
}

fn condition(kind: &str, on: bool, reason: &str, message: &str) -> NodeCondition {
    NodeCondition {
        type_: kind.to_owned(),
        status: if on { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..NodeCondition::default()
    }
}

fn memory_condition(short: bool) -> NodeCondition {
    const KIND: &str = "MemoryPressure";
    match short {
        true => {
            condition(KIND, true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
        }
        false => {
            condition(KIND, false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
        }
    }
}

fn disk_condition(short: bool) -> NodeCondition {
    const KIND: &str = "DiskPressure";
    match short {
        true => condition(KIND, true, "KubeletHasDiskPressure", "kubelet has disk pressure"),
        false => condition(KIND, false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    }
}

/// What the runtime says of itself: why the node isn't ready, and its handlers.
async fn runtime_status(ctx: &Context) -> (Option<String>, Option<Vec<NodeRuntimeHandler>>) {
    let answer = match ctx.runtime.status(StatusRequest { verbose: false }).await {
        Ok(a) => a,
        Err(e) => return (Some(format!("container runtime is down: {}", e.message)), None),
    };
    let conditions = answer.status.map(|s| s.conditions).unwrap_or_default();
    let mut why = Vec::new();
    for c in conditions.iter().filter(|c| !c.status) {
        let (kind, reason, message) = (&c.r#type, &c.reason, &c.message);
        match kind.as_str() {
            "RuntimeReady" => why
                .push(format!("container runtime not ready: {kind}=false reason:{reason} message:{message}")),
            "NetworkReady" => why.push(format!(
                "container runtime network not ready: {kind}=false reason:{reason} message:{message}"
            )),
            _ => {}
        }
    }
    let handler = |h: cri::RuntimeHandler| NodeRuntimeHandler {
        name: Some(h.name),
        features: h.features.map(|f| NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(f.recursive_read_only_mounts),
            user_namespaces: Some(f.user_namespaces),
        }),
    };
    let handlers: Vec<_> = answer.runtime_handlers.into_iter().map(handler).collect();
    ((!why.is_empty()).then(|| why.join(", ")), (!handlers.is_empty()).then_some(handlers))
}

async fn images(ctx: &Context) -> Option<Vec<ContainerImage>> {
    let mut list = ctx.runtime.list_images(ListImagesRequest { filter: None }).await.ok()?.images;
    list.sort_by_key(|i| std::cmp::Reverse(i.size));
    let one = |i: cri::Image| ContainerImage {
        names: Some(i.repo_digests.into_iter().chain(i.repo_tags).take(MAX_NAMES).collect()),
        size_bytes: i64::try_from(i.size).ok(),
    };
    Some(list.into_iter().take(MAX_IMAGES).map(one).collect())
}

/// The status as it is now, with the times of conditions that did not change.
async fn present(ctx: &Context, fixed: &Fixed, old: &NodeStatus) -> NodeStatus {
    let (unready, runtime_handlers) = runtime_status(ctx).await;
    let t = Time(crate::core::conditions::whole_second(now()));
    let ready = match unready {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        Some(why) => condition("Ready", false, "KubeletNotReady", &why),
    };
    let conditions = [
        memory_condition(ctx.memory_pressure.load(Ordering::Relaxed)),
        disk_condition(ctx.disk_pressure.load(Ordering::Relaxed)),
        condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ];
    let before = old.conditions.as_deref().unwrap_or_default();
    let timed = conditions.map(|mut c| {
        let same = before.iter().find(|o| o.type_ == c.type_ && o.status == c.status);
        c.last_transition_time = same.and_then(|o| o.last_transition_time.clone()).or(Some(t.clone()));
        c.last_heartbeat_time = Some(t.clone());
        c
    });
    let start = initial(&ctx.config, fixed).status.unwrap_or_default();
    NodeStatus { conditions: Some(timed.into()), images: images(ctx).await, runtime_handlers, ..start }
}

/// The strategic merge patch from `old` to `new`; none if only heartbeats differ and `force` isn't set.
fn patch(old: &NodeStatus, new: &NodeStatus, force: bool) -> Option<Value> {
    let still = |s: &NodeStatus| {
        let mut s = s.clone();
        s.conditions.iter_mut().flatten().for_each(|c| c.last_heartbeat_time = None);
        serde_json::to_value(s).unwrap_or_default()
    };
    let (o, n) = (still(old), still(new));
    let full = serde_json::to_value(new).unwrap_or_default();
    let mut out = serde_json::Map::new();
    for (key, value) in n.as_object().into_iter().flatten() {
        let differs = match key.as_str() {
            "conditions" => {
                let theirs = o[key].as_array().cloned().unwrap_or_default();
                force || value.as_array().is_some_and(|ours| ours.iter().any(|c| !theirs.contains(c)))
            }
            _ => o.get(key) != Some(value),
        };
        if !differs {
            continue;
        }
        let mut value = full[key].clone();
        if let (true, Some(list)) = (key == "addresses" && o.get(key).is_some(), value.as_array_mut()) {
            list.insert(0, json!({"$patch": "replace"}));
        }
        out.insert(key.clone(), value);
    }
    (!out.is_empty()).then(|| json!({"status": out}))
}

/// Conditions, and the events of their being true and not.
const NEWS: [(&str, &str, &str); 4] = [
    ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
    ("Ready", "NodeReady", "NodeNotReady"),
];

/// Events of the conditions that are not as they were told; notes that they are told now.
fn news(told: &mut BTreeMap<&'static str, bool>, s: &NodeStatus) -> Vec<&'static str> {
    let mut out = Vec::new();
    for (kind, yes, no) in NEWS {
        let Some(c) = s.conditions.iter().flatten().find(|c| c.type_ == kind) else { continue };
        let on = c.status == "True";
        if told.insert(kind, on) != Some(on) {
            out.push(if on { yes } else { no });
        }
    }
    out
}

type Words = BTreeMap<String, String>;

/// Those of `wanted` that `have` doesn't have so.
fn lacking(wanted: Option<Words>, have: Option<&Words>) -> Words {
    let is = |(k, v): &(String, String)| have.and_then(|h| h.get(k)) == Some(v);
    wanted.into_iter().flatten().filter(|w| !is(w)).collect()
}

/// Makes the node, or takes over the one that is there and puts right what it must have.
async fn register(ctx: &Context, fixed: &Fixed) -> Result<Node, client::Error> {
    let api = Api::<Node>::all(&ctx.client);
    let name = &ctx.config.node_name;
    let mut first = initial(&ctx.config, fixed);
    let Some(there) = api.find(name).await? else {
        let status = first.status.take().unwrap_or_default();
        first.status = Some(present(ctx, fixed, &status).await);
        return match api.create(&first).await {
            Err(e) if e.is_already_exists() => api.get(name).await,
            r => r,
        };
    };
    let labels = lacking(first.metadata.labels, there.metadata.labels.as_ref());
    let annotations = lacking(first.metadata.annotations, there.metadata.annotations.as_ref());
    if labels.is_empty() && annotations.is_empty() {
        return Ok(there);
    }
    let body = json!({"metadata": {"labels": labels, "annotations": annotations}});
    api.patch(name, "", PatchKind::Merge, &body).await
}

/// Runs for ever.
pub(crate) async fn run(ctx: Arc<Context>, fixed: Fixed) {
    let mut pause = FIRST;
    let mut node = loop {
        match register(&ctx, &fixed).await {
            Ok(node) => break node,
            Err(e) => {
                tracing::debug!("the node is not registered yet: {e}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    };
    tracing::info!(node = ctx.config.node_name, "the node is registered");
    ctx.teller.node(&node, false, "Starting", "Starting kubelet.".to_owned());
    let mut written = Instant::now();
    let mut told = BTreeMap::new();
    let mut share = Share::follow(&ctx);
    loop {
        share.tell(&ctx, &node, told.get("Ready") == Some(&true)).await;
        let old = node.status.clone().unwrap_or_default();
        let new = present(&ctx, &fixed, &old).await;
        if let Some(body) = patch(&old, &new, written.elapsed() >= ctx.config.status_period) {
            match Api::<Node>::all(&ctx.client)
                .patch(&ctx.config.node_name, "status", PatchKind::Strategic, &body)
                .await
            {
                Ok(n) => (node, written) = (n, Instant::now()),
                Err(e) if e.is_not_found() => {
                    node = register(&ctx, &fixed).await.unwrap_or(node);
                }
                Err(e) => tracing::debug!("the node's status is not written: {e}"),
            }
        }
        ctx.node.send_replace(Arc::new(node.clone()));
        for reason in news(&mut told, &new) {
            let name = &ctx.config.node_name;
            ctx.teller.node(&node, false, reason, format!("Node {name} status is now: {reason}"));
        }
        let period = if told.get("Ready") == Some(&true) { PERIOD } else { FIRST };
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = share.changed() => {}
        }
        if let Ok(n) = Api::<Node>::all(&ctx.client).get(&ctx.config.node_name).await {
            node = n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_told_once() {
        let mut told = BTreeMap::new();
        let mut say = |memory: bool, ready: bool| {
            let conditions = vec![memory_condition(memory), condition("Ready", ready, "", "")];
            news(&mut told, &NodeStatus { conditions: Some(conditions), ..NodeStatus::default() }).join(" ")
        };
        assert_eq!(say(false, false), "NodeHasSufficientMemory NodeNotReady");
        assert_eq!(say(false, true), "NodeReady");
        assert_eq!(say(false, true), "");
        assert_eq!(say(true, true), "NodeHasInsufficientMemory");
    }
}
