//! A node has room for what the pod asks for; the emptier the better (`LeastAllocated`).

use super::{Cycle, MAX_SCORE, Plugin, Rejection};
use crate::node::NodeInfo;

pub(super) struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let (want, used, all) = (&cycle.pod.requests, &node.requested, &node.allocatable);
        let mut lacking = Vec::new();
        if i64::try_from(node.pods.len()).unwrap_or(i64::MAX) >= node.slots {
            lacking.push(Rejection { reason: "Too many pods".into(), preemptible: node.slots > 0 });
        }
        let mut check = |name: &str, want: i64, used: i64, all: i64| {
            if want > 0 && want > all - used {
                lacking.push(Rejection { reason: format!("Insufficient {name}"), preemptible: want <= all });
            }
        };
        check("cpu", want.milli_cpu, used.milli_cpu, all.milli_cpu);
        check("memory", want.memory, used.memory, all.memory);
        check("ephemeral-storage", want.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage);
        for (name, amount) in &want.scalar {
            let get = |r: &crate::resources::Resources| r.scalar.get(name).copied().unwrap_or(0);
            check(name, *amount, get(used), get(all));
        }
        if lacking.is_empty() { Ok(()) } else { Err(lacking) }
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let share = |want: i64, used: i64, all: i64| {
            let after = want.saturating_add(used);
            if all == 0 || after > all { 0 } else { (all - after) * MAX_SCORE / all }
        };
        let cpu = share(cycle.pod.scoring.0, node.scoring.0, node.allocatable.milli_cpu);
        let memory = share(cycle.pod.scoring.1, node.scoring.1, node.allocatable.memory);
        (cpu + memory) / 2
    }
}
