//! Kinds of the group `storage`, one a file.

use crate::kind::Kind;

mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod storage_class;
mod volume_attachment;
mod volume_attributes_class;

pub(super) const KINDS: &[fn() -> Kind] = &[
    csi_driver::kind,
    csi_node::kind,
    csi_storage_capacity::kind,
    storage_class::kind,
    volume_attachment::kind,
    volume_attributes_class::kind,
];
