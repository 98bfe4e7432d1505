//! Admission: what may be written, and what is filled in before it is. One file a plugin, one line each in
//! [`default_chain`]. Pure and synchronous: a plugin reads stored objects through a [`View`] and answers.
//!
//! Order of a write (`k8s.io/apiserver/pkg/admission`): [`mutate`] → the registry's strategy and validation →
//! [`validate`] → [`charge`] → commit.

mod attributes;
mod chain;
mod json;
mod plugins;

pub use attributes::{Awaited, Operation, Request, SideWrite};
pub use chain::{Plugin, View, awaits, charge, default_chain, mutate, validate};
