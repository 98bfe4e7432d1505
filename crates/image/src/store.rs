//! The images of this machine: unpacked layers, and one small file that says which image is made of which.
//!
//! Several processes use one store at a time (the runtime, and `ironclad image` beside it): changes happen under a file
//! lock, and readers notice that the file was replaced. A crash leaves at most directories that no image names and a
//! session that nobody holds; the next collection removes both.
//!
//! Layers are not synced one by one, which costs seconds on slow disks. Until [`Store::settle`] has synced them, an
//! image counts only in the boot that it was made in: after a power cut it is not here, rather than here with holes.

use crate::config::{ContainerConfig, ImageConfig};
use crate::digest::Measured;
use crate::layer::{self, Unpacked, remove_tree};
use crate::{Digest, Error, Reference};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use session::Session;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod session;

pub use session::{Lease, Staging};

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of its configuration: what users know as the image's id.
    pub id: String,
    /// Names with a tag.
    pub tags: Vec<String>,
    /// Repositories with the manifest's digest.
    pub digests: Vec<String>,
    /// What containers start from.
    pub config: ContainerConfig,
    /// Ids of the layers, lowest first.
    pub layers: Vec<String>,
    /// Bytes of all layers unpacked.
    pub size: u64,
    /// Nobody removes it to make room: it came by hand, and may be had from nowhere else.
    #[serde(default)]
    pub pinned: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Index {
    images: Vec<Image>,
    /// Ids of images that are not synced yet, each with the boot that it was made in.
    #[serde(default)]
    unsynced: BTreeMap<String, String>,
}

impl Index {
    /// Without what another boot may have lost.
    fn in_boot(mut self, boot: &str) -> Self {
        let lost = |id: &String| self.unsynced.get(id).is_some_and(|made_in| made_in != boot);
        self.images.retain(|i| !lost(&i.id));
        self.unsynced.retain(|_, made_in| made_in == boot);
        self
    }
}

/// What tells this boot of the machine from others.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Which index file was read: device, inode and change time.
type Version = Option<(u64, u64, i64, i64)>;

/// The images of one machine (or of one cluster on it).
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    read: Mutex<(Version, Arc<Index>)>,
    session: Session,
    boot: String,
}

/// A layer that waits to be named by an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its id.
    pub id: Digest,
    /// Bytes unpacked.
    pub size: u64,
}

impl Store {
    /// The store in a directory; made if it isn't there.
    pub fn open(root: &Path) -> Result<Self, Error> {
        for part in ["", "layers", "staging"] {
            let dir = root.join(part);
            fs::create_dir_all(&dir).map_err(Error::at(&dir))?;
        }
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Ok(Self { root: root.to_owned(), read: Mutex::default(), session: Session::default(), boot })
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("images.json")
    }

    /// The directory of a layer.
    pub fn layer_dir(&self, id: &str) -> PathBuf {
        self.root.join("layers").join(id.strip_prefix("sha256:").unwrap_or(id))
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        let path = self.index_path();
        let version = fs::metadata(&path).ok().map(|m| (m.dev(), m.ino(), m.ctime(), m.ctime_nsec()));
        let mut read = self.cache();
        if read.0 != version {
            let index = match version {
                None => Index::default(),
                Some(_) => serde_json::from_slice::<Index>(&fs::read(&path).map_err(Error::at(&path))?)
                    .map_err(|e| Error::content(format!("{}: {e}", path.display())))?
                    .in_boot(&self.boot),
            };
            *read = (version, Arc::new(index));
        }
        Ok(read.1.clone())
    }

    fn cache(&self) -> MutexGuard<'_, (Version, Arc<Index>)> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All images.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        Ok(self.index()?.images.clone())
    }

    /// The image with this name, digest or id (whole, or its first digits); none if it isn't here.
    pub fn find(&self, reference: &str) -> Result<Option<Image>, Error> {
        let index = self.index()?;
        Ok(position(&index, reference).and_then(|i| index.images.get(i).cloned()))
    }

    /// The layers of an image, topmost first, as overlay wants them: each once, since overlay refuses a directory
    /// that is named twice. Of equal layers the topmost counts; whatever a lower one does it does again.
    pub fn layer_dirs(&self, image: &Image) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        image.layers.iter().rev().filter(|id| seen.insert(*id)).map(|id| self.layer_dir(id)).collect()
    }

    /// Unpacks a layer (plain, gzip or zstd) and keeps it. `expected` is what the configuration says it is.
    pub fn add_layer(&self, stream: impl Read + Send, expected: &Digest) -> Result<Layer, Error> {
        let staging = self.stage()?;
        let Unpacked { diff_id, size } = layer::unpack(stream, staging.path())?;
        if diff_id != *expected {
            return Err(Error::content(format!("a layer is {diff_id}, and the image says {expected}")));
        }
        self.keep(&staging, &diff_id, size)
    }

    /// The same for a layer as a registry has it: `blob` and `size` are what the manifest says of it, compressed.
    pub fn add_blob(
        &self,
        stream: impl Read + Send,
        blob: &Digest,
        size: u64,
        expected: &Digest,
    ) -> Result<Layer, Error> {
        let staging = self.stage()?;
        let mut measured = Measured::new(stream, size);
        // What can't be read as a layer most often isn't the layer that was asked for; that is the better message.
        let unpacked = match layer::unpack(&mut measured, staging.path()) {
            Err(e) if !matches!(&e, Error::Io { what, .. } if what == layer::READING) => return Err(e),
            unpacked => unpacked,
        };
        let (is, read) = measured.finish().map_err(Error::doing(layer::READING))?;
        if is != *blob || read != size {
            return Err(Error::content(format!(
                "failed commit on ref \"layer-{blob}\": unexpected commit digest {is}, expected {blob}: failed precondition"
            )));
        }
        let Unpacked { diff_id, size } = unpacked?;
        if diff_id != *expected {
            return Err(Error::content(format!("wrong diff id {diff_id}, expected {expected}")));
        }
        self.keep(&staging, &diff_id, size)
    }

    /// Gives a filled directory its place as a layer. If the layer is here already, that one stays.
    pub fn keep(&self, staging: &Staging, id: &Digest, size: u64) -> Result<Layer, Error> {
        let to = self.layer_dir(&id.hex());
        // The size belongs to the layer, and must be known again when the layer is shared.
        let size_file = to.with_extension("size");
        let part = staging.path().with_extension("size");
        if to.is_dir() && self.layer(id).is_none() {
            let lost = staging.path().with_extension("lost");
            fs::rename(&to, &lost).map_err(Error::at(&to))?;
            remove_tree(&lost).map_err(Error::at(&lost))?;
        }
        write(&part, format!("{size}\n{}", self.boot).as_bytes())?;
        fs::rename(&part, &size_file).map_err(Error::at(&size_file))?;
        match fs::rename(staging.path(), &to) {
            Ok(()) => {}
            Err(_) if to.is_dir() => {}
            Err(e) => return Err(Error::at(&to)(e)),
        }
        Ok(Layer { id: *id, size })
    }

    /// A layer that is here already, and whole: kept in this boot, or named by an image.
    pub fn layer(&self, id: &Digest) -> Option<Layer> {
        let to = self.layer_dir(&id.hex());
        let text = fs::read_to_string(to.with_extension("size")).ok()?;
        let (size, boot) = text.split_once('\n')?;
        let layer = Layer { id: *id, size: size.parse().ok()? };
        let id = id.to_string();
        let named = || self.index().is_ok_and(|index| index.images.iter().any(|i| i.layers.contains(&id)));
        (to.is_dir() && (boot == self.boot || named())).then_some(layer)
    }

    /// Syncs the images that were made since the last time, so that they outlast a power cut. Takes as long as the
    /// disk needs.
    pub fn settle(&self) -> Result<(), Error> {
        let made = self.index()?.unsynced.clone();
        if made.is_empty() {
            return Ok(());
        }
        let dir = File::open(&self.root).map_err(Error::at(&self.root))?;
        rustix::fs::syncfs(&dir).map_err(|e| Error::at(&self.root)(e.into()))?;
        self.change(|index| index.unsynced.retain(|id, _| !made.contains_key(id)))
    }

    /// Makes an image of kept layers, under the names given. A name that another image had moves here.
    pub fn add_image(
        &self,
        config: &[u8],
        tags: &[Reference],
        digests: &[String],
        layers: &[Layer],
    ) -> Result<Image, Error> {
        let (parsed, ids) = ImageConfig::parse(config)?;
        if ids.iter().ne(layers.iter().map(|l| &l.id)) {
            return Err(Error::content("the layers are not those that the image's configuration names"));
        }
        let mut image = Image {
            id: Digest::of(config).to_string(),
            tags: tags.iter().map(ToString::to_string).collect(),
            digests: digests.to_vec(),
            config: parsed.config,
            layers: ids.iter().map(ToString::to_string).collect(),
            size: layers.iter().map(|l| (&l.id, l.size)).collect::<BTreeMap<_, _>>().values().sum(),
            pinned: false,
        };
        self.change(|index| {
            if let Some(i) = index.images.iter().position(|i| i.id == image.id) {
                let old = index.images.remove(i);
                image.tags.extend(old.tags);
                image.digests.extend(old.digests);
                image.pinned = old.pinned;
            }
            for names in [&mut image.tags, &mut image.digests] {
                names.sort();
                names.dedup();
            }
            for other in &mut index.images {
                other.tags.retain(|t| !image.tags.contains(t));
            }
            index.unsynced.insert(image.id.clone(), self.boot.clone());
            index.images.push(image.clone());
        })?;
        Ok(image)
    }

    /// Gives an image that is here one more name; none if it isn't here any more, or lacks a layer.
    pub fn tag(&self, id: &str, tag: &Reference) -> Result<Option<Image>, Error> {
        let text = tag.to_string();
        let mut tagged = None;
        self.change(|index| {
            let Some(i) = index.images.iter().position(|i| i.id == id) else { return };
            if !index.images[i].layers.iter().all(|l| self.layer_dir(l).is_dir()) {
                return;
            }
            for other in &mut index.images {
                other.tags.retain(|t| *t != text);
            }
            index.images[i].tags.push(text);
            index.images[i].tags.sort();
            tagged = Some(index.images[i].clone());
        })?;
        Ok(tagged)
    }

    /// Keeps images for as long as they have a tag, also when room is wanted. One that isn't here is no error.
    pub fn pin(&self, ids: &BTreeSet<String>) -> Result<(), Error> {
        self.change(|index| {
            for image in index.images.iter_mut().filter(|i| ids.contains(&i.id)) {
                image.pinned = true;
            }
        })
    }

    /// Removes a name, or (by id) a whole image. An image that loses its last name goes; one that isn't here is no error.
    pub fn remove(&self, reference: &str) -> Result<(), Error> {
        let named = Reference::parse(reference).ok().map(|r| r.to_string());
        self.change(|index| {
            let Some(i) = position(index, reference) else { return };
            let image = &mut index.images[i];
            let before = image.tags.len() + image.digests.len();
            image.tags.retain(|t| Some(t) != named.as_ref());
            image.digests.retain(|t| Some(t) != named.as_ref());
            let by_id = before == image.tags.len() + image.digests.len();
            if by_id || image.tags.is_empty() {
                index.images.remove(i);
            }
        })
    }

    /// Removes the layers that no image names and what was never finished. `in_use` are layers that containers have
    /// mounted. Layers that somebody is making an image of (in any process) stay too.
    pub fn collect(&self, in_use: &BTreeSet<PathBuf>) -> Result<(), Error> {
        // Gone under the lock means renamed; deleting takes long and needs none.
        let grave = self.stage()?;
        let _lock = self.lock()?;
        let held = session::survey(&self.root, &self.session, grave.path())?;
        let index = self.index()?;
        let named: BTreeSet<PathBuf> =
            index.images.iter().flat_map(|i| &i.layers).map(|id| self.layer_dir(id)).collect();
        let layers = self.root.join("layers");
        for entry in fs::read_dir(&layers).map_err(Error::at(&layers))?.flatten() {
            let path = entry.path();
            let dir = path.with_extension("");
            let is_held = dir.file_name().is_some_and(|name| held.contains(name));
            if !named.contains(&dir) && !in_use.contains(&dir) && !is_held {
                fs::rename(&path, grave.path().join(entry.file_name())).map_err(Error::at(&path))?;
            }
        }
        Ok(())
    }

    /// Bytes of all layers that images name.
    pub fn usage(&self) -> Result<u64, Error> {
        let index = self.index()?;
        let ids: BTreeSet<&String> = index.images.iter().flat_map(|i| &i.layers).collect();
        Ok(ids
            .iter()
            .filter_map(|id| Digest::parse(id))
            .filter_map(|id| self.layer(&id))
            .map(|l| l.size)
            .sum())
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn lock(&self) -> Result<File, Error> {
        lock(&self.root.join("lock"))
    }

    fn change(&self, change: impl FnOnce(&mut Index)) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut index = (*self.index()?).clone();
        change(&mut index);
        let Index { images, unsynced } = &mut index;
        unsynced.retain(|id, _| images.iter().any(|i| i.id == *id));
        let json = serde_json::to_vec(&index).map_err(Error::content)?;
        replace(&self.index_path(), &json)
    }
}

/// Opens a file and waits for the lock on it, which goes with the descriptor.
fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(Error::at(path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| Error::at(path)(e.into()))?;
    Ok(file)
}

/// Where in the index an image is that a user names.
fn position(index: &Index, reference: &str) -> Option<usize> {
    let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
    let digits = hex.len() >= 4 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if let Ok(name) = Reference::parse(reference) {
        let by_digest = name.digest.map(|d| name.at(&d));
        let text = name.to_string();
        let named = |i: &Image| match &by_digest {
            Some(d) => i.digests.contains(d),
            None => i.tags.contains(&text),
        };
        if let Some(i) = index.images.iter().position(named) {
            return Some(i);
        }
    }
    let mut by_id = index.images.iter().enumerate().filter(|(_, i)| digits && i.id[7..].starts_with(hex));
    let first = by_id.next()?;
    // Digits that several images begin with name none of them.
    by_id.next().is_none().then_some(first.0)
}

/// Replaces a file that is changed under the store's lock only.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    write(&part, bytes)?;
    fs::rename(&part, path).map_err(Error::at(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path).map_err(Error::at(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::at(path))
}

#[cfg(test)]
mod tests;
