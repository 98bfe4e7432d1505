//! Volumes of clouds and storage systems, most of which nothing mounts any more: what must be said of them
//! (`pkg/apis/core/validation/validation.go`: `validateISCSIVolumeSource` and its kin).

use super::at::{At, Faults};

/// Largest partition and logical unit number.
const BYTE_MAX: i64 = 255;

/// Fields that a source needs.
const REQUIRED: [(&str, &[&str]); 15] = [
    ("iscsi", &["targetPortal", "iqn"]),
    ("flexVolume", &["driver"]),
    ("cephfs", &["monitors"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("azureFile", &["secretName", "shareName"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("vsphereVolume", &["volumePath"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("gcePersistentDisk", &["pdName"]),
    ("cinder", &["volumeID"]),
    ("portworxVolume", &["volumeID"]),
    ("gitRepo", &["repository"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("photonPersistentDisk", &["pdID"]),
];

/// What is wrong with a source, which is of the kind `kind`.
pub(super) fn source(kind: &str, at: &At<'_>, faults: &mut Faults) {
    // Upstream calls this one by another name in its paths.
    let moved = At::new(
        at.value(),
        meta::FieldPath::new(&at.path().as_str().replace("gcePersistentDisk", "persistentDisk")),
    );
    let at = if kind == "gcePersistentDisk" { &moved } else { at };
    let required = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| fields);
    for field in required {
        at.get(field).required(faults);
    }
    match kind {
        "iscsi" => iscsi(at, faults),
        "fc" => fibre_channel(at, faults),
        "awsElasticBlockStore" | "gcePersistentDisk" => {
            byte(&at.get("partition"), "must be between 1 and 255, inclusive", faults)
        }
        "quobyte" => {
            if at.get("registry").is_empty() {
                let why = "must be a host:port pair or multiple pairs separated by commas";
                faults.push(at.get("registry").missing(why));
            }
            at.get("volume").required(faults);
        }
        "flocker" => flocker(at, faults),
        "gitRepo" => super::volume::descending(&at.get("directory"), faults),
        "storageos" if at.get("volumeName").is_empty() => faults.push(at.get("volumeName").missing("")),
        "cinder" if at.get("secretRef").is_set() => {
            at.get("secretRef").get("name").required(faults);
        }
        _ => {}
    }
}

fn byte(at: &At<'_>, why: &str, faults: &mut Faults) {
    if at.int().is_some_and(|n| !(0..=BYTE_MAX).contains(&n)) {
        faults.push(at.invalid(why));
    }
}

fn iscsi(at: &At<'_>, faults: &mut Faults) {
    for name in [at.get("iqn"), at.get("initiatorName")] {
        let known = ["iqn", "eui", "naa"].iter().any(|start| name.str().starts_with(start));
        if !name.is_empty() && !known {
            faults.push(name.invalid("must be valid format starting with iqn, eui, or naa"));
        }
    }
    byte(&at.get("lun"), "must be between 0 and 255, inclusive", faults);
    let asks = at.get("chapAuthDiscovery").flag() || at.get("chapAuthSession").flag();
    if asks && !at.get("secretRef").is_set() {
        faults.push(at.get("secretRef").missing(""));
    }
}

fn fibre_channel(at: &At<'_>, faults: &mut Faults) {
    let (targets, ids, unit) = (at.get("targetWWNs"), at.get("wwids"), at.get("lun"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => faults.push(targets.missing("must specify either targetWWNs or wwids, but not both")),
        (false, false) => {
            faults.push(targets.invalid("targetWWNs and wwids can not be specified simultaneously"));
        }
        _ => {}
    }
    if !targets.is_empty() && !unit.is_set() {
        faults.push(unit.missing("lun is required if targetWWNs is specified"));
    }
    byte(&unit, "must be between 0 and 255, inclusive", faults);
}

fn flocker(at: &At<'_>, faults: &mut Faults) {
    let (name, id) = (at.get("datasetName"), at.get("datasetUUID"));
    match (name.is_empty(), id.is_empty()) {
        (true, true) => faults.push(at.missing("one of datasetName and datasetUUID is required")),
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            faults.push(meta::FieldError::invalid(&at.path(), "resource", why));
        }
        _ => {}
    }
    if name.str().contains('/') {
        faults.push(name.invalid("must not contain '/'"));
    }
}
