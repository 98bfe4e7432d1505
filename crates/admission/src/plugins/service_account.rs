//! ServiceAccount: every pod has one, it exists, and its token is mounted
//! (`plugin/pkg/admission/serviceaccount`).

use crate::json::{at, containers, items, list_mut, spec, text};
use crate::{Awaited, Operation, Plugin, Request, View};
use meta::{Object, Status};
use serde_json::{Value, json};
use std::sync::Arc;

const DEFAULT_ACCOUNT: &str = "default";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Life that the mounted token asks for (`WarnOnlyBoundTokenExpirationSeconds`).
const TOKEN_SECONDS: i64 = 3607;

pub(crate) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, r: &Request) -> bool {
        let update = r.operation == Operation::Update && r.subresource == "ephemeralcontainers";
        let create = r.operation == Operation::Create && r.subresource.is_empty();
        r.is_any("", "pods") && (create || update) && r.object.is_some()
    }

    /// A namespace that was made just now has no account yet: its controller is making it.
    fn awaits(&self, r: &Request, view: &dyn View) -> Option<Awaited> {
        let pod = r.object.as_ref().filter(|_| r.operation == Operation::Create)?;
        let name = Some(text(spec(pod), &["serviceAccountName"])).filter(|n| !n.is_empty());
        let name = name.unwrap_or(DEFAULT_ACCOUNT);
        let missing = !is_mirror(pod)
            && account(view, &r.namespace, name).is_none()
            && view.get("", "namespaces", "", &r.namespace).is_some();
        (missing && name == DEFAULT_ACCOUNT).then(|| Awaited {
            group: String::new(),
            resource: "serviceaccounts".into(),
            namespace: r.namespace.clone(),
            name: name.into(),
        })
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        if r.operation != Operation::Create || r.object.as_ref().is_none_or(is_mirror) {
            return Ok(());
        }
        let Some(pod) = r.object.as_mut() else { return Ok(()) };
        if text(spec(pod), &["serviceAccountName"]).is_empty() {
            pod.set(&["spec", "serviceAccountName"], DEFAULT_ACCOUNT.into());
            pod.set(&["spec", "serviceAccount"], DEFAULT_ACCOUNT.into());
        }
        let name = text(spec(pod), &["serviceAccountName"]).to_owned();
        let account = required(r, view, &name)?;
        let entropy = r.entropy;
        let Some(spec) = r.object.as_mut().and_then(|o| o.body.get_mut("spec")) else { return Ok(()) };
        if wants_token(spec, &account) {
            mount_token(spec, entropy);
        }
        if items(spec, &["imagePullSecrets"]).is_empty() {
            let secrets = account.body.get("imagePullSecrets").and_then(Value::as_array);
            let names = secrets.into_iter().flatten().map(|s| json!({"name": text(s, &["name"])}));
            let names: Vec<Value> = names.collect();
            if !names.is_empty() {
                spec["imagePullSecrets"] = names.into();
            }
        }
        Ok(())
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let Some(pod) = &r.object else { return Ok(()) };
        if r.operation == Operation::Create && is_mirror(pod) {
            return mirror_refers_to(pod).map_or(Ok(()), |why| Err(r.forbidden(why)));
        }
        let name = text(spec(pod), &["serviceAccountName"]);
        if name.is_empty() {
            let why = format!("no service account specified for pod {}/{}", r.namespace, pod.metadata.name);
            return Err(r.forbidden(why));
        }
        let account = required(r, view, name)?;
        let enforced = account.metadata.annotations.get(ENFORCE_MOUNTABLE).is_some_and(|v| parse_bool(v));
        let refusal = match enforced {
            false => None,
            true if r.operation == Operation::Update => {
                container_refusal(spec(pod), "ephemeralContainers", "ephemeral container", &account)
            }
            true => secrets_refusal(spec(pod), &account),
        };
        refusal.map_or(Ok(()), |why| Err(r.forbidden(why)))
    }
}

fn is_mirror(pod: &Object) -> bool {
    pod.metadata.annotations.contains_key(MIRROR)
}

/// As Go's `strconv.ParseBool` reads it; what it can't read is false.
fn parse_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn account(view: &dyn View, namespace: &str, name: &str) -> Option<Arc<Object>> {
    view.get("", "serviceaccounts", namespace, name)
}

fn required(r: &Request, view: &dyn View, name: &str) -> Result<Arc<Object>, Status> {
    account(view, &r.namespace, name).ok_or_else(|| {
        let ns = &r.namespace;
        r.forbidden(format!(
            "error looking up service account {ns}/{name}: serviceaccount {name:?} not found"
        ))
    })
}

/// The pod's wish counts first, then the account's; the default is yes.
fn wants_token(spec: &Value, account: &Object) -> bool {
    let key = "automountServiceAccountToken";
    let wish = at(spec, &[key]).as_bool().or_else(|| account.body.get(key).and_then(Value::as_bool));
    wish.unwrap_or(true)
}

/// Mounts the token volume into every container that has nothing at its place, and adds the volume if one
/// needs it.
fn mount_token(spec: &mut Value, entropy: u64) {
    let volumes = items(spec, &["volumes"]).iter().map(|v| text(v, &["name"]));
    let existing = volumes.into_iter().find(|n| n.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix(entropy)));
    let mut needed = false;
    for which in ["initContainers", "containers"] {
        let list = spec.get_mut(which).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten() {
            let taken =
                items(container, &["volumeMounts"]).iter().any(|m| text(m, &["mountPath"]) == TOKEN_PATH);
            if taken {
                continue;
            }
            if let Some(mounts) = list_mut(container, "volumeMounts") {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH}));
                needed = true;
            }
        }
    }
    if needed
        && existing.is_none()
        && let Some(volumes) = list_mut(spec, "volumes")
    {
        volumes.push(token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

/// Five letters as upstream's name generator makes them: no vowels, nothing that looks like another.
fn suffix(entropy: u64) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = entropy;
    let mut draw = || {
        let letter = LETTERS[(rest % LETTERS.len() as u64) as usize];
        rest /= LETTERS.len() as u64;
        char::from(letter)
    };
    std::iter::repeat_with(&mut draw).take(5).collect()
}

/// Why a mirror pod can't be: it refers to something of the API.
fn mirror_refers_to(pod: &Object) -> Option<&'static str> {
    let spec = spec(pod);
    if !text(spec, &["serviceAccountName"]).is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let sources = || items(spec, &["volumes"]).iter().flat_map(|v| items(v, &["projected", "sources"]));
    let has = |v: &Value, path: &[&str]| !text(v, path).is_empty();
    let in_volumes = items(spec, &["volumes"]).iter().any(refers_to_secret);
    let in_containers = containers(spec).any(|c| {
        items(c, &["env"]).iter().any(|e| has(e, &["valueFrom", "secretKeyRef", "name"]))
            || items(c, &["envFrom"]).iter().any(|e| has(e, &["secretRef", "name"]))
    });
    let pulls = items(spec, &["imagePullSecrets"]).iter().any(|s| has(s, &["name"]));
    if in_volumes || in_containers || pulls || sources().any(|s| has(s, &["secret", "name"])) {
        return Some("a mirror pod may not reference secrets");
    }
    let token = sources().any(|s| !at(s, &["serviceAccountToken"]).is_null());
    token.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

fn refers_to_secret(volume: &Value) -> bool {
    let direct = [["secret", "secretName"], ["azureFile", "secretName"]];
    let named = ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"];
    direct.iter().any(|path| !text(volume, path).is_empty())
        || named.iter().any(|source| !text(volume, &[source, "secretRef", "name"]).is_empty())
        || !text(volume, &["csi", "nodePublishSecretRef", "name"]).is_empty()
}

fn names<'a>(account: &'a Object, list: &str) -> Vec<&'a str> {
    let items = account.body.get(list).and_then(Value::as_array).into_iter().flatten();
    items.map(|s| text(s, &["name"])).collect()
}

/// Why the pod may not use the secrets that it refers to, if its account may not mount all of them.
fn secrets_refusal(spec: &Value, account: &Object) -> Option<String> {
    let mountable = names(account, "secrets");
    let owner = &account.metadata.name;
    for volume in items(spec, &["volumes"]).iter().filter(|v| at(v, &["secret"]).is_object()) {
        let secret = text(volume, &["secret", "secretName"]);
        if !mountable.contains(&secret) {
            return Some(format!(
                "volume with secret.secretName={secret:?} is not allowed because service account {owner} does \
                 not reference that secret"
            ));
        }
    }
    let refusal = container_refusal(spec, "initContainers", "init container", account)
        .or_else(|| container_refusal(spec, "containers", "container", account));
    if refusal.is_some() {
        return refusal;
    }
    let pullable = names(account, "imagePullSecrets");
    let secrets = items(spec, &["imagePullSecrets"]).iter().map(|s| text(s, &["name"]));
    secrets.enumerate().find(|(_, secret)| !pullable.contains(secret)).map(|(i, secret)| {
        format!(
            "imagePullSecrets[{i}].name={secret:?} is not allowed because service account {owner} does not \
             reference that imagePullSecret"
        )
    })
}

fn container_refusal(spec: &Value, which: &str, word: &str, account: &Object) -> Option<String> {
    let mountable = names(account, "secrets");
    let owner = &account.metadata.name;
    for container in items(spec, &[which]) {
        let name = text(container, &["name"]);
        let refuse = |what: &str, secret: &str| {
            (!mountable.contains(&secret)).then(|| {
                format!(
                    "{word} {name} with {what} referencing secret.secretName={secret:?} is not allowed because \
                     service account {owner} does not reference that secret"
                )
            })
        };
        let env =
            items(container, &["env"]).iter().filter(|e| at(e, &["valueFrom", "secretKeyRef"]).is_object());
        let env = env.map(|e| {
            let what = format!("envVar {}", text(e, &["name"]));
            refuse(&what, text(e, &["valueFrom", "secretKeyRef", "name"]))
        });
        let from = items(container, &["envFrom"]).iter().filter(|e| at(e, &["secretRef"]).is_object());
        let from = from.map(|e| refuse("envFrom", text(e, &["secretRef", "name"])));
        if let Some(refusal) = env.chain(from).flatten().next() {
            return Some(refusal);
        }
    }
    None
}
