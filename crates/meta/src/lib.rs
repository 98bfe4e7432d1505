//! The vocabulary of the Kubernetes API machinery: what every object, list, error and patch has in common.
//!
//! Pure data and pure functions. No clock, no files, no sockets, no async, and no knowledge of any single kind.

pub mod decode;
pub mod field;
pub mod gvk;
pub mod int_or_string;
pub mod json_fault;
pub mod list;
pub mod managed_fields;
pub mod names;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod request;
pub mod selector;
pub mod status;
pub mod table;
pub mod time;
pub mod yaml;

pub use field::{FieldError, FieldPath};
pub use gvk::{GroupKind, GroupVersionKind, GroupVersionResource};
pub use int_or_string::IntOrString;
pub use object::{Object, ObjectMeta, OwnerReference};
pub use quantity::Quantity;
pub use request::{Attributes, UserInfo};
pub use selector::{FieldSelector, LabelSelector, Selector};
pub use status::{Reason, Status};
pub use time::Time;
