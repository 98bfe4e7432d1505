//! Kubeconfig files (`k8s.io/client-go/tools/clientcmd/api/v1`): one context for this cluster, merged into what
//! the user already has.

use crate::pki::{Pair, PkiError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One cluster, one user and the context of both, under one name.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Name of the cluster, the context and (with `-admin` behind it) the user; where another cluster has that name
    /// already, a number is put behind it.
    pub name: &'a str,
    /// `https://127.0.0.1:6443`
    pub server: &'a str,
    /// CA certificate, PEM.
    pub ca: &'a str,
    /// Client certificate and key.
    pub client: &'a Pair,
}

/// Why a file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// What is there is no kubeconfig.
    #[error("the existing file is not a kubeconfig ({0}): it was left as it is; name another file")]
    NotKubeconfig(&'static str),
    /// Every name that would be taken is another cluster's.
    #[error("the existing file has {0} other clusters of this kind: it was left as it is; name another file")]
    NoName(usize),
}

/// So many clusters of one name are told apart in a file.
const MAX_NAMES: usize = 1000;

/// `existing` with the entry put in, and the context's name there. Other clusters, users, contexts and fields stay;
/// `current-context` is set only where there is none.
pub fn merge(existing: Option<Value>, entry: &Entry<'_>) -> Result<(Value, String), MergeError> {
    let mut config = match existing {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(MergeError::NotKubeconfig("it is not a map")),
    };
    if config.get("kind").is_some_and(|kind| kind != "Config") {
        return Err(MergeError::NotKubeconfig("its kind is not Config"));
    }
    let data = |pem: &str| STANDARD.encode(pem);
    let name = free_name(&config, entry, &data(entry.ca))?;
    let user = format!("{name}-admin");
    let cluster = json!({"server": entry.server, "certificate-authority-data": data(entry.ca)});
    let credentials = json!({"client-certificate-data": data(&entry.client.cert),
        "client-key-data": data(&entry.client.key)});
    put(&mut config, "clusters", &name, "cluster", cluster)?;
    put(&mut config, "users", &user, "user", credentials)?;
    put(&mut config, "contexts", &name, "context", json!({"cluster": name, "user": user}))?;
    config.entry("apiVersion").or_insert("v1".into());
    config.entry("kind").or_insert("Config".into());
    let current = config.get("current-context").and_then(Value::as_str).unwrap_or_default();
    if current.is_empty() {
        config.insert("current-context".into(), name.as_str().into());
    }
    Ok((Value::Object(config), name))
}

/// The entry's name, or the first with a number behind it that no other cluster has. Clusters are the same that have
/// the same authority, or the same address: one that was made anew takes the place of the one that was there before.
fn free_name(config: &Map<String, Value>, entry: &Entry<'_>, ca: &str) -> Result<String, MergeError> {
    let clusters = config.get("clusters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_free = |name: &String| {
        let cluster = clusters.iter().find(|c| c.get("name").and_then(Value::as_str) == Some(name));
        cluster.is_none_or(|c| {
            c.pointer("/cluster/server").and_then(Value::as_str) == Some(entry.server)
                || c.pointer("/cluster/certificate-authority-data").and_then(Value::as_str) == Some(ca)
        })
    };
    let numbered = (2..=MAX_NAMES).map(|n| format!("{}-{n}", entry.name));
    let mut names = std::iter::once(entry.name.to_owned()).chain(numbered);
    names.find(is_free).ok_or(MergeError::NoName(MAX_NAMES))
}

/// Puts `{name, <key>: value}` into the named list, in the place of an entry of that name.
fn put(
    config: &mut Map<String, Value>,
    list: &'static str,
    name: &str,
    key: &str,
    value: Value,
) -> Result<(), MergeError> {
    let slot = config.entry(list).or_insert(Value::Null);
    if slot.is_null() {
        *slot = json!([]);
    }
    let items = slot.as_array_mut().ok_or(MergeError::NotKubeconfig(list))?;
    let item = json!({"name": name, key: value});
    match items.iter_mut().find(|i| i.get("name").and_then(Value::as_str) == Some(name)) {
        Some(old) => *old = item,
        None => items.push(item),
    }
    Ok(())
}

/// Why a kubeconfig couldn't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file couldn't be read or written.
    #[error(transparent)]
    File(#[from] PkiError),
    /// What is there is no YAML.
    #[error("{}: the existing file can't be read ({source}): it was left as it is; name another file", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: meta::yaml::YamlError,
    },
    /// What is there is something else.
    #[error("{}: {source}", path.display())]
    Merge {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MergeError,
    },
}

/// Puts the entry into the file at `path`, which is made (0600, with the folders above it) where there is none, in one
/// step; gives the context's name there. A file that holds the entry already isn't touched; a symbolic link stays one.
/// Whom file or folder belonged to has it still: with sudo, that is who will read it.
pub fn write(path: &Path, entry: &Entry<'_>) -> Result<String, WriteError> {
    // What doesn't resolve isn't there yet.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let existing = existing(&file)?;
    let merged = merge(existing.clone(), entry);
    let (merged, name) = merged.map_err(|source| WriteError::Merge { path: file.clone(), source })?;
    if existing.as_ref() != Some(&merged) {
        crate::pki::write_file_for_owner(&file, &to_yaml(&merged))?;
    }
    Ok(name)
}

/// Fails where [`write`] would, for what is in the file.
pub fn takes(path: &Path) -> Result<(), WriteError> {
    let none = Pair { cert: String::new(), key: String::new() };
    let entry = Entry { name: "", server: "", ca: "", client: &none };
    let merged = merge(existing(path)?, &entry);
    merged.map(drop).map_err(|source| WriteError::Merge { path: path.to_owned(), source })
}

fn existing(file: &Path) -> Result<Option<Value>, WriteError> {
    let Some(text) = crate::pki::read_file(file)? else { return Ok(None) };
    let decoded = meta::yaml::decode(&text);
    let decoded = decoded.map_err(|source| WriteError::Yaml { path: file.to_owned(), source })?;
    Ok(Some(decoded.value))
}

/// YAML in block style. Strings that YAML could read as something else are quoted.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    emit(value, 0, &mut out);
    out
}

fn emit(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (i, (key, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&scalar(key));
                out.push(':');
                emit_nested(value, indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str("- ");
                emit(item, indent + 2, out);
            }
        }
        Value::String(s) => {
            out.push_str(&scalar(s));
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

fn emit_nested(value: &Value, indent: usize, out: &mut String) {
    let deeper = match value {
        Value::Object(map) if !map.is_empty() => indent + 2,
        // As kubectl writes it: the dashes of a list stand under their key.
        Value::Array(items) if !items.is_empty() => indent,
        _ => {
            out.push(' ');
            return emit(value, indent, out);
        }
    };
    out.push('\n');
    out.push_str(&" ".repeat(deeper));
    emit(value, deeper, out);
}

/// A string as a plain YAML scalar where that is safe, and as a JSON string (which YAML reads too) elsewhere.
fn scalar(s: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+=@:".contains(c);
    let safe = s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && s.chars().all(plain)
        && !s.ends_with(':')
        && !matches!(
            s.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if safe { s.to_owned() } else { Value::from(s).to_string() }
}

#[cfg(test)]
mod tests;
