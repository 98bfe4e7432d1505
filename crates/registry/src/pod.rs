//! What pods and pod templates share: defaults, sums of resources, updates of parts, the table's row.

pub(crate) mod defaults;
pub(crate) mod resources;
pub(crate) mod strategy;
pub(crate) mod table;
