//! `kubelet`.
