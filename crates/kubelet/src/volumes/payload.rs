//! What ConfigMaps, Secrets, the downward API and tokens put into a volume, as values
//! (`pkg/volume/{configmap,secret,downwardapi,projected}`).

use crate::core::downward::{self, Surroundings};
use crate::core::podspec;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret};
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// The mode of files where nothing is said.
pub(crate) const DEFAULT_MODE: u32 = 0o644;
/// The longest path of a file in a volume.
const MAX_PATH: usize = 4096;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
    /// Who owns it; none for root.
    pub owner: Option<u32>,
}

/// Files by path.
pub(crate) type Files = BTreeMap<String, File>;

/// A mode as the API has it, or the default.
pub(crate) fn mode(m: Option<i32>, default: u32) -> u32 {
    m.and_then(|m| u32::try_from(m).ok()).unwrap_or(default) & 0o777
}

fn checked(path: &str) -> Result<String, String> {
    let fine = |c: Component<'_>| matches!(c, Component::Normal(n) if !n.to_string_lossy().starts_with(".."));
    if path.is_empty() || path.len() > MAX_PATH || !Path::new(path).components().all(fine) {
        return Err(format!("invalid path: {path:?} must be relative and must not contain \"..\""));
    }
    Ok(path.to_owned())
}

/// Picks `items` out of `data`, or all of it.
fn pick(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
    what: &str,
) -> Result<Files, String> {
    let mut out = Files::new();
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        for (k, bytes) in data {
            out.insert(checked(&k)?, File { bytes, mode: default_mode, owner: None });
        }
        return Ok(out);
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                let file = File { bytes: bytes.clone(), mode: mode(item.mode, default_mode), owner: None };
                out.insert(checked(&item.path)?, file);
            }
            None if optional => {}
            None => return Err(format!("references non-existent {what} key: {}", item.key)),
        }
    }
    Ok(out)
}

/// The files of a ConfigMap.
pub(crate) fn config_map(
    m: Option<&ConfigMap>,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
) -> Result<Files, String> {
    let Some(m) = m else {
        return if optional { Ok(Files::new()) } else { Err(format!("configmap {name:?} not found")) };
    };
    let text = m.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = m.binary_data.iter().flatten().map(|(k, ByteString(v))| (k.clone(), v.clone()));
    pick(text.chain(binary).collect(), items, default_mode, optional, "config")
}

/// The files of a Secret.
pub(crate) fn secret(
    s: Option<&Secret>,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
) -> Result<Files, String> {
    let Some(s) = s else {
        return if optional { Ok(Files::new()) } else { Err(format!("secret {name:?} not found")) };
    };
    let data = s.data.iter().flatten().map(|(k, ByteString(v))| (k.clone(), v.clone()));
    pick(data.collect(), items, default_mode, optional, "secret")
}

/// The files of the downward API.
pub(crate) fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    default_mode: u32,
    around: &Surroundings,
) -> Result<Files, String> {
    let mut out = Files::new();
    for item in items {
        let text = if let Some(f) = &item.field_ref {
            downward::field(pod, f, around)?
        } else if let Some(r) = &item.resource_field_ref {
            let name = r.container_name.as_deref().unwrap_or_default();
            let (c, _) =
                podspec::find_container(pod, name).ok_or_else(|| format!("container {name} not found"))?;
            downward::resource(&c, r, around)?
        } else {
            String::new()
        };
        let file = File { bytes: text.into_bytes(), mode: mode(item.mode, default_mode), owner: None };
        out.insert(checked(&item.path)?, file);
    }
    Ok(out)
}

/// One file with a token in it.
pub(crate) fn token(path: &str, token: String, file_mode: u32, owner: Option<u32>) -> Result<Files, String> {
    let file = File { bytes: token.into_bytes(), mode: file_mode, owner };
    Ok(Files::from([(checked(path)?, file)]))
}

/// The one user as whom all containers of a pod run, if there is one: who may read its tokens.
pub(crate) fn single_user(pod: &Pod) -> Option<u32> {
    let of_pod = podspec::spec(pod).security_context.as_ref().and_then(|s| s.run_as_user);
    let all = podspec::init_containers(pod).iter().chain(podspec::containers(pod));
    let mut users = all.map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|u| u == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_never_leaves_its_volume() {
        for bad in ["../x", "/x", "a/../../x", "", "..data/x", "a/.."] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        assert!(checked("a/b.c").is_ok());
    }

    #[test]
    fn items_are_picked_and_what_is_missing_is_named() {
        let m: ConfigMap = serde_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap();
        let items = |key: &str| {
            vec![KeyToPath { key: key.into(), mode: Some(0o400), path: "x/y".into(), user: None }]
        };
        let files = config_map(Some(&m), "m", Some(&items("a")), DEFAULT_MODE, false).unwrap();
        let y = File { bytes: b"1".to_vec(), mode: 0o400, owner: None };
        assert_eq!(files, Files::from([("x/y".to_owned(), y)]));
        let missing = config_map(Some(&m), "m", Some(&items("c")), DEFAULT_MODE, false);
        assert_eq!(missing.unwrap_err(), "references non-existent config key: c");
        assert_eq!(config_map(None, "m", None, 0, false).unwrap_err(), "configmap \"m\" not found");
        assert!(config_map(None, "m", None, 0, true).unwrap().is_empty());
    }
}
