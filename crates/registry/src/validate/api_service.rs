//! APIServices (`k8s.io/kube-aggregator/pkg/apis/apiregistration/validation`).

use super::at::{At, Faults};
use meta::{FieldError, FieldPath, Object, names};

/// Highest priority of a group.
const GROUP_PRIORITY_MAX: i64 = 20_000;
/// Highest priority of a version.
const VERSION_PRIORITY_MAX: i64 = 1000;

/// APIService.
pub(crate) fn validate_api_service(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let (group, version, service) = (spec.get("group"), spec.get("version"), spec.get("service"));
    let name = format!("{}.{}", version.str(), group.str());
    if o.metadata.name != name {
        let why = format!("must be `spec.version+\".\"+spec.group`: {name:?}");
        faults.push(FieldError::invalid(&FieldPath::new("metadata.name"), o.metadata.name.as_str(), why));
    }
    if group.is_empty() && service.is_set() {
        faults.push(group.missing("only v1 may have an empty group and it better be legacy kube"));
    }
    group.optional_rule(names::dns1123_subdomain, &mut faults);
    version.rule(names::dns1035_label, &mut faults);
    bounded(&spec.get("groupPriorityMinimum"), GROUP_PRIORITY_MAX, &mut faults);
    bounded(&spec.get("versionPriority"), VERSION_PRIORITY_MAX, &mut faults);
    let insecure = spec.get("insecureSkipTLSVerify");
    if !service.is_set() {
        if !spec.get("caBundle").is_empty() {
            faults.push(spec.get("caBundle").invalid("local APIServices may not have a caBundle"));
        }
        if insecure.flag() {
            faults.push(insecure.invalid("local APIServices may not have insecureSkipTLSVerify"));
        }
        return faults;
    }
    service.get("namespace").required(&mut faults);
    service.get("name").required(&mut faults);
    if service.get("port").is_set() {
        service.get("port").port(&mut faults);
    }
    if insecure.flag() && !spec.get("caBundle").is_empty() {
        faults.push(insecure.invalid("may not be true if caBundle is present"));
    }
    faults
}

fn bounded(at: &At<'_>, max: i64, faults: &mut Faults) {
    let n = at.int().unwrap_or(0);
    if n <= 0 || n > max {
        faults.push(FieldError::invalid(&at.path(), n, format!("must be positive and less than {max}")));
    }
}
