//! Cordoned nodes take only pods that tolerate `node.kubernetes.io/unschedulable`.

use super::{Cycle, Plugin, Rejection};
use crate::node::NodeInfo;
use crate::terms::tolerates;
use api::core::v1::Taint;

pub(super) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let taint = || Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        if !node.unschedulable || tolerates(cycle.pod.tolerations(), &taint()) {
            return Ok(());
        }
        Err(vec![Rejection::for_good("node(s) were unschedulable")])
    }
}
