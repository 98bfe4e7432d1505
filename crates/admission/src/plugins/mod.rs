//! One file (or folder) a plugin.

pub(crate) mod certificates;
pub(crate) mod default_ingress_class;
pub(crate) mod default_storage_class;
pub(crate) mod default_toleration_seconds;
pub(crate) mod deny_external_ips;
pub(crate) mod limit_ranger;
pub(crate) mod namespace_lifecycle;
pub(crate) mod node_restriction;
pub(crate) mod owner_references;
pub(crate) mod pod_resize;
pub(crate) mod pod_security;
pub(crate) mod priority;
pub(crate) mod pvc_resize;
pub(crate) mod resource_quota;
pub(crate) mod runtime_class;
pub(crate) mod service_account;
pub(crate) mod storage_object_in_use;
pub(crate) mod taint_nodes;

#[cfg(test)]
pub(crate) mod tests;
