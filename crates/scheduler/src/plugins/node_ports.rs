//! Ports on the node itself can be had once.

use super::{Cycle, Plugin, Rejection};
use crate::node::NodeInfo;

pub(super) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        if cycle.pod.ports.iter().all(|p| node.has_free(p)) {
            return Ok(());
        }
        Err(vec![Rejection::new("node(s) didn't have free ports for the requested pod ports")])
    }
}
