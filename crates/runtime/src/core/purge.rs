//! The end of an instance: everything stopped, or everything gone.

use std::fs;
use std::io;

use super::{CallResult, Core, failed, lock};

/// What kubelets name as parents of pods' groups, the deepest first; clusters on one machine share them.
const SHARED_GROUPS: [&str; 3] = ["/kubepods/burstable", "/kubepods/besteffort", "/kubepods"];

impl Core {
    /// Ends every container and sandbox; records stay.
    pub(crate) fn stop_all(&self) -> CallResult<()> {
        let ids: Vec<_> = lock(&self.sandboxes).keys().cloned().collect();
        ids.iter().try_for_each(|id| self.stop_sandbox(id))
    }

    /// Removes every container, sandbox, interface, rule and file of the instance, and ends its keeper.
    pub(crate) fn purge(&self) -> CallResult<()> {
        let ids: Vec<_> = lock(&self.sandboxes).keys().cloned().collect();
        ids.iter().try_for_each(|id| self.remove_sandbox(id))?;
        let orphans: Vec<_> = lock(&self.containers).keys().cloned().collect();
        orphans.iter().try_for_each(|id| self.remove_container(id))?;
        SHARED_GROUPS.iter().for_each(|path| self.cgroups.group(path).remove_if_empty());
        self.network.purge().map_err(|e| failed("removing the pod network", e))?;
        self.keeper.quit();
        self.empty_trash();
        for directory in [self.places.root.join("layers"), self.places.trash(), self.places.state.clone()] {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(format!("removing {}", directory.display()), error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
