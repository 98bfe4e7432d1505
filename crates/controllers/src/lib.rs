//! The controllers: one file each, each a pure plan. No sockets, no clock, no store.

mod deployment;
mod ownership;
mod pods;
mod replicaset;
#[cfg(test)]
mod scene;
mod selectors;
mod templates;

use reconcile::Controller;

/// Every controller; one line each.
pub fn all() -> Vec<Box<dyn Controller>> {
    vec![Box::new(deployment::Deployments), Box::new(replicaset::ReplicaSets)]
}
