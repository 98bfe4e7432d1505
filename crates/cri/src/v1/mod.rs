//! The messages of CRI v1, as tables: field number, name, type, and prost's word for the encoding.
//!
//! Source of the numbers and names: `cri-api/pkg/apis/runtime/v1/api.proto`. Written as tables rather than
//! generated, because a generator would need `protoc` on every machine that builds us (docs/adr/0010).
//! Names follow what prost would generate, so that text written for generated messages compiles.

use std::collections::HashMap;

/// Messages that only travel: each line becomes a prost message.
macro_rules! messages {
    ($( $name:ident { $( $tag:tt $field:ident : $ty:ty [ $($attr:tt)* ]; )* } )*) => { $(
        #[doc = concat!("CRI v1 message `", stringify!($name), "`.")]
        #[allow(missing_docs, deprecated, reason = "names and meaning are the specification's")]
        #[derive(Clone, PartialEq, ::prost::Message)]
        pub struct $name { $(
            #[prost($($attr)*, tag = $tag)]
            pub $field: $ty,
        )* }
    )* };
}

/// Messages that a runtime also keeps on disk: like `messages!`, and readable and writable as JSON.
macro_rules! stored_messages {
    ($( $name:ident { $( $tag:tt $field:ident : $ty:ty [ $($attr:tt)* ]; )* } )*) => { $(
        #[doc = concat!("CRI v1 message `", stringify!($name), "`.")]
        #[allow(missing_docs, reason = "names and meaning are the specification's")]
        #[derive(Clone, PartialEq, ::prost::Message, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            #[prost($($attr)*, tag = $tag)]
            pub $field: $ty,
        )* }
    )* };
}

/// Closed sets of names; fields hold them as `i32`, as proto3 does, so that unknown values survive.
macro_rules! enumeration {
    ($name:ident { $( $variant:ident = $value:literal ),* $(,)? }) => {
        #[doc = concat!("CRI v1 enumeration `", stringify!($name), "`.")]
        #[allow(missing_docs, reason = "names and meaning are the specification's")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
        #[repr(i32)]
        pub enum $name { $( $variant = $value ),* }
    };
}

mod container;
mod image;
mod node;
mod sandbox;
mod stats;
mod streaming;
mod windows;

pub use container::*;
pub use image::*;
pub use node::*;
pub use sandbox::*;
pub use stats::*;
pub use streaming::*;
pub use windows::*;
