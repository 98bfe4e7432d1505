//! A claim with the access mode `ReadWriteOncePod` is used by one pod in the whole cluster.

use super::{Cycle, Plugin, Rejection};
use crate::node::NodeInfo;
use crate::pod::{PodInfo, claim_names};

pub(super) struct VolumeRestrictions;

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn filter(&self, cycle: &Cycle<'_>, _node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let mut exclusive = cycle.claims.iter().filter(|c| c.exclusive).peekable();
        if exclusive.peek().is_none() {
            return Ok(());
        }
        let namespace = &cycle.pod.key.namespace;
        let in_use = |name: &str| {
            let uses = |p: &PodInfo| p.key.namespace == *namespace && claim_names(&p.pod).any(|c| c == name);
            let mut pods = cycle.snapshot.nodes().flat_map(|n| n.pods.values());
            pods.any(|p| p.key != cycle.pod.key && uses(p))
        };
        if exclusive.any(|c| in_use(&c.name)) {
            let reason = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already \
                          in-use by another pod";
            return Err(vec![Rejection::new(reason)]);
        }
        Ok(())
    }
}
