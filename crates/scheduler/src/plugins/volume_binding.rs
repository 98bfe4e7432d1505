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
    Waiting(Delayed),
}

/// What can become of a claim that waits for the pod's node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delayed {
    /// The node that was told already: the volume is being made there.
    pub selected: Option<String>,
    /// The free volumes that suit it, the best first, and where each can be used.
    pub volumes: Vec<(String, Option<NodeSelector>)>,
    /// Whether one can be made for it.
    pub provisioned: bool,
}

/// The volumes that claims shall have on a node: for each waiting claim its own, or none if one is to be made. Nothing,
/// if a claim would be left without.
pub fn volumes_on<'a>(claims: &'a [Claim], node: &NodeInfo) -> Option<Vec<(&'a str, Option<&'a str>)>> {
    let mut chosen: Vec<(&str, Option<&str>)> = Vec::new();
    for claim in claims {
        let ClaimState::Waiting(delayed) = &claim.state else { continue };
        let made = match &delayed.selected {
            Some(selected) => (*selected == node.name).then_some(None),
            None => {
                let usable = |s: &Option<NodeSelector>| {
                    s.as_ref().is_none_or(|s| node_selector_matches(s, &node.name, &node.labels))
                };
                let free = |name: &str| chosen.iter().all(|(_, taken)| *taken != Some(name));
                let volume = delayed.volumes.iter().find(|(name, s)| usable(s) && free(name));
                let volume = volume.map(|(name, _)| Some(name.as_str()));
                volume.or(delayed.provisioned.then_some(None))
            }
        };
        chosen.push((&claim.name, made?));
    }
    Some(chosen)
}

/// A claim that the pod mounts.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Name, in the pod's namespace.
    pub name: String,
    /// How far it is.
    pub state: ClaimState,
    /// Whether only one pod may use it (`ReadWriteOncePod`).
    pub exclusive: bool,
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
        match volumes_on(cycle.claims, node) {
            Some(_) => Ok(()),
            None => {
                let reason = "node(s) didn't find available persistent volumes to bind";
                Err(vec![Rejection::for_good(reason)])
            }
        }
    }
}
