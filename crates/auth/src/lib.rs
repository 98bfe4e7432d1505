//! Who are you, and may you? Authentication (client certificates, service-account tokens, bootstrap tokens,
//! anonymous, impersonation), authorization (Node, RBAC), and the cluster's own keys and certificates.
//!
//! Decisions are plain functions of data: `now` and entropy are passed in. Only [`pki`] and [`kubeconfig`]
//! touch files, in directories that they are given.

pub mod authenticate;
pub mod authorize;
pub mod kubeconfig;
mod lookup;
pub mod pki;
pub mod token;

pub use authenticate::{Authenticator, Credentials};
pub use authorize::{Authorizer, Decision, forbidden};
pub use lookup::Lookup;
pub use meta::{Attributes, UserInfo};
pub use token::Issuer;
