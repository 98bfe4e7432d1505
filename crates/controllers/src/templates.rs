//! When two pod templates are the same, and the short hash that tells them apart
//! (`pkg/controller/deployment/util`, `controller.ComputeHash`).

use api::core::v1::PodTemplateSpec;
use api::names;
use serde::Serialize;
use serde_json::Value;

/// The characters of `rand.SafeEncodeString`: no vowels, nothing that reads as another.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 32 bits.
pub(crate) fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

/// `n` in decimal, each digit replaced by a safe character.
pub(crate) fn safe_encode(n: u32) -> String {
    n.to_string().bytes().map(|b| char::from(SAFE[usize::from(b) % SAFE.len()])).collect()
}

/// A short hash of a template (or any value), varied by how often it collided.
pub(crate) fn hash(value: &impl Serialize, collisions: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    if let Some(n) = collisions {
        bytes.extend_from_slice(&n.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    safe_encode(fnv32a(&bytes))
}

/// Whether two templates are the same, but for the hash label. Absent and empty are the same.
pub(crate) fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |t: &PodTemplateSpec| {
        let mut t = t.clone();
        if let Some(labels) = t.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
            labels.remove(names::LABEL_POD_TEMPLATE_HASH);
        }
        t
    };
    let (a, b) = (bare(a), bare(b));
    a == b || pruned(&a) == pruned(&b)
}

/// The value without nulls, empty lists and empty objects.
pub(crate) fn pruned(value: &impl Serialize) -> Value {
    let mut v = serde_json::to_value(value).unwrap_or_default();
    prune(&mut v);
    v
}

fn prune(v: &mut Value) {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    };
    match v {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|_, v| !empty(v));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_short_and_safe() {
        let (a, b) = (hash(&"template", None), hash(&"template", Some(1)));
        assert_ne!(a, b);
        assert!(a.len() <= 10 && a.bytes().all(|c| SAFE.contains(&c)), "{a}");
        assert_eq!(fnv32a(b"a"), 0xe40c_292c);
    }
}
