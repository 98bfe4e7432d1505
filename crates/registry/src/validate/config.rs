//! ConfigMaps and Secrets (`pkg/apis/core/validation/validation.go`: `ValidateConfigMap`, `ValidateSecret`).

use super::at::{At, Faults};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use meta::names::config_map_key;
use meta::{FieldError, FieldPath, Object};

/// The most bytes that a Secret or a ConfigMap may hold.
const SIZE_MAX: usize = 1024 * 1024;
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

fn keys(data: &At<'_>, faults: &mut Faults) {
    for (key, at) in data.entries() {
        faults.extend(config_map_key(key).into_iter().map(|why| FieldError::invalid(&at.path(), key, why)));
    }
}

fn decoded(at: &At<'_>) -> Vec<u8> {
    BASE64_STANDARD.decode(at.str()).unwrap_or_default()
}

fn base64_size(data: &At<'_>) -> usize {
    data.entries().map(|(_, at)| at.str().len() / 4 * 3).sum()
}

fn well_encoded(data: &At<'_>, faults: &mut Faults) {
    for (_, at) in data.entries() {
        if at.is_set() && BASE64_STANDARD.decode(at.str()).is_err() {
            faults.push(FieldError::invalid(&at.path(), "<contents redacted>", "illegal base64 data"));
        }
    }
}

/// ConfigMap.
pub(crate) fn validate_config_map(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let (data, binary) = (At::top(o, "data"), At::top(o, "binaryData"));
    keys(&data, &mut faults);
    for (key, at) in data.entries() {
        if binary.value().get(key).is_some() {
            faults.push(FieldError::invalid(&at.path(), key, "duplicate of key present in binaryData"));
        }
    }
    keys(&binary, &mut faults);
    well_encoded(&binary, &mut faults);
    let text: usize = data.entries().map(|(_, at)| at.str().len()).sum();
    if text + base64_size(&binary) > SIZE_MAX {
        faults.push(FieldError::too_long(&FieldPath::default(), SIZE_MAX));
    }
    faults
}

fn unchanged(new: &Object, old: &Object, fields: &[&'static str]) -> Faults {
    let mut faults = Vec::new();
    if old.get(&["immutable"]).and_then(serde_json::Value::as_bool) != Some(true) {
        return faults;
    }
    if !At::top(new, "immutable").flag() {
        faults.push(At::top(new, "immutable").forbidden(IMMUTABLE));
    }
    for field in fields {
        if new.body.get(*field) != old.body.get(*field) {
            faults.push(At::top(new, field).forbidden(IMMUTABLE));
        }
    }
    faults
}

/// A change of a ConfigMap.
pub(crate) fn validate_config_map_update(new: &Object, old: &Object) -> Faults {
    unchanged(new, old, &["data", "binaryData"])
}

/// Secret.
pub(crate) fn validate_secret(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let data = At::top(o, "data");
    keys(&data, &mut faults);
    well_encoded(&data, &mut faults);
    if base64_size(&data) > SIZE_MAX {
        faults.push(FieldError::too_long(&data.path(), SIZE_MAX));
    }
    let has = |key: &str| data.value().get(key).is_some();
    let mut require = |key: &str| faults.push(FieldError::required(&data.path().key(key), ""));
    match o.str(&["type"]) {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            if o.metadata.annotations.get(NAME).is_none_or(String::is_empty) {
                faults.push(FieldError::required(&FieldPath::new("metadata.annotations").key(NAME), ""));
            }
        }
        "kubernetes.io/dockercfg" => docker(&data, ".dockercfg", &mut faults),
        "kubernetes.io/dockerconfigjson" => docker(&data, ".dockerconfigjson", &mut faults),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require("username");
            require("password");
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").is_empty() => require("ssh-privatekey"),
        "kubernetes.io/tls" => {
            ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).for_each(require);
        }
        _ => {}
    }
    faults
}

fn docker(data: &At<'_>, key: &'static str, faults: &mut Faults) {
    let path = data.path().key(key);
    let at = data.get(key);
    if !at.is_set() {
        faults.push(FieldError::required(&path, ""));
    } else if let Err(why) =
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&decoded(&at))
    {
        let why = meta::json_fault::find(&decoded(&at)).unwrap_or_else(|| why.to_string());
        faults.push(FieldError::invalid(&path, "<secret contents redacted>", why));
    }
}

/// A change of a Secret.
pub(crate) fn validate_secret_update(new: &Object, old: &Object) -> Faults {
    let mut faults = super::immutable(new, old, &["type"], &FieldPath::new("type"));
    faults.extend(unchanged(new, old, &["data"]));
    faults
}
