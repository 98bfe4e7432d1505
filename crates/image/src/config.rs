//! The parts of manifests and image configurations that we read (OCI image spec 1.1, docker schema 2).

use crate::{Digest, Error};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Directories that a container may write to, whatever its root is; the values are empty.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, serde_json::Value>,
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
    /// `v8`, ...
    pub variant: String,
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
    /// 2 for everything in use; 1 is docker's first form.
    pub schema_version: u32,
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

/// How well content for a platform runs here: the lower the better, none for not at all. The order is containerd's
/// (`platforms.Default`), with the levels of x86-64 that this processor has behind the plain ones.
fn rank(os: &str, arch: &str, variant: &str) -> Option<u32> {
    if os != "linux" {
        return None;
    }
    match (architecture(), arch, variant) {
        ("amd64", "amd64", "" | "v1") | ("arm64", "arm64", "" | "v8") => Some(0),
        ("amd64", "amd64", level) => level_of_x86(level).then_some(1),
        ("amd64", "386", _) => Some(2),
        (own, arch, _) => (own == arch).then_some(1),
    }
}

#[cfg(target_arch = "x86_64")]
fn level_of_x86(level: &str) -> bool {
    let v2 = || std::is_x86_feature_detected!("sse4.2") && std::is_x86_feature_detected!("popcnt");
    let v3 = || std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("bmi2");
    let v4 = || std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl");
    match level {
        "v2" => v2(),
        "v3" => v2() && v3(),
        "v4" => v2() && v3() && v4(),
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn level_of_x86(_: &str) -> bool {
    false
}

impl ImageConfig {
    /// Whether the image is for this kind of machine. One that doesn't say is taken at its word.
    pub fn fits(&self) -> bool {
        self.architecture.is_empty() || rank(&self.os, &self.architecture, &self.variant).is_some()
    }
}

impl Manifest {
    /// Reads a manifest or an index. What could be read as either is refused (CVE-2021-41190).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|e| Error::content(format!("the image's manifest: {e}")))?;
        let (config, layers) = (manifest.config.is_some(), !manifest.layers.is_empty());
        if (config || layers) && !manifest.manifests.is_empty() {
            return Err(Error::content("the image's manifest is an index and a manifest at once"));
        }
        Ok(manifest)
    }

    /// The manifest of an index that runs best on this kind of machine.
    pub fn for_this_machine(&self) -> Option<&Descriptor> {
        let rank = |d: &Descriptor| match &d.platform {
            Some(p) => rank(&p.os, &p.architecture, &p.variant),
            // What doesn't say for which machine it is may be for this one.
            None => Some(u32::MAX),
        };
        let ranked = self.manifests.iter().filter_map(|d| Some((rank(d)?, d)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, d)| d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_best_for_this_machine() {
        let pick = |platforms: &[&str]| {
            let manifests = platforms.iter().map(|p| {
                let mut parts = p.split('/').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default();
                let platform = Some(Platform { os: next(), architecture: next(), variant: next() });
                Descriptor { digest: (*p).to_owned(), platform, ..Default::default() }
            });
            let index = Manifest { manifests: manifests.collect(), ..Default::default() };
            index.for_this_machine().map(|d| d.digest.clone())
        };
        let pick = |platforms| pick(platforms).unwrap_or_default();
        assert_eq!(pick(&["linux/arm64/v8", "unknown/unknown", "linux/amd64", "linux/386"]), "linux/amd64");
        assert_eq!(pick(&["linux/386", "linux/amd64/v1"]), "linux/amd64/v1");
        assert_eq!(pick(&["windows/amd64", "linux/386"]), "linux/386");
        assert_eq!(pick(&["linux/arm64", "linux/amd64/v9", "windows/amd64"]), "");
        assert!(
            !ImageConfig { architecture: "arm64".into(), os: "linux".into(), ..Default::default() }.fits()
        );
    }

    #[test]
    fn neither_fish_nor_flesh() {
        let both = br#"{"config": {"digest": "a"}, "manifests": [{"digest": "b"}]}"#;
        assert!(Manifest::parse(both).unwrap_err().to_string().contains("at once"));
    }
}
