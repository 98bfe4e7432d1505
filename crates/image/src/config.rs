//! The parts of manifests and image configurations that we read (OCI image spec 1.1, docker schema 2).

use crate::{Digest, Error};
use serde::{Deserialize, Serialize};

/// What a container starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// `NAME=value`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The program.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Its arguments, unless the pod gives others.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Where it starts.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// The signal that asks it to end; empty for SIGTERM.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
}

fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// An image's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `amd64`, ...
    pub architecture: String,
    /// `linux`, ...
    pub os: String,
    /// What a container starts from.
    #[serde(deserialize_with = "or_default")]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
}

/// The layers of an image, lowest first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Digests of the layers as plain tar.
    pub diff_ids: Vec<String>,
}

/// More layers than overlay takes in one mount are refused.
pub const MAX_LAYERS: usize = 127;

impl ImageConfig {
    /// Reads a configuration and the digests of its layers.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Vec<Digest>), Error> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|e| Error::content(format!("the image's configuration: {e}")))?;
        let ids: Option<Vec<Digest>> = config.rootfs.diff_ids.iter().map(|d| Digest::parse(d)).collect();
        let ids = ids
            .ok_or_else(|| Error::content("the image's configuration names a layer by an unknown digest"))?;
        if ids.len() > MAX_LAYERS {
            return Err(Error::content(format!(
                "the image has {} layers, at most {MAX_LAYERS} can be mounted",
                ids.len()
            )));
        }
        Ok((config, ids))
    }
}

/// Points to a blob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// For which machine, in an index.
    pub platform: Option<Platform>,
    /// Names and the like.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A kind of machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `amd64`, ...
    pub architecture: String,
    /// `linux`, ...
    pub os: String,
    /// `v8`, ...
    pub variant: String,
}

/// A manifest, or an index of manifests for several kinds of machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Manifest {
    /// Type, where given.
    pub media_type: String,
    /// The configuration, in a manifest.
    pub config: Option<Descriptor>,
    /// The layers, lowest first, in a manifest.
    pub layers: Vec<Descriptor>,
    /// The manifests, in an index.
    pub manifests: Vec<Descriptor>,
}

/// What this machine is called in images.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Manifest {
    /// Reads a manifest or an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|e| Error::content(format!("the image's manifest: {e}")))
    }

    /// The manifest of an index that is for this kind of machine.
    pub fn for_this_machine(&self) -> Option<&Descriptor> {
        let fits = |d: &&Descriptor| match &d.platform {
            Some(p) => p.os == "linux" && p.architecture == architecture(),
            None => true,
        };
        self.manifests.iter().find(fits)
    }
}
