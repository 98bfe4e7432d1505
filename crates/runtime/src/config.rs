//! How one instance of the runtime is set up.

use std::path::PathBuf;
use std::sync::Arc;

use crate::images::ImageStore;

/// Everything that an instance is told at its start.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// Names what this instance makes on the machine (bridge `ic-<instance>`, nftables table `ironclad-<instance>`):
    /// lower-case letters and digits, at most [`INSTANCE_LIMIT`].
    pub instance: String,
    /// Writable layers; on a disk.
    pub root: PathBuf,
    /// Records, sockets, namespaces: what holds for one boot. Best on a tmpfs.
    pub state: PathBuf,
    /// The unix socket that CRI is served on.
    pub socket: PathBuf,
    /// Networks that see pods under their own addresses: the cluster's pod network.
    pub not_masqueraded: Vec<String>,
    /// Where images come from.
    pub images: Arc<dyn ImageStore>,
}

/// The longest name of an instance: what an interface's name has room for.
pub const INSTANCE_LIMIT: usize = 12;

impl RuntimeConfig {
    /// Refuses what could not work.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let fits = (1..=INSTANCE_LIMIT).contains(&self.instance.len());
        if !fits || !self.instance.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(format!(
                "invalid instance name {:?}: want 1 to {INSTANCE_LIMIT} lower-case letters and digits",
                self.instance
            ));
        }
        for (what, path) in [("root", &self.root), ("state", &self.state), ("socket", &self.socket)] {
            if !path.is_absolute() {
                return Err(format!("the runtime's {what} path {} is not absolute", path.display()));
            }
        }
        Ok(())
    }
}
