//! Archives: an OCI image layout or what `docker save` writes, as one tar file, plain or compressed.

use crate::config::{Descriptor, ImageConfig, Manifest};
use crate::digest::Measured;
use crate::layer::decompress;
use crate::tar_stream::{Kind, TarStream};
use crate::{Digest, Error, Image, Reference, Store};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest archive, unpacked.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;
/// The most files in an archive.
const MAX_FILES: usize = 100_000;
/// The largest manifest, index or configuration.
pub const MAX_JSON: u64 = 4 << 20;
/// How deep indexes may point to indexes.
const MAX_INDEX_DEPTH: usize = 4;

/// The name of an image in an index, as containerd and as the OCI spec call it.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// The files of an archive, laid out flat in a directory of ours: no name from the archive becomes a path.
struct Files {
    dir: PathBuf,
    by_name: HashMap<String, usize>,
}

impl Files {
    fn open(&self, name: &str) -> Result<File, Error> {
        let n = self.by_name.get(name.trim_start_matches("./"));
        let n = n.ok_or_else(|| Error::content(format!("the archive has no {name:?}")))?;
        let path = self.dir.join(n.to_string());
        File::open(&path).map_err(Error::at(&path))
    }

    fn json(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut limited = self.open(name)?.take(MAX_JSON + 1);
        limited.read_to_end(&mut bytes).map_err(Error::doing(name))?;
        if bytes.len() as u64 > MAX_JSON {
            return Err(Error::content(format!("{name} in the archive has more than {MAX_JSON} bytes")));
        }
        Ok(bytes)
    }

    fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

/// One image of what `docker save` writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Takes every image of an archive into the store. Of an image's names, those in the archive come first.
pub fn import(store: &Store, file: &Path) -> Result<Vec<Image>, Error> {
    let stream = File::open(file).map_err(Error::at(file))?;
    let staging = store.stage()?;
    let files = lay_out(stream, staging.path())?;
    // docker writes both forms; the older one has the names.
    let images = if files.has("manifest.json") {
        docker(store, &files)?
    } else if files.has("index.json") {
        oci(store, &files)?
    } else {
        let what = "it has neither an index.json (OCI) nor a manifest.json (docker save)";
        return Err(Error::content(format!("{} is no image archive: {what}", file.display())));
    };
    match images.is_empty() {
        true => Err(Error::content(format!("{} has no image for this kind of machine", file.display()))),
        false => Ok(images),
    }
}

fn lay_out(stream: impl Read + Send, dir: &Path) -> Result<Files, Error> {
    let reading = Error::doing("reading the archive");
    let plain = decompress(stream).map_err(&reading)?;
    let mut archive = TarStream::new(Measured::new(plain, MAX_ARCHIVE_BYTES));
    let mut by_name = HashMap::new();
    let mut links = Vec::new();
    let mut n = 0;
    while let Some(entry) = archive.next().map_err(&reading)? {
        n += 1;
        if n > MAX_FILES {
            return Err(Error::content(format!("the archive has more than {MAX_FILES} files")));
        }
        let name = String::from_utf8_lossy(&entry.path).trim_start_matches("./").to_owned();
        if entry.kind == Kind::File && entry.sparse.is_none() {
            let path = dir.join(n.to_string());
            let mut file = File::create(&path).map_err(Error::at(&path))?;
            io::copy(&mut archive, &mut file).map_err(Error::at(&path))?;
            by_name.insert(name, n);
        } else if matches!(entry.kind, Kind::Symlink | Kind::HardLink) {
            links.push((name, String::from_utf8_lossy(&entry.link).into_owned()));
        }
    }
    // docker save links equal layers: `a/layer.tar -> ../b/layer.tar`. Only names of this archive are looked up.
    for (name, target) in links {
        let target = target.trim_start_matches("../").trim_start_matches("./");
        if let Some(n) = by_name.get(target).copied() {
            by_name.insert(name, n);
        }
    }
    Ok(Files { dir: dir.to_owned(), by_name })
}

fn docker(store: &Store, files: &Files) -> Result<Vec<Image>, Error> {
    let saved: Vec<Saved> = serde_json::from_slice(&files.json("manifest.json")?)
        .map_err(|e| Error::content(format!("manifest.json in the archive: {e}")))?;
    let mut images = Vec::new();
    for one in saved {
        let config = files.json(&one.config)?;
        let tags = names(one.repo_tags.unwrap_or_default())?;
        images.push(add(store, files, &config, &one.layers, &tags, &[])?);
    }
    Ok(images)
}

fn oci(store: &Store, files: &Files) -> Result<Vec<Image>, Error> {
    let index = Manifest::parse(&files.json("index.json")?)?;
    let mut images = Vec::new();
    for descriptor in &index.manifests {
        let name = NAMES.iter().find_map(|key| descriptor.annotations.get(*key));
        // A bare tag, as the OCI layout allows, is no name: nobody could ask for it.
        let tags = names(name.into_iter().filter(|n| n.contains(['/', ':'])).cloned().collect())?;
        if let Some((manifest, digest)) = manifest(files, descriptor, 0)? {
            let config = manifest.config.unwrap_or_default();
            let config = checked(files, &config)?;
            let layers: Vec<String> = manifest.layers.iter().map(|l| blob(&l.digest)).collect();
            let digests: Vec<String> = tags.iter().map(|t| t.at(&digest)).collect();
            images.push(add(store, files, &config, &layers, &tags, &digests)?);
        }
    }
    Ok(images)
}

/// Follows indexes to the manifest for this machine; none where there is none.
fn manifest(
    files: &Files,
    descriptor: &Descriptor,
    depth: usize,
) -> Result<Option<(Manifest, Digest)>, Error> {
    let bytes = checked(files, descriptor)?;
    let manifest = Manifest::parse(&bytes)?;
    if manifest.config.is_some() {
        return Ok(Some((manifest, Digest::of(&bytes))));
    }
    match manifest.for_this_machine() {
        Some(next) if depth < MAX_INDEX_DEPTH => self::manifest(files, next, depth + 1),
        Some(_) => Err(Error::content("the archive's indexes point to indexes without end")),
        None => Ok(None),
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// A small blob, held against its digest.
fn checked(files: &Files, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let bytes = files.json(&blob(&descriptor.digest))?;
    let is = Digest::of(&bytes).to_string();
    match is == descriptor.digest {
        true => Ok(bytes),
        false => {
            Err(Error::content(format!("the archive says {}, and the content is {is}", descriptor.digest)))
        }
    }
}

fn names(texts: Vec<String>) -> Result<Vec<Reference>, Error> {
    texts.iter().map(|t| Reference::parse(t)).collect()
}

fn add(
    store: &Store,
    files: &Files,
    config: &[u8],
    layers: &[String],
    tags: &[Reference],
    digests: &[String],
) -> Result<Image, Error> {
    let (_, ids) = ImageConfig::parse(config)?;
    if ids.len() != layers.len() {
        let (n, m) = (layers.len(), ids.len());
        return Err(Error::content(format!(
            "the archive has {n} layers for an image whose configuration names {m}"
        )));
    }
    let _lease = store.hold(&ids)?;
    let mut kept = Vec::new();
    for (id, file) in ids.iter().zip(layers) {
        kept.push(match store.layer(id) {
            Some(layer) => layer,
            None => store.add_layer(files.open(file)?, id)?,
        });
    }
    let mut image = store.add_image(config, tags, digests, &kept)?;
    image.tags.sort_by_key(|known| !tags.iter().any(|t| t.to_string() == *known));
    Ok(image)
}
