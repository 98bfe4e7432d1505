//! The kinds of the API as data: from a kind's line in the list follow its routes, discovery, OpenAPI, storage key,
//! table, field selectors, defaulting, validation and RBAC resource.
//!
//! Pure: no clock, no files, no sockets. What a kind can't know by itself (the time, the user) is in [`Context`]; what
//! must be allocated (cluster IPs, node ports) the API server asks for and puts in.

mod admission_kinds;
mod bootstrap;
mod fields;
mod fill;
pub mod kind;
mod kinds;
mod names;
pub mod openapi;
mod pod;
pub mod service;
pub mod strategy;
pub mod table;
mod validate;

pub use bootstrap::{NAMESPACES, bootstrap_objects};
pub use fields::{Header, walk};
pub use kind::{Action, Column, Field, Kind, ScalePaths, Stored, Subresource, Text, Verbs};
pub use kinds::{by_kind, by_resource, kinds};
pub use strategy::{Context, Strategy, Update};
pub use table::Printer;
