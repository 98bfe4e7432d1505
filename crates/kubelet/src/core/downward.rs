//! The downward API: fields and resources of a pod as text (`pkg/fieldpath`, `pkg/api/v1/resource`).

use super::{podspec, resources};
use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use meta::quantity::Quantity;
use std::collections::BTreeMap;

/// What the downward API knows beside the pod's own object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// Addresses of the pod, the primary one first.
    pub pod_ips: Vec<String>,
    /// Addresses of the node, the primary one first.
    pub host_ips: Vec<String>,
    /// Allocatable CPU of the node in thousandths: the limit of a container that has none.
    pub allocatable_cpu: i64,
    /// Allocatable memory of the node in bytes.
    pub allocatable_memory: i64,
    /// Allocatable ephemeral storage of the node in bytes.
    pub allocatable_storage: i64,
}

/// A map as lines of `key="value"`, sorted.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let one = |(k, v): (&String, &String)| format!("{k}={}", go_quote(v));
    map.into_iter().flatten().map(one).collect::<Vec<_>>().join("\n")
}

/// A string as Go's `%q` writes it.
pub(crate) fn go_quote(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `metadata.labels['app']` as (`metadata.labels`, `app`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (head, rest) = path.split_once("['")?;
    Some((head, rest.strip_suffix("']")?))
}

/// A field of the pod as text.
pub fn field(pod: &Pod, selector: &ObjectFieldSelector, around: &Surroundings) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let m = &pod.metadata;
    if let Some((head, key)) = subscript(path) {
        let map = match head {
            "metadata.labels" => m.labels.as_ref(),
            "metadata.annotations" => m.annotations.as_ref(),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(map.and_then(|l| l.get(key)).cloned().unwrap_or_default());
    }
    let spec = podspec::spec(pod);
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(&m.name),
        "metadata.namespace" => text(&m.namespace),
        "metadata.uid" => text(&m.uid),
        "metadata.labels" => lines(m.labels.as_ref()),
        "metadata.annotations" => lines(m.annotations.as_ref()),
        "spec.nodeName" => text(&spec.node_name),
        "spec.serviceAccountName" => text(&spec.service_account_name),
        "status.hostIP" => first(&around.host_ips),
        "status.hostIPs" => around.host_ips.join(","),
        "status.podIP" => first(&around.pod_ips),
        "status.podIPs" => around.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

fn amount(list: Option<&resources::List>, name: &str) -> Option<Quantity> {
    resources::parse(list?.get(name)?).filter(|q| !q.is_zero())
}

/// `value` in units of `divisor`, rounded up; CPU is counted in thousandths where the divisor is below one.
fn divided(value: &Quantity, divisor: Option<&Quantity>, cpu: bool) -> String {
    let unit = divisor.filter(|d| !d.is_zero());
    let (v, d) = match (cpu, unit) {
        (_, None) => (value.value(), 1),
        (true, Some(d)) => (value.milli_value(), d.milli_value().max(1)),
        (false, Some(d)) => (value.value(), d.value().max(1)),
    };
    (v / d + i64::from(v % d > 0)).to_string()
}

/// A container's request or limit as text. Without a limit of its own the pod's as a whole, and then the node's
/// (`MergeContainerResourceLimits`).
pub fn resource(
    pod: &Pod,
    c: &Container,
    selector: &ResourceFieldSelector,
    around: &Surroundings,
) -> Result<String, String> {
    let r = c.resources.as_ref();
    let divisor = selector.divisor.as_ref().and_then(resources::parse);
    let (list, name) = match selector.resource.split_once('.') {
        Some(("limits", name)) => (r.and_then(|r| r.limits.as_ref()), name),
        Some(("requests", name)) => (r.and_then(|r| r.requests.as_ref()), name),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let format = meta::quantity::Format::BinarySi;
    let default = match (selector.resource.as_str(), name) {
        ("limits.cpu", _) => Quantity::from_milli(around.allocatable_cpu, meta::quantity::Format::DecimalSi),
        ("limits.memory", _) => Quantity::from_int(around.allocatable_memory, format),
        ("limits.ephemeral-storage", _) => Quantity::from_int(around.allocatable_storage, format),
        (_, "cpu" | "memory" | "ephemeral-storage") => Quantity::default(),
        (_, n) if n.starts_with("hugepages-") => Quantity::default(),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let level = podspec::spec(pod).resources.as_ref().and_then(|r| r.limits.as_ref());
    let level = level.filter(|_| selector.resource.starts_with("limits."));
    let value = amount(list, name).or_else(|| amount(level, name)).unwrap_or(default);
    Ok(divided(&value, divisor.as_ref(), name == "cpu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_count_in_units_of_the_divisor_and_round_up() {
        let c: Container = serde_json::from_value(serde_json::json!({"name": "c", "resources":
            {"limits": {"cpu": "1500m", "memory": "32Mi"}}}))
        .unwrap();
        let spec = serde_json::json!({"containers": [], "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": 1}}});
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": spec})).unwrap();
        let ask_of = |c: &Container, resource: &str, divisor: &str| {
            let divisor = (!divisor.is_empty())
                .then(|| k8s_openapi::apimachinery::pkg::api::resource::Quantity(divisor.into()));
            let s = ResourceFieldSelector { resource: resource.into(), divisor, container_name: None };
            super::resource(&pod, c, &s, &Surroundings::default()).unwrap_or_else(|e| e)
        };
        let ask = |resource: &str, divisor: &str| ask_of(&c, resource, divisor);
        assert_eq!(ask("limits.cpu", ""), "2");
        assert_eq!(ask("limits.cpu", "1m"), "1500");
        assert_eq!(ask("limits.memory", "1Mi"), "32");
        assert_eq!(ask("requests.memory", ""), "0");
        let bare = Container::default();
        assert_eq!([ask_of(&bare, "limits.memory", "1Mi"), ask_of(&bare, "requests.cpu", "")], ["64", "0"]);
        assert_eq!(ask("cpu", ""), "unsupported container resource : cpu");
    }

    #[test]
    fn maps_are_quoted_lines() {
        let m = BTreeMap::from([("b".to_owned(), "x\"y".to_owned()), ("a".to_owned(), "1\n2".to_owned())]);
        assert_eq!(lines(Some(&m)), "a=\"1\\n2\"\nb=\"x\\\"y\"");
    }
}
