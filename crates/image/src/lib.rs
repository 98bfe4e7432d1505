//! OCI images: their names, how they come here (archives, registries, files of this machine), and how they are kept.
//!
//! Everything that comes from outside is hostile until checked: digests are verified, archives and layers are read
//! with limits, and every path of a layer is opened beneath the layer's root.

pub mod archive;
pub mod builtin;
pub mod config;
pub mod digest;
pub mod error;
pub mod layer;
pub mod listing;
pub mod reference;
pub mod registry;
pub mod store;
mod tar_stream;

pub use config::ContainerConfig;
pub use digest::Digest;
pub use error::Error;
pub use reference::Reference;
pub use registry::{Auth, Puller};
pub use store::{Image, Store};
