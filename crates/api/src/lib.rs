//! The typed kinds: a façade over `k8s-openapi` (API 1.37), and the well-known names of the API.
//!
//! Desk side only: controllers, scheduler, kubelet and network decode into these types. The server works on
//! `meta::Object` and knows none of them. Encoding and decoding of each kind is instantiated here, once.

pub mod kinds;
pub mod names;
pub mod selectors;
pub mod volumes;

pub use k8s_openapi;
pub use k8s_openapi::ByteString;
pub use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, scheduling, storage,
};
pub use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use kinds::{Kind, KindInfo, MetaExt, PartialObject, Stored, downcast};
pub use metav1::{LabelSelector, MicroTime, ObjectMeta, OwnerReference, Time};

/// `t` as `metav1.Time`, which has whole seconds.
pub fn time(t: k8s_openapi::jiff::Timestamp) -> Time {
    let whole = k8s_openapi::jiff::Timestamp::from_second(t.as_second());
    Time(whole.unwrap_or(t))
}
