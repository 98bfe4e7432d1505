//! PodResizeValidator: what a node could never give is refused when it is asked for
//! (`plugin/pkg/admission/podresize`).

use crate::json::{pod_resources, resources, spec};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};
use serde_json::{Value, json};

pub(crate) struct PodResizeValidator;

impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Update && r.is_any("", "pods") && r.subresource == "resize"
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let (Some(pod), Some(old)) = (&r.object, &r.old) else { return Ok(()) };
        let node = pod.str(&["spec", "nodeName"]);
        if node.is_empty() || spec(pod) == spec(old) {
            return Ok(());
        }
        let Some(stored) = view.get("", "nodes", "", node) else {
            return Err(r.forbidden(format!("node {node:?} not found")));
        };
        let system = stored.metadata.labels.get("kubernetes.io/os").map_or("linux", String::as_str);
        if system != "linux" {
            let why = format!("pod resize is only supported on linux nodes, node {node:?} is {system:?}");
            return Err(caused(r.forbidden(why), "UnsupportedPlatform"));
        }
        let lacking = lacking(pod, &stored);
        if lacking.is_empty() {
            return Ok(());
        }
        let why = format!("node didn't have enough allocatable resources: {}", lacking.join("; "));
        Err(caused(r.forbidden(why), "NodeCapacity"))
    }
}

/// Of what the pod asks for more than the node has.
fn lacking(pod: &Object, node: &Object) -> Vec<String> {
    let allocatable = resources(node.body.get("status").unwrap_or(&Value::Null), &["allocatable"]);
    let requests = pod_resources(spec(pod), "requests");
    let one = |name: &str| {
        let wanted = requests.get(name)?;
        let have = allocatable.get(name).cloned().unwrap_or_default();
        let number = |q: &meta::Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
        let (w, h) = (number(wanted), number(&have));
        (*wanted > have).then(|| format!("{name}, requested: {w}, allocatable: {h}"))
    };
    ["cpu", "memory"].into_iter().filter_map(one).collect()
}

/// The refusal with its cause, by which clients tell it from others.
fn caused(mut status: Status, cause: &str) -> Status {
    if !status.details.is_object() {
        status.details = json!({});
    }
    status.details["causes"] = json!([{"reason": cause}]);
    status
}
