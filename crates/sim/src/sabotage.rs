//! Deliberate faults, for tests that the checkers would notice them.

use crate::diary::Wrapped;
use reconcile::{Controller, Cx, Op, Plan, Write};

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// A controller of this name makes everything twice.
    Doubled(&'static str),
    /// A controller of this name is not there.
    Absent(&'static str),
    /// The clients that watch hear of no deletion.
    Deaf,
}

impl Sabotage {
    /// The controllers, broken in this way.
    pub(crate) fn of(self, all: Vec<Box<dyn Controller>>) -> Vec<Box<dyn Controller>> {
        let broken = |c: Box<dyn Controller>| match self {
            Self::Doubled(name) if c.name() == name => doubled(c),
            _ => c,
        };
        let kept = all.into_iter().filter(|c| self != Self::Absent(c.name()));
        kept.map(broken).collect()
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
