//! Prefers nodes that have the pod's images already.

use super::{Cycle, MAX_SCORE, Plugin};
use crate::node::NodeInfo;

/// Below this many bytes an image counts for nothing.
const LEAST: i64 = 23 * 1024 * 1024;
/// From this many bytes for each container on, the score is full.
const MOST_EACH: i64 = 1000 * 1024 * 1024;

pub(super) struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let containers = &cycle.pod.spec().containers;
        let images = containers.iter().filter_map(|c| c.image.as_ref());
        let here: i64 = images.filter_map(|i| node.images.get(i)).sum();
        let most = MOST_EACH.saturating_mul(i64::try_from(containers.len()).unwrap_or(1).max(1));
        MAX_SCORE * (here.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }
}
