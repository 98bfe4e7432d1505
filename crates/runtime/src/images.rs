//! What the runtime needs of an image store; the store of OCI images, and one made of plain directories.

mod oci;

pub use oci::OciImages;

use std::fs;
use std::path::PathBuf;

use cri::{CallFuture, CriError, PullImageRequest};
use serde::{Deserialize, Serialize};

/// The part of an image's configuration that containers start from (OCI image spec, `config`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    /// Signal that asks the program to end; empty for SIGTERM.
    pub stop_signal: String,
    /// Directories that a container may write to, also where its root is read-only.
    pub volumes: Vec<String>,
}

/// An image on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// The image's id, `sha256:...`.
    pub id: String,
    /// What kubelet reports as `imageID`: the first `name@digest`, or the id.
    pub reference: String,
    /// What containers start from.
    pub config: ImageConfig,
    /// Unpacked layers, topmost first.
    pub layers: Vec<PathBuf>,
}

/// Where images come from. Calls other than `pull` answer from memory or local files.
pub trait ImageStore: Send + Sync {
    /// Finds an image by id, name or digest.
    fn resolve(&self, reference: &str) -> Result<ImageInfo, CriError>;
    /// All images, as CRI lists them.
    fn list(&self) -> Result<Vec<cri::Image>, CriError>;
    /// One image, as CRI lists it; `None` if it is not here.
    fn status(&self, reference: &str) -> Result<Option<cri::Image>, CriError>;
    /// Fetches an image; gives the reference for later calls.
    fn pull(&self, request: PullImageRequest) -> CallFuture<'_, String>;
    /// Removes an image; a missing one is no error.
    fn remove(&self, reference: &str) -> Result<(), CriError>;
    /// What images take up.
    fn usage(&self) -> Result<cri::FilesystemUsage, CriError>;
}

/// Images as directories: `<name>/rootfs` and, if wanted, `<name>/config.json` with an [`ImageConfig`].
#[derive(Debug, Clone)]
pub struct DirectoryImages(pub PathBuf);

impl DirectoryImages {
    fn directory(&self, reference: &str) -> Option<PathBuf> {
        let plain = !reference.is_empty() && !reference.contains(['/', '\0']) && !reference.starts_with('.');
        Some(self.0.join(reference)).filter(|path| plain && path.join("rootfs").is_dir())
    }

    fn describe(&self, name: &str) -> cri::Image {
        let (uid, username) = match self.resolve(name).map(|i| i.config.user) {
            Ok(user) => match user.split(':').next().map(str::parse) {
                Some(Ok(value)) => (Some(cri::Int64Value { value }), String::new()),
                _ => (None, user),
            },
            Err(_) => (None, String::new()),
        };
        let spec = Some(cri::ImageSpec { image: name.to_owned(), ..Default::default() });
        cri::Image {
            id: name.to_owned(),
            repo_tags: vec![name.to_owned()],
            size: 1,
            uid,
            username,
            spec,
            ..Default::default()
        }
    }
}

impl ImageStore for DirectoryImages {
    fn resolve(&self, reference: &str) -> Result<ImageInfo, CriError> {
        let missing = || CriError::not_found(format!("image {reference:?} is not in {}", self.0.display()));
        let directory = self.directory(reference).ok_or_else(missing)?;
        let config = match fs::read(directory.join("config.json")) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|e| CriError::internal(format!("image {reference:?}: {e}")))?,
            Err(_) => ImageConfig::default(),
        };
        let layers = vec![directory.join("rootfs")];
        Ok(ImageInfo { id: reference.to_owned(), reference: reference.to_owned(), config, layers })
    }

    fn list(&self) -> Result<Vec<cri::Image>, CriError> {
        let names = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| self.directory(name).is_some()).map(|name| self.describe(&name)).collect())
    }

    fn status(&self, reference: &str) -> Result<Option<cri::Image>, CriError> {
        Ok(self.directory(reference).map(|_| self.describe(reference)))
    }

    fn pull(&self, request: PullImageRequest) -> CallFuture<'_, String> {
        let name = request.image.map(|image| image.image).unwrap_or_default();
        Box::pin(async move { self.resolve(&name).map(|image| image.id) })
    }

    fn remove(&self, reference: &str) -> Result<(), CriError> {
        Err(CriError::new(
            cri::Code::FailedPrecondition,
            format!("image {reference:?} is a plain directory; remove it by hand"),
        ))
    }

    fn usage(&self) -> Result<cri::FilesystemUsage, CriError> {
        let mountpoint = self.0.to_string_lossy().into_owned();
        Ok(cri::FilesystemUsage {
            fs_id: Some(cri::FilesystemIdentifier { mountpoint }),
            ..Default::default()
        })
    }
}
