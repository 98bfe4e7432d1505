//! What to write so that the API shows a status: only what differs (`pkg/util/pod.PatchPodStatus`).

use super::conditions::OWNED;
use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

/// Lists that the strategic merge patch merges by a key; they are replaced as a whole here.
const MERGED: &[&str] = &["podIPs", "hostIPs"];

/// Lists whose members have a state and a last state, which the API writes also where they are empty.
const WITH_STATES: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// The status as the API writes it.
fn object(status: &PodStatus) -> Map<String, Value> {
    let Ok(Value::Object(mut map)) = serde_json::to_value(status) else { return Map::new() };
    for list in WITH_STATES {
        let containers = map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            for state in ["state", "lastState"] {
                container.entry(state).or_insert_with(|| json!({}));
            }
        }
    }
    map
}

fn changed_conditions(old: Option<&Value>, new: &Value) -> Vec<Value> {
    let none = Vec::new();
    let old = old.and_then(Value::as_array).unwrap_or(&none);
    let ours = |c: &&Value| {
        let kind = c["type"].as_str().unwrap_or_default();
        OWNED.contains(&kind) || kind == "DisruptionTarget"
    };
    let with_nulls = |c: &Value| {
        let mut c = c.clone();
        let before = old.iter().find(|o| o["type"] == c["type"]).and_then(Value::as_object);
        for key in before.into_iter().flat_map(Map::keys) {
            if c.get(key).is_none() {
                c[key.as_str()] = Value::Null;
            }
        }
        c
    };
    let list = new.as_array().unwrap_or(&none).iter().filter(ours).filter(|c| !old.contains(c));
    let kinds: Vec<&Value> = new.as_array().unwrap_or(&none).iter().map(|c| &c["type"]).collect();
    let gone = old.iter().filter(ours).map(|c| &c["type"]).filter(|kind| !kinds.contains(kind));
    let removed = gone.map(|kind| json!({"$patch": "delete", "type": kind}));
    list.map(with_nulls).chain(removed).collect()
}

/// The strategic merge patch of a pod with `uid` that turns `old` into `new`; none if they are the same.
/// Conditions of others are left alone.
pub fn status_patch(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (old, new) = (object(old), object(new));
    let mut out = Map::new();
    for (key, value) in &new {
        if key == "conditions" {
            let changed = changed_conditions(old.get(key), value);
            if !changed.is_empty() {
                out.insert(key.clone(), Value::Array(changed));
            }
            continue;
        }
        if old.get(key) == Some(value) {
            continue;
        }
        let mut value = value.clone();
        if let (true, Some(list), true) =
            (MERGED.contains(&key.as_str()), value.as_array_mut(), old.contains_key(key))
        {
            list.insert(0, json!({"$patch": "replace"}));
        }
        out.insert(key.clone(), value);
    }
    let keep =
        ["conditions", "nominatedNodeName", "resize", "resourceClaimStatuses", "extendedResourceClaimStatus"];
    for key in old.keys().filter(|k| !new.contains_key(*k) && !keep.contains(&k.as_str())) {
        out.insert(key.clone(), Value::Null);
    }
    if out.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"uid": uid}, "status": out}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_conditions_of_others_are_left_alone() {
        let status = |v: Value| serde_json::from_value::<PodStatus>(v).unwrap();
        let old = status(json!({"phase": "Pending", "message": "m", "conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
            {"type": "PodScheduled", "status": "True"}, {"type": "gate", "status": "True"}]}));
        let new = status(
            json!({"phase": "Running", "podIP": "10.1.0.2", "podIPs": [{"ip": "10.1.0.2"}], "conditions": [
            {"type": "gate", "status": "False"}, {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}),
        );
        let patch = status_patch("u", &old, &new).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"uid": "u"}, "status": {"phase": "Running", "message": null, "podIP": "10.1.0.2",
                "podIPs": [{"ip": "10.1.0.2"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}]}})
        );
        assert_eq!(status_patch("u", &new, &new), None);
        let waits = status(json!({"conditions": [{"type": "PodResizePending", "status": "True"}]}));
        let patch = status_patch("u", &waits, &status(json!({"conditions": []}))).unwrap();
        assert_eq!(
            patch["status"],
            json!({"conditions": [{"$patch": "delete", "type": "PodResizePending"}]})
        );
    }
}
