//! Prefers the node whose CPU and memory would be used about alike afterwards.

use super::{Cycle, MAX_SCORE, Plugin};
use crate::node::NodeInfo;

pub(super) struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let (want, used, all) = (&cycle.pod.requests, &node.requested, &node.allocatable);
        // In millionths, so that the same state gives the same number on every machine.
        let share = |want: i64, used: i64, all: i64| {
            if all == 0 {
                None
            } else {
                Some(((want + used) as i128 * 1_000_000 / all as i128).min(1_000_000))
            }
        };
        let cpu = share(want.milli_cpu, used.milli_cpu, all.milli_cpu);
        let memory = share(want.memory, used.memory, all.memory);
        let (Some(cpu), Some(memory)) = (cpu, memory) else { return MAX_SCORE };
        let deviation = (cpu - memory).abs() / 2;
        i64::try_from((1_000_000 - deviation) * i128::from(MAX_SCORE) / 1_000_000).unwrap_or(0)
    }
}
