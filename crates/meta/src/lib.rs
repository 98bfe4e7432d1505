//! The vocabulary of the Kubernetes API machinery: what every object, list, error and patch has in common.
//!
//! Pure data and pure functions. No clock, no files, no sockets, no async, and no knowledge of any single kind.

pub mod field;
pub mod gvk;
pub mod object;
pub mod request;
pub mod status;
pub mod time;

pub use field::{FieldError, FieldPath};
pub use gvk::{GroupKind, GroupVersionKind, GroupVersionResource};
pub use object::{Object, ObjectMeta, OwnerReference};
pub use request::{Attributes, UserInfo};
pub use status::{Reason, Status};
pub use time::Time;
