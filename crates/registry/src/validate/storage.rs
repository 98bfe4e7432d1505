//! Volumes, claims and classes (`pkg/apis/core/validation/validation.go`, `pkg/apis/storage/validation/validation.go`).

use super::affinity::node_selector;
use super::at::{At, Faults, Unique};
use super::{immutable, volume};
use meta::{FieldError, FieldPath, Object, names};
use serde_json::Value;

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
/// Sources of a persistent volume.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

fn access_modes(spec: &At<'_>, faults: &mut Faults) {
    let modes = spec.get("accessModes");
    for mode in modes.items().filter(|m| !ACCESS_MODES.contains(&m.str())) {
        faults.push(FieldError::not_supported(&modes.path(), mode.str(), &ACCESS_MODES));
    }
    let single = modes.items().any(|m| m.str() == "ReadWriteOncePod");
    let others = modes.items().any(|m| m.str() != "ReadWriteOncePod" && ACCESS_MODES.contains(&m.str()));
    if single && others {
        faults.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
}

fn positive(at: &At<'_>, faults: &mut Faults) {
    if let Some(q) = at.quantity()
        && q.signum() <= 0
    {
        faults.push(FieldError::invalid(&at.path(), q.to_string(), "must be greater than zero"));
    }
}

/// A claim's spec, in claims and in templates of claims.
pub(super) fn claim_spec(spec: &At<'_>, faults: &mut Faults) {
    if spec.get("accessModes").is_empty() {
        faults.push(spec.get("accessModes").missing("at least 1 access mode is required"));
    }
    spec.get("selector").selector(faults);
    access_modes(spec, faults);
    let size = spec.get("resources").get("requests").get("storage");
    let at = At::new(size.value(), spec.path().child("resources").key("storage"));
    if at.is_set() {
        positive(&at, faults);
    } else {
        faults.push(at.missing(""));
    }
    spec.get("storageClassName").optional_rule(names::dns1123_subdomain, faults);
    spec.get("volumeMode").optional_one_of(&VOLUME_MODES, faults);
    spec.get("volumeAttributesClassName").optional_rule(names::dns1123_subdomain, faults);
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for at in [&source, &reference].into_iter().filter(|s| s.is_set()) {
        at.get("name").required(faults);
        at.get("kind").required(faults);
        if at.get("apiGroup").is_empty() && at.get("kind").str() != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            faults.push(FieldError::invalid(&at.path(), at.get("kind").str(), why));
        }
    }
    if source.is_set() && reference.is_set() && !reference.get("namespace").is_empty() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        faults.push(FieldError::invalid(&spec.path(), source.path().as_str(), why));
    } else if source.is_set() && reference.is_set() {
        let same = ["apiGroup", "kind", "name"].iter().all(|k| source.get(k).str() == reference.get(k).str());
        if !same {
            faults.push(FieldError::invalid(
                &spec.path(),
                source.path().as_str(),
                "must match dataSourceRef",
            ));
        }
    }
}

/// PersistentVolumeClaim.
pub(crate) fn validate_claim(o: &Object) -> Faults {
    let mut faults = Vec::new();
    claim_spec(&At::top(o, "spec"), &mut faults);
    faults
}

/// A change of a PersistentVolumeClaim: once bound it may grow; before, its volume may be named.
pub(crate) fn validate_claim_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let bound = new.str(&["status", "phase"]) == "Bound";
    let mut allowed = new.body.get("spec").cloned().unwrap_or_default();
    let before = old.body.get("spec").cloned().unwrap_or_default();
    let keep = |to: &mut Value, key: &str| match (to, before.get(key)) {
        (Value::Object(to), Some(v)) => drop(to.insert(key.to_owned(), v.clone())),
        (Value::Object(to), None) => drop(to.remove(key)),
        _ => {}
    };
    if old.str(&["spec", "volumeName"]).is_empty() {
        keep(&mut allowed, "volumeName");
    }
    if before.get("storageClassName").is_none_or(Value::is_null) {
        // A class may be given afterwards (KEP-3333).
        keep(&mut allowed, "storageClassName");
    }
    if bound {
        keep(&mut allowed, "volumeAttributesClassName");
        let size = before.pointer("/resources/requests/storage").cloned().unwrap_or_default();
        if let Some(at) = allowed.pointer_mut("/resources/requests/storage") {
            *at = size;
        }
    }
    if allowed != before {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                   claims";
        faults.push(FieldError::forbidden(&FieldPath::new("spec"), why));
    }
    let size = At::top(new, "spec").get("resources").get("requests").get("storage");
    let was = At::top(old, "spec").get("resources").get("requests").get("storage").quantity();
    let have = At::top(old, "status").get("capacity").get("storage").quantity();
    if let (Some(size_is), Some(was)) = (size.quantity(), was)
        && size_is < was
        && have.is_none_or(|have| size_is <= have)
    {
        faults.push(size.forbidden("field can not be less than status.capacity"));
    }
    faults.extend(immutable(new, old, &["spec", "volumeMode"], &FieldPath::new("volumeMode")));
    faults
}

/// PersistentVolume.
pub(crate) fn validate_volume(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    if spec.get("accessModes").is_empty() {
        faults.push(spec.get("accessModes").missing(""));
    }
    access_modes(&spec, &mut faults);
    let capacity = spec.get("capacity");
    capacity.required(&mut faults);
    let only_storage = capacity.entries().count() == 1 && capacity.get("storage").is_set();
    if !only_storage {
        faults.push(FieldError::not_supported(&capacity.path(), capacity.value().clone(), &["storage"]));
    }
    capacity.entries().for_each(|(_, at)| positive(&at, &mut faults));
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        policy.known(&["Delete", "Recycle", "Retain"], &mut faults);
    }
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        match affinity.get("required").is_set() {
            true => node_selector(&affinity.get("required"), &mut faults),
            false => faults.push(affinity.get("required").missing("must specify required node constraints")),
        }
    }
    volume_source(&spec, &mut faults);
    spec.get("storageClassName").optional_rule(names::dns1123_subdomain, &mut faults);
    spec.get("volumeMode").optional_one_of(&VOLUME_MODES, &mut faults);
    faults
}

fn volume_source(spec: &At<'_>, faults: &mut Faults) {
    let mut set = SOURCES.iter().map(|s| (*s, spec.get(s))).filter(|(_, at)| at.is_set());
    let Some((kind, at)) = set.next() else {
        faults.push(spec.missing("must specify a volume type"));
        return;
    };
    match kind {
        "hostPath" => {
            volume::host_path(&at, faults);
            let policy = spec.get("persistentVolumeReclaimPolicy");
            if policy.str() == "Recycle" && at.get("path").str() == "/" {
                faults.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
            }
        }
        "nfs" => volume::nfs(&at, faults),
        "local" => {
            if at.get("path").required(faults) {
                volume::no_back_steps(&at.get("path"), faults);
            }
            if !spec.get("nodeAffinity").is_set() {
                faults.push(spec.get("nodeAffinity").missing("Local volume requires node affinity"));
            }
        }
        "csi" => {
            volume::driver_name(&at.get("driver"), faults);
            at.get("volumeHandle").required(faults);
            for key in [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeStageSecretRef",
                "nodeExpandSecretRef",
            ] {
                secret_reference(&at.get(key), faults);
            }
        }
        _ => {}
    }
    faults.extend(set.map(|(_, at)| at.forbidden("may not specify more than 1 volume type")));
}

/// A secret that a driver is given.
fn secret_reference(at: &At<'_>, faults: &mut Faults) {
    if at.is_set() {
        at.get("name").required_rule(names::dns1123_subdomain, faults);
        at.get("namespace").required_rule(names::dns1123_label, faults);
    }
}

/// A change of a PersistentVolume: what it is stays.
pub(crate) fn validate_volume_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    if SOURCES.iter().any(|key| new.get(&["spec", key]) != old.get(&["spec", key])) {
        let why = "spec.persistentvolumesource is immutable after creation";
        faults.push(FieldError::forbidden(&FieldPath::new("spec.persistentvolumesource"), why));
    }
    faults.extend(immutable(new, old, &["spec", "volumeMode"], &FieldPath::new("volumeMode")));
    faults
}

/// Longest value of a class's parameters together.
const PARAMETERS_MAX: usize = 256 * 1024;

/// StorageClass.
pub(crate) fn validate_storage_class(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let provisioner = At::top(o, "provisioner");
    if provisioner.required(&mut faults) {
        let rule = names::qualified_name(&provisioner.str().to_lowercase()).into_iter();
        faults.extend(rule.map(|why| provisioner.invalid(why)));
    }
    let parameters = At::top(o, "parameters");
    let size: usize = parameters.entries().map(|(k, v)| k.len() + v.str().len()).sum();
    if size > PARAMETERS_MAX {
        faults.push(FieldError::too_long(&parameters.path(), PARAMETERS_MAX));
    }
    for (key, at) in parameters.entries().filter(|(key, _)| key.is_empty()) {
        let _ = at;
        faults.push(FieldError::invalid(&parameters.path(), key, "field can not be empty."));
    }
    At::top(o, "reclaimPolicy").optional_one_of(&["Delete", "Retain"], &mut faults);
    At::top(o, "volumeBindingMode").one_of(&["Immediate", "WaitForFirstConsumer"], &mut faults);
    topologies(&At::top(o, "allowedTopologies"), &mut faults);
    faults
}

/// Where volumes of a class may be.
fn topologies(list: &At<'_>, faults: &mut Faults) {
    let mut terms: Vec<&Value> = Vec::new();
    for term in list.items() {
        let (expressions, mut keys) = (term.get("matchLabelExpressions"), Unique::default());
        for expression in expressions.items() {
            let (key, values) = (expression.get("key"), expression.get("values"));
            let mut seen = Unique::default();
            values.required(faults);
            for value in values.items() {
                seen.check(&value, faults);
            }
            key.rule(names::qualified_name, faults);
            keys.check(&key, faults);
        }
        if terms.contains(&expressions.value()) || (expressions.is_empty() && !terms.is_empty()) {
            faults.push(FieldError::duplicate(&expressions.path(), ""));
        }
        terms.push(expressions.value());
    }
}

/// CSIDriver.
pub(crate) fn validate_csi_driver(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    spec.get("fsGroupPolicy").optional_one_of(&["File", "None", "ReadWriteOnceWithFSType"], &mut faults);
    let mut audiences = Unique::default();
    for request in spec.get("tokenRequests").items() {
        audiences.check(&request.get("audience"), &mut faults);
        let seconds = request.get("expirationSeconds");
        if seconds.int().is_some_and(|n| n < 600) {
            faults.push(seconds.invalid("may not specify a duration less than 10 minutes"));
        }
        if seconds.int().is_some_and(|n| n > 1 << 32) {
            faults.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
        }
    }
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.items().filter(|m| !matches!(m.str(), "Persistent" | "Ephemeral")) {
        faults.push(FieldError::not_supported(&modes.path(), mode.str(), &["Persistent", "Ephemeral"]));
    }
    faults
}

/// A change of a StorageClass: how it makes volumes stays.
pub(crate) fn validate_storage_class_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    for key in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        faults.extend(immutable(new, old, &[key], &FieldPath::new(key)));
    }
    faults
}
