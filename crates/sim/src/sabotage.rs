//! Deliberate faults, for tests that the checkers would notice them.

use crate::diary::Wrapped;
use reconcile::{Controller, Cx, Op, Plan, Watch, Write};
use serde_json::json;
use std::time::Duration;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// A controller of this name makes everything twice.
    Doubled(&'static str),
    /// A controller of this name is not there.
    Absent(&'static str),
    /// Somebody writes for ever.
    Restless,
    /// The watchers don't hear of deletions.
    Deaf,
    /// The disk doesn't keep what it says it keeps, and loses power.
    LyingDisk,
}

impl Sabotage {
    /// The controllers, broken in this way.
    pub(crate) fn of(self, all: Vec<Box<dyn Controller>>) -> Vec<Box<dyn Controller>> {
        let broken = |c: Box<dyn Controller>| match self {
            Self::Doubled(name) if c.name() == name => doubled(c),
            _ => c,
        };
        let kept = all.into_iter().filter(|c| self != Self::Absent(c.name()));
        let restless = (self == Self::Restless).then(|| Box::new(Restless) as Box<dyn Controller>);
        kept.map(broken).chain(restless).collect()
    }
}

/// Does every creation of a plan twice.
fn doubled(inner: Box<dyn Controller>) -> Box<dyn Controller> {
    let after = |_: &Cx<'_>, plan: &mut Plan| {
        let creations: Vec<Write> = plan.writes.iter().filter(|w| w.op == Op::Create).cloned().collect();
        plan.writes.splice(0..0, creations);
    };
    Box::new(Wrapped { inner, after: Box::new(after) })
}

struct Restless;

impl Controller for Restless {
    fn name(&self) -> &'static str {
        "restless-controller"
    }

    fn account(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<api::core::v1::Namespace>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(namespace) = cx.view.at::<api::core::v1::Namespace>(cx.key) else { return Plan::done() };
        let condition = json!({"type": "Restless", "status": "True", "message": cx.now.to_string()});
        let patch = json!({"status": {"conditions": [condition]}});
        let mut plan = Plan::one(Write::strategic(namespace, "status", &patch));
        plan.requeue(Duration::from_secs(5));
        plan
    }
}
