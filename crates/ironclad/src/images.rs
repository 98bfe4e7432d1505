//! `ironclad image`: the images of a cluster's node. The store can be used beside a running cluster.

use crate::cli::{Cluster, Image as Command};
use crate::data_dir::DataDir;
use crate::demo_image;
use crate::progress::print;
use anyhow::{Context, Result, bail};
use image::{Auth, Image, Reference, Store};
use std::path::PathBuf;
use std::sync::Arc;

/// Fails where images could not be unpacked: said before anything else is looked at.
fn needs_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("images are unpacked with their owners and devices, which needs root: use sudo");
    }
    Ok(())
}

fn open(cluster: Cluster) -> Result<Store> {
    needs_root()?;
    let dir = DataDir::new(cluster.data_dir)?;
    Store::open(&dir.images()).with_context(|| format!("cannot open the images of {}", dir.root().display()))
}

/// The images of a cluster that is there: looking for what isn't makes nothing.
fn open_existing(cluster: Cluster) -> Result<Store> {
    needs_root()?;
    let dir = DataDir::new(cluster.data_dir.clone())?;
    if !dir.is_ours() {
        bail!("there is no cluster in {}", dir.root().display());
    }
    open(cluster)
}

/// Carries out one of the commands.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Import { cluster, file } => {
            let file = if file.as_os_str() == "-" { PathBuf::from("/dev/stdin") } else { file };
            if file.is_dir() {
                let dir = file.display();
                bail!(
                    "{dir} is a directory, and an archive is one file: `tar -C {dir} -cf FILE .` makes one of an OCI layout"
                );
            }
            let store = open(cluster)?;
            let images = image::archive::import(&store, &file)
                .with_context(|| format!("cannot import {}", file.display()))?;
            store.pin(&images.iter().map(|i| i.id.clone()).collect())?;
            // What was imported outlasts a power cut from here on.
            store.settle()?;
            print(&images.iter().flat_map(labels).map(|l| l + "\n").collect::<String>())?;
        }
        Command::Pull { cluster, reference, creds } => {
            let auth = creds.as_deref().map(credentials).transpose()?;
            let store = open(cluster)?;
            let name = Reference::parse(&reference)?;
            let image = match name.registry == "ironclad.local" {
                true => image::builtin::ensure(&store, &demo_image::recipe())?,
                false => {
                    let runtime =
                        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
                    runtime.block_on(image::registry::pull(Arc::new(store), &name, auth))?
                }
            };
            print(&format!("{}\n", label(&image)))?;
        }
        Command::List { cluster } => list(&open_existing(cluster)?)?,
        Command::Remove { cluster, reference } => {
            let store = open_existing(cluster)?;
            if store.find(&reference)?.is_none() {
                bail!("there is no image {reference:?} here; `ironclad image list` shows what there is");
            }
            store.remove(&reference)?;
        }
    }
    Ok(())
}

/// `USER:PASSWORD`.
fn credentials(text: &str) -> Result<Auth> {
    let Some((user, password)) = text.split_once(':') else {
        bail!("credentials are USER:PASSWORD, and there is no colon in what was given");
    };
    Ok(Auth { username: user.to_owned(), password: password.to_owned(), ..Auth::default() })
}

/// Every name that an image has, or what it is known by without one.
fn labels(image: &Image) -> Vec<String> {
    if image.tags.is_empty() { vec![label(image)] } else { image.tags.clone() }
}

fn label(image: &Image) -> String {
    image.tags.first().or(image.digests.first()).unwrap_or(&image.id).clone()
}

fn list(store: &Store) -> Result<()> {
    let rows = image::listing::rows(&store.list()?);
    let width = rows.iter().map(|r| r.image.len()).max().unwrap_or(0).max("IMAGE".len());
    let tag_width = rows.iter().map(|r| r.tag.len()).max().unwrap_or(0).max("TAG".len());
    let mut text = format!("{:width$}  {:tag_width$}  {:13}  SIZE\n", "IMAGE", "TAG", "IMAGE ID");
    for r in rows {
        text += &format!("{:width$}  {:tag_width$}  {:13}  {}\n", r.image, r.tag, r.id, r.size);
    }
    print(&text)
}
