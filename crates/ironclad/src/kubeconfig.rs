//! The administrator's kubeconfig.

use crate::cli::Kubeconfig;
use crate::data_dir::DataDir;
use crate::progress::print;
use crate::settings::Cluster;
use anyhow::{Context, Result, bail};
use auth::kubeconfig::Entry;
use auth::pki::Pki;
use std::path::Path;

/// The context's name; in files of the user with a number where another cluster has it.
const NAME: &str = "ironclad";

/// Fails where the file is something that no context can be put into.
pub(crate) fn takes(path: &Path) -> Result<()> {
    auth::kubeconfig::takes(path).with_context(|| format!("cannot write the kubeconfig {}", path.display()))
}

/// Puts this cluster's context into a kubeconfig; gives the name that it has there.
pub(crate) fn write(path: &Path, cluster: &Cluster, pki: &Pki) -> Result<String> {
    let server = cluster.server_url();
    let entry = Entry { name: NAME, server: &server, ca: &pki.ca.cert, client: &pki.admin };
    auth::kubeconfig::write(path, &entry)
        .with_context(|| format!("cannot write the kubeconfig {}", path.display()))
}

/// `ironclad kubeconfig`.
pub(crate) fn run(flags: Kubeconfig) -> Result<()> {
    let dir = DataDir::new(flags.cluster.data_dir)?;
    let Some(cluster) = Cluster::load(&dir)? else {
        bail!("there is no cluster in {}; start one with `ironclad up`", dir.root().display());
    };
    match flags.write {
        None => {
            let path = dir.kubeconfig();
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            print(&text)
        }
        Some(path) => {
            let names = crate::wiring::names(&cluster, "")?;
            let pki = auth::pki::ensure(&dir.pki(), &names, meta::Time::new(jiff::Timestamp::now()))?;
            let context = write(&path, &cluster, &pki)?;
            print(&format!("{} has the context {context} now\n", path.display()))
        }
    }
}
