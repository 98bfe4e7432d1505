//! The node must be able to mount the pod's claims.

use super::{Cycle, Plugin, Rejection};
use crate::node::NodeInfo;
use crate::terms::node_selector_matches;
use api::core::v1::NodeSelector;

/// How far a claim is.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimState {
    /// There is no such claim.
    Absent,
    /// It is about to be deleted.
    Deleting,
    /// Bound to a volume, which may be usable on some nodes only.
    Bound(Option<NodeSelector>),
    /// Bound to a volume that isn't there.
    Lost,
    /// Not bound, and its class binds at once: somebody else is at work.
    Unbound,
    /// Not bound, and its class waits for the pod's node.
    Waiting,
}

/// A claim that the pod mounts.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Name, in the pod's namespace.
    pub name: String,
    /// How far it is.
    pub state: ClaimState,
}

pub(super) struct VolumeBinding;

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn pre_filter(&self, cycle: &Cycle<'_>) -> Result<(), String> {
        for claim in cycle.claims {
            match claim.state {
                ClaimState::Absent => {
                    return Err(format!("persistentvolumeclaim {:?} not found", claim.name));
                }
                ClaimState::Deleting => {
                    return Err(format!("persistentvolumeclaim {:?} is being deleted", claim.name));
                }
                _ => {}
            }
        }
        if cycle.claims.iter().any(|c| c.state == ClaimState::Unbound) {
            return Err("pod has unbound immediate PersistentVolumeClaims".into());
        }
        Ok(())
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        for claim in cycle.claims {
            match &claim.state {
                ClaimState::Lost => {
                    let reason = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
                    return Err(vec![Rejection::for_good(reason)]);
                }
                ClaimState::Bound(Some(s)) if !node_selector_matches(s, &node.name, &node.labels) => {
                    return Err(vec![Rejection::for_good(
                        "node(s) didn't match PersistentVolume's node affinity",
                    )]);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
