//! What ConfigMaps, Secrets, the downward API and tokens put into a volume, as values
//! (`pkg/volume/{configmap,secret,downwardapi,projected}`).

use crate::core::downward::{self, Surroundings};
use crate::core::podspec;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, SecurityContext};
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// The mode of files where nothing is said.
pub(crate) const DEFAULT_MODE: u32 = 0o644;

/// The mode and the owner of files where an item says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Defaults {
    mode: u32,
    owner: Option<u32>,
}

impl Defaults {
    /// As a volume has them.
    pub(crate) fn new(default_mode: Option<i32>, default_user: Option<i64>) -> Self {
        Self { mode: mode(default_mode, DEFAULT_MODE), owner: owner(default_user) }
    }

    /// A file of an item that may say something else.
    fn file(self, bytes: Vec<u8>, item_mode: Option<i32>, item_user: Option<i64>) -> File {
        File { bytes, mode: mode(item_mode, self.mode), owner: owner(item_user).or(self.owner) }
    }

    /// The mode.
    pub(crate) fn mode(self) -> u32 {
        self.mode
    }

    /// The owner.
    pub(crate) fn owner(self) -> Option<u32> {
        self.owner
    }
}

/// A user as the API has it.
pub(crate) fn owner(user: Option<i64>) -> Option<u32> {
    user.and_then(|u| u32::try_from(u).ok())
}
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
    defaults: Defaults,
    optional: bool,
    what: &str,
) -> Result<Files, String> {
    let mut out = Files::new();
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        for (k, bytes) in data {
            out.insert(checked(&k)?, defaults.file(bytes, None, None));
        }
        return Ok(out);
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                let file = defaults.file(bytes.clone(), item.mode, item.user);
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
    defaults: Defaults,
    optional: bool,
) -> Result<Files, String> {
    let Some(m) = m else {
        return if optional { Ok(Files::new()) } else { Err(format!("configmap {name:?} not found")) };
    };
    let text = m.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = m.binary_data.iter().flatten().map(|(k, ByteString(v))| (k.clone(), v.clone()));
    pick(text.chain(binary).collect(), items, defaults, optional, "config")
}

/// The files of a Secret.
pub(crate) fn secret(
    s: Option<&Secret>,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    defaults: Defaults,
    optional: bool,
) -> Result<Files, String> {
    let Some(s) = s else {
        return if optional { Ok(Files::new()) } else { Err(format!("secret {name:?} not found")) };
    };
    let data = s.data.iter().flatten().map(|(k, ByteString(v))| (k.clone(), v.clone()));
    pick(data.collect(), items, defaults, optional, "secret")
}

/// The files of the downward API.
pub(crate) fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    defaults: Defaults,
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
            downward::resource(pod, &c, r, around)?
        } else {
            String::new()
        };
        let file = defaults.file(text.into_bytes(), item.mode, item.user);
        out.insert(checked(&item.path)?, file);
    }
    Ok(out)
}

/// One file with a token in it.
pub(crate) fn token(path: &str, token: String, file_mode: u32, owner: Option<u32>) -> Result<Files, String> {
    let file = File { bytes: token.into_bytes(), mode: file_mode, owner };
    Ok(Files::from([(checked(path)?, file)]))
}

/// The one user as whom all containers of a pod run, if there is one: who may read its tokens (`FsUserFrom` of
/// `pkg/volume/util`).
pub(crate) fn single_user(pod: &Pod) -> Option<u32> {
    let of_pod = podspec::spec(pod).security_context.as_ref().and_then(|s| s.run_as_user);
    let own = |s: Option<&SecurityContext>| s.and_then(|s| s.run_as_user).or(of_pod);
    let lasting = podspec::init_containers(pod).iter().chain(podspec::containers(pod));
    let added = podspec::ephemeral_containers(pod).iter();
    let mut users = lasting
        .map(|c| own(c.security_context.as_ref()))
        .chain(added.map(|c| own(c.security_context.as_ref())));
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
            vec![KeyToPath { key: key.into(), mode: Some(0o400), path: "x/y".into(), user: Some(7) }]
        };
        let plain = Defaults::new(None, None);
        let files = config_map(Some(&m), "m", Some(&items("a")), plain, false).unwrap();
        let y = File { bytes: b"1".to_vec(), mode: 0o400, owner: Some(7) };
        assert_eq!(files, Files::from([("x/y".to_owned(), y)]));
        let missing = config_map(Some(&m), "m", Some(&items("c")), plain, false);
        assert_eq!(missing.unwrap_err(), "references non-existent config key: c");
        assert_eq!(config_map(None, "m", None, plain, false).unwrap_err(), "configmap \"m\" not found");
        assert!(config_map(None, "m", None, plain, true).unwrap().is_empty());
    }
    #[test]
    fn a_token_is_the_users_as_whom_all_containers_run() {
        let user = |pod: i64, own: &[Option<i64>], added: Option<i64>| {
            let c = |u: &Option<i64>| json!({"name": "c", "securityContext": {"runAsUser": u}});
            let added: Vec<_> = added.iter().map(|u| c(&Some(*u))).collect();
            let of_pod = json!({"runAsUser": (pod > 0).then_some(pod)});
            let all: Vec<_> = own.iter().map(c).collect();
            single_user(
                &serde_json::from_value(json!({"spec": {"containers": all,
                "ephemeralContainers": added, "securityContext": of_pod}}))
                .unwrap(),
            )
        };
        assert_eq!(user(0, &[None], None), None);
        assert_eq!(user(0, &[Some(7), None], None), None);
        assert_eq!(user(0, &[Some(7), Some(7)], None), Some(7));
        assert_eq!(user(7, &[None, Some(7)], None), Some(7));
        assert_eq!(user(7, &[None, Some(8)], None), None);
        assert_eq!(user(7, &[None], Some(8)), None);
        assert_eq!(user(0, &[Some(0)], None), Some(0));
    }
}
