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
    /// Name of the cluster, the context and (with `-admin` behind it) the user.
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
}

/// `existing` with the entry put in. Other clusters, users, contexts and fields stay; `current-context` is set
/// only where there is none.
pub fn merge(existing: Option<Value>, entry: &Entry<'_>) -> Result<Value, MergeError> {
    let mut config = match existing {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(MergeError::NotKubeconfig("it is not a map")),
    };
    if config.get("kind").is_some_and(|kind| kind != "Config") {
        return Err(MergeError::NotKubeconfig("its kind is not Config"));
    }
    let (name, user) = (entry.name, format!("{}-admin", entry.name));
    let data = |pem: &str| STANDARD.encode(pem);
    let cluster = json!({"server": entry.server, "certificate-authority-data": data(entry.ca)});
    let credentials = json!({"client-certificate-data": data(&entry.client.cert),
        "client-key-data": data(&entry.client.key)});
    put(&mut config, "clusters", name, "cluster", cluster)?;
    put(&mut config, "users", &user, "user", credentials)?;
    put(&mut config, "contexts", name, "context", json!({"cluster": name, "user": user}))?;
    config.entry("apiVersion").or_insert("v1".into());
    config.entry("kind").or_insert("Config".into());
    let current = config.get("current-context").and_then(Value::as_str).unwrap_or_default();
    if current.is_empty() {
        config.insert("current-context".into(), name.into());
    }
    Ok(Value::Object(config))
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

/// Puts the entry into the file at `path`, which is made (0600) where there is none, in one step. A file that
/// holds the entry already isn't touched; a symbolic link stays one.
pub fn write(path: &Path, entry: &Entry<'_>) -> Result<(), WriteError> {
    // What doesn't resolve isn't there yet.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = || file.clone();
    let existing = match crate::pki::read_file(&file)? {
        None => None,
        Some(text) => {
            let decoded = meta::yaml::decode(&text);
            Some(decoded.map_err(|source| WriteError::Yaml { path: path(), source })?.value)
        }
    };
    let merged =
        merge(existing.clone(), entry).map_err(|source| WriteError::Merge { path: path(), source })?;
    if existing.as_ref() != Some(&merged) {
        crate::pki::write_file(&file, &to_yaml(&merged))?;
    }
    Ok(())
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
