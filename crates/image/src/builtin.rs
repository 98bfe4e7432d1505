//! An image made of files of this machine, for a cluster that has no registry in reach.

use crate::config::architecture;
use crate::{Digest, Error, Image, Reference, Store};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file to put into the image.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file on this machine.
    pub from: PathBuf,
    /// Its absolute path in the image.
    pub to: PathBuf,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The image's name.
    pub name: String,
    /// Says of what the image is made: the same text, the same image.
    pub fingerprint: String,
    /// Its files.
    pub files: Vec<Source>,
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub cmd: Vec<String>,
    /// The user.
    pub user: String,
}

/// Names below this are never pulled: such images are made here, when they are first asked for.
pub const REGISTRY: &str = "ironclad.local";

/// Says how the image of a name below [`REGISTRY`] is made; none if there is no such image.
pub type Builtin = Arc<dyn Fn(&Reference) -> Option<Recipe> + Send + Sync>;

/// The image of a name below [`REGISTRY`], made if it isn't here; none for any other name.
pub fn find(store: &Store, builtin: &Builtin, reference: &Reference) -> Result<Option<Image>, Error> {
    if reference.registry != REGISTRY {
        return Ok(None);
    }
    match builtin(reference) {
        Some(recipe) => ensure(store, &recipe).map(Some),
        None => {
            let message = format!("failed to resolve reference \"{reference}\": {reference}: not found");
            Err(Error::Registry { status: 404, message })
        }
    }
}

/// Makes the image, unless it is there already.
pub fn ensure(store: &Store, recipe: &Recipe) -> Result<Image, Error> {
    let name = Reference::parse(&recipe.name)?;
    let id = Digest::of(recipe.fingerprint.as_bytes());
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Entrypoint": recipe.entrypoint, "Cmd": recipe.cmd, "User": recipe.user, "WorkingDir": "/",
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [id.to_string()]},
    })
    .to_string();
    if let Some(image) =
        store.find(&recipe.name)?.filter(|i| i.id == Digest::of(config.as_bytes()).to_string())
    {
        return Ok(image);
    }
    let _lease = store.hold(&[id])?;
    let layer = match store.layer(&id) {
        Some(layer) => layer,
        None => {
            let staging = store.stage()?;
            let mut size = 0;
            for file in &recipe.files {
                size += put(file, staging.path())?;
            }
            for dir in ["tmp", "etc", "proc", "sys", "dev"] {
                let dir = staging.path().join(dir);
                fs::create_dir_all(&dir).map_err(Error::at(&dir))?;
            }
            let tmp = staging.path().join("tmp");
            fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).map_err(Error::at(&tmp))?;
            fs::set_permissions(staging.path(), fs::Permissions::from_mode(0o755))
                .map_err(Error::at(&tmp))?;
            store.keep(&staging, &id, size)?
        }
    };
    let config_digest = Digest::of(config.as_bytes());
    let digest = name.at(&config_digest);
    store.add_image(config.as_bytes(), &[name], &[digest], &[layer])
}

/// Copies one file, following links to what they mean.
fn put(file: &Source, root: &Path) -> Result<u64, Error> {
    let inside = file
        .to
        .strip_prefix("/")
        .map_err(|_| Error::content(format!("{} is not absolute", file.to.display())))?;
    let to = root.join(inside);
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).map_err(Error::at(dir))?;
    }
    let n = fs::copy(&file.from, &to).map_err(Error::at(&file.from))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).map_err(Error::at(&to))?;
    Ok(n)
}
