//! Nodes (`pkg/apis/core/validation/validation.go`: `ValidateNode`, `ValidateNodeUpdate`).

use super::at::{At, Faults, Unique};
use super::{resources, tolerations};
use meta::{FieldError, FieldPath, Object, names};

/// Node.
pub(crate) fn validate_node(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    // Upstream's paths say `metadata` here.
    taints(&At::new(spec.get("taints").value(), FieldPath::new("metadata.taints")), &mut faults);
    for list in ["capacity", "allocatable"] {
        resources::resource_list(&At::top(o, "status").get(list), &mut faults);
    }
    let cidrs = spec.get("podCIDRs");
    cidrs.items().for_each(|c| c.rule(names::legacy_cidr, &mut faults));
    let families: Vec<bool> =
        cidrs.items().filter_map(|c| names::parse_cidr(c.str())).map(|(ip, _)| ip.is_ipv4()).collect();
    if families.len() > 2 || (families.len() == 2 && families[0] == families[1]) {
        faults.push(cidrs.invalid("may specify no more than one CIDR for each IP family"));
    }
    faults
}

fn taints(list: &At<'_>, faults: &mut Faults) {
    let mut seen = Unique::default();
    for taint in list.items() {
        taint.get("key").rule(names::qualified_name, faults);
        let value = taint.get("value");
        let rule = names::label_value(value.str());
        if !rule.is_empty() {
            faults.push(value.invalid(rule.join(";")));
        }
        let effect = taint.get("effect");
        if effect.required(faults) {
            tolerations::effect(&effect, faults);
        }
        if seen.has(&format!("{}:{}", taint.get("key").str(), effect.str())) {
            let mut fault = taint.duplicate();
            "taints must be unique by key and effect pair".clone_into(&mut fault.detail);
            faults.push(fault);
        }
    }
}

/// A change of a Node: what names it to others stays.
pub(crate) fn validate_node_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let path = FieldPath::new("spec");
    for (key, shown, field) in
        [("podCIDRs", "podCIDRs", "podCIDR"), ("providerID", "providerID", "providerID")]
    {
        let before = old
            .get(&["spec", key])
            .filter(|v| !v.is_null() && **v != "" && v.as_array().is_none_or(|a| !a.is_empty()));
        if before.is_some() && before != new.get(&["spec", key]) {
            let why = format!("node updates may not change {field} except from \"\" to valid");
            faults.push(FieldError::forbidden(&path.child(shown), why));
        }
    }
    let mut seen = Unique::default();
    for address in At::top(new, "status").get("addresses").items() {
        if seen.has(&address.value().to_string()) {
            faults.push(address.duplicate());
        }
    }
    faults
}
