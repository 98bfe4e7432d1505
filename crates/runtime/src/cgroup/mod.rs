//! Control groups, versions 1 and 2: one [`Group`] a container, below the parent that the node agent names.
//!
//! Which version holds is read from the mount table once. In a hybrid layout the v1 hierarchies own the controllers,
//! so v1 it is. Files and their formulas: kernel `Documentation/admin-guide/cgroup-{v1,v2}`, and KEP-2254 for the
//! conversion of CPU shares to weights.

mod detect;
mod device_filter;
mod device_rules;
mod group;
mod limits;
mod usage;

pub(crate) use detect::Cgroups;
pub(crate) use device_rules::DeviceRules;
pub(crate) use group::Group;
pub(crate) use usage::Usage;
