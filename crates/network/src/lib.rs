//! The node's share of the cluster network: the service proxy and the cluster's DNS.
//!
//! Both are functions from the Services and EndpointSlices of the cluster to a value: [`rules`] gives a rule set,
//! [`zone`] gives the names. From the Nodes, [`peers`] gives the ways to other nodes' pods. Thin shells ([`proxy`],
//! [`dns`], [`overlay`]) watch, compute and apply. Pod addresses and the
//! bridge belong to the container runtime, as a CNI plugin's would.

pub mod address;
mod clients;
mod conntrack;
pub mod dns;
pub mod link;
pub mod nft;
pub mod overlay;
pub mod peers;
pub mod proxy;
pub mod rules;
pub mod zone;
