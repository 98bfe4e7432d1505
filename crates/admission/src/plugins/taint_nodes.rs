//! TaintNodesByCondition: a new node takes no pods before it was seen ready (`plugin/pkg/admission/nodetaint`).

use crate::json::{items, spec, text};
use crate::{Operation, Plugin, Request, View};
use meta::Status;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(crate) struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Create && r.is("", "nodes")
    }

    fn mutate(&self, r: &mut Request, _view: &dyn View) -> Result<(), Status> {
        let Some(node) = &mut r.object else { return Ok(()) };
        let mut taints: Vec<Value> = items(spec(node), &["taints"]).to_vec();
        let is_ours = |t: &Value| text(t, &["key"]) == NOT_READY && text(t, &["effect"]) == "NoSchedule";
        if !taints.iter().any(is_ours) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
            node.set(&["spec", "taints"], taints.into());
        }
        Ok(())
    }
}
