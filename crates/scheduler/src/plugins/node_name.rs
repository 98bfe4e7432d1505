//! `spec.nodeName` of the pod names the node.

use super::{Cycle, Plugin, Rejection};
use crate::node::NodeInfo;

pub(super) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let wanted = cycle.pod.node();
        if wanted.is_empty() || wanted == node.name {
            return Ok(());
        }
        Err(vec![Rejection::for_good("node(s) didn't match the requested node name")])
    }
}
