//! Deliberate faults, for tests that the checkers would notice them.

use crate::diary::Wrapped;
use api::core::v1::{Namespace, NamespaceCondition};
use reconcile::{Controller, Cx, Op, Plan, Watch, Write};
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
        vec![Watch::own::<Namespace>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(namespace) = cx.view.at::<Namespace>(cx.key) else { return Plan::done() };
        let mut changed = namespace.clone();
        let message = Some(cx.now.to_string());
        let condition = NamespaceCondition {
            type_: "Restless".to_owned(),
            status: "True".to_owned(),
            message,
            ..NamespaceCondition::default()
        };
        changed.status.get_or_insert_default().conditions = Some(vec![condition]);
        let mut plan = Plan::one(Write::update_status(&changed));
        plan.requeue(Duration::from_secs(5));
        plan
    }
}
