//! One engine for the structure of objects, built in or custom: default, prune, decode, validate, merge, apply.
//!
//! A [`Schema`] is a cheap handle into a compact, shared table that is read from OpenAPI v3 JSON. Everything here
//! is a pure function over JSON values. Behaviour follows `k8s.io/apiextensions-apiserver/pkg/apiserver/schema`,
//! `k8s.io/kube-openapi/pkg/validation`, `k8s.io/apimachinery/pkg/util/strategicpatch` and
//! `sigs.k8s.io/structured-merge-diff`.

mod apply;
#[cfg(feature = "cel")]
pub mod cel;
mod cel_words;
mod custom;
mod decode;
mod default;
#[cfg(test)]
mod fixture;
mod model;
mod parse;
mod prune;
mod strategic;
mod validate;

pub use apply::{Writer, apply, check_applied, misfit, track_update};
pub use cel_words::CEL_RESERVED;
pub use custom::check_custom;
pub use decode::{decode, decode_applied, decode_error};
pub use default::{default, drop_nulls};
pub use model::{Schema, Schemas};
pub use prune::{prune, prune_custom};
pub use strategic::{go_text, strategic_merge};
pub use validate::{is_known_format, validate, validate_change};
