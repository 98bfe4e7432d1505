//! Volumes of a pod and their mounts (`pkg/apis/core/validation/validation.go`: `ValidateVolumes`,
//! `ValidateVolumeMounts`).

use super::at::{At, Faults, Unique};
use super::env::{VOLUME_FIELDS, field_ref, resource_field_ref};
use meta::FieldError;
use meta::names;
use std::collections::BTreeMap;

/// The volumes that mounts may name.
pub(super) type Volumes<'a> = BTreeMap<String, At<'a>>;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_TYPE: &str = "may not specify more than 1 volume type";
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// A token can't live shorter than 10 minutes.
const TOKEN_SECONDS_MIN: i64 = 600;
/// Nor longer than 2^32 seconds.
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// What is known of the pod that the volumes are of.
pub(super) struct Owner<'a> {
    pub(super) name: &'a str,
    pub(super) is_pod: bool,
}

pub(super) fn volumes<'a>(list: &At<'a>, owner: &Owner<'_>, faults: &mut Faults) -> Volumes<'a> {
    let mut good = Volumes::new();
    for volume in list.items() {
        let name = volume.get("name");
        let before = faults.len();
        source(&volume, owner, faults);
        name.required_rule(names::dns1123_label, faults);
        if good.contains_key(name.str()) {
            faults.push(name.duplicate());
        }
        if faults.len() == before {
            good.insert(name.str().to_owned(), volume);
        }
    }
    good
}

fn source(volume: &At<'_>, owner: &Owner<'_>, faults: &mut Faults) {
    let mut set = SOURCES.iter().map(|s| (*s, volume.get(s))).filter(|(_, at)| at.is_set());
    let Some((kind, at)) = set.next() else {
        faults.push(volume.missing("must specify a volume type"));
        return;
    };
    match kind {
        "emptyDir" if at.get("sizeLimit").quantity().is_some_and(|q| q.signum() < 0) => {
            faults.push(at.get("sizeLimit").forbidden("SizeLimit field must be a valid resource quantity"));
        }
        "hostPath" => host_path(&at, faults),
        "secret" => files(&at, "secretName", faults),
        "configMap" => files(&at, "name", faults),
        "persistentVolumeClaim" => drop(at.get("claimName").required(faults)),
        "downwardAPI" => {
            mode(&at.get("defaultMode"), faults);
            at.get("items").items().for_each(|item| downward_file(&item, &at, faults));
        }
        "projected" => projected(&at, faults),
        "csi" => csi(&at, faults),
        "nfs" => nfs(&at, faults),
        "ephemeral" => ephemeral(volume, &at, owner.name, faults),
        "image" => {
            if owner.is_pod {
                at.get("reference").required(faults);
            }
            at.get("pullPolicy").one_of(&["Always", "IfNotPresent", "Never"], faults);
        }
        _ => super::old_volumes::source(kind, &at, faults),
    }
    faults.extend(set.map(|(_, at)| at.forbidden(ONE_TYPE)));
}

/// Longest name of a CSI driver.
const DRIVER_NAME_MAX: usize = 63;

fn csi(at: &At<'_>, faults: &mut Faults) {
    driver_name(&at.get("driver"), faults);
    let secret = at.get("nodePublishSecretRef");
    if secret.is_set() {
        secret.get("name").required(faults);
    }
}

/// The name that a CSI driver registers under.
pub(super) fn driver_name(at: &At<'_>, faults: &mut Faults) {
    at.required(faults);
    if at.str().len() > DRIVER_NAME_MAX {
        faults.push(FieldError::too_long(&at.path(), DRIVER_NAME_MAX));
    }
    let rule = names::dns1123_subdomain(&at.str().to_lowercase()).into_iter();
    faults.extend(rule.filter(|_| !at.is_empty()).map(|why| at.invalid(why)));
}

pub(super) fn nfs(at: &At<'_>, faults: &mut Faults) {
    at.get("server").required(faults);
    let path = at.get("path");
    if path.required(faults) && !path.str().starts_with('/') {
        faults.push(path.invalid("must be an absolute path"));
    }
}

pub(super) fn host_path(at: &At<'_>, faults: &mut Faults) {
    if at.get("path").required(faults) {
        no_back_steps(&at.get("path"), faults);
        at.get("type").optional_one_of(&HOST_PATH_TYPES, faults);
    }
}

fn mode(at: &At<'_>, faults: &mut Faults) {
    if at.int().is_some_and(|m| !(0..=0o777).contains(&m)) {
        faults.push(at.invalid(FILE_MODE));
    }
}

fn files(at: &At<'_>, name: &'static str, faults: &mut Faults) {
    at.get(name).required(faults);
    mode(&at.get("defaultMode"), faults);
    at.get("items").items().for_each(|item| key_to_path(&item, faults));
}

fn key_to_path(item: &At<'_>, faults: &mut Faults) {
    item.get("key").required(faults);
    item.get("path").required(faults);
    local_path(&item.get("path"), faults);
    mode(&item.get("mode"), faults);
}

/// A path below the volume: relative, without `..`, and not beginning with `..` as the volume's own files do.
fn local_path(at: &At<'_>, faults: &mut Faults) {
    descending(at, faults);
    if at.str().starts_with("..") && !at.str().starts_with("../") && at.str() != ".." {
        faults.push(at.invalid("must not start with '..'"));
    }
}

pub(super) fn descending(at: &At<'_>, faults: &mut Faults) {
    if at.str().starts_with('/') {
        faults.push(at.invalid("must be a relative path"));
    }
    no_back_steps(at, faults);
}

pub(super) fn no_back_steps(at: &At<'_>, faults: &mut Faults) {
    if at.str().split('/').any(|step| step == "..") {
        faults.push(at.invalid("must not contain '..'"));
    }
}

/// Upstream says of a file of the downward API that it is wrong at its volume.
fn downward_file(item: &At<'_>, volume: &At<'_>, faults: &mut Faults) {
    let at = At::new(item.value(), volume.path());
    at.get("path").required(faults);
    local_path(&at.get("path"), faults);
    let (field, resource) = (at.get("fieldRef"), at.get("resourceFieldRef"));
    if field.is_set() {
        field_ref(&field, &VOLUME_FIELDS, faults);
        if resource.is_set() {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            faults.push(FieldError::invalid(&at.path(), "resource", why));
        }
    } else if resource.is_set() {
        resource_field_ref(&resource, true, faults);
    } else {
        faults.push(at.missing("one of fieldRef and resourceFieldRef is required"));
    }
    mode(&at.get("mode"), faults);
}

const PROJECTIONS: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn projected(projected: &At<'_>, faults: &mut Faults) {
    mode(&projected.get("defaultMode"), faults);
    let mut paths = Unique::default();
    let mut clash = |path: &str, shown: &str, faults: &mut Faults| {
        if !path.is_empty() && paths.has(path) {
            faults.push(FieldError::invalid(&projected.path(), shown, "conflicting duplicate paths"));
        }
    };
    for source in projected.get("sources").items() {
        for kind in ["secret", "configMap"] {
            let at = source.get(kind);
            if at.is_set() {
                at.get("name").required(faults);
                for item in at.get("items").items() {
                    key_to_path(&item, faults);
                    clash(item.get("path").str(), at.get("name").str(), faults);
                }
            }
        }
        let downward = source.get("downwardAPI");
        for item in downward.get("items").items() {
            downward_file(&item, &downward, faults);
            clash(item.get("path").str(), item.get("path").str(), faults);
        }
        token(&source.get("serviceAccountToken"), projected, faults);
        if PROJECTIONS.iter().filter(|kind| source.get(kind).is_set()).count() > 1 {
            faults.push(source.forbidden("may not specify more than 1 volume type per source"));
        }
    }
}

fn token(token: &At<'_>, projected: &At<'_>, faults: &mut Faults) {
    if !token.is_set() {
        return;
    }
    let seconds = token.get("expirationSeconds");
    if seconds.int().is_some_and(|n| n < TOKEN_SECONDS_MIN) {
        faults.push(seconds.invalid("may not specify a duration less than 10 minutes"));
    }
    if seconds.int().is_some_and(|n| n > TOKEN_SECONDS_MAX) {
        faults.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
    }
    let path = At::new(token.get("path").value(), projected.path().child("path"));
    if path.required(faults) {
        local_path(&path, faults);
    }
}

fn ephemeral(volume: &At<'_>, at: &At<'_>, pod_name: &str, faults: &mut Faults) {
    let template = at.get("volumeClaimTemplate");
    if !template.required(faults) {
        return;
    }
    super::storage::claim_spec(&template.get("spec"), faults);
    let name = volume.get("name");
    if !pod_name.is_empty() && !name.is_empty() {
        let claim = format!("{pod_name}-{}", name.str());
        let rule = crate::names::dns_subdomain(&claim, false).into_iter();
        faults.extend(rule.map(|why| name.invalid(format!("PVC name {claim:?}: {why}"))));
    }
}

/// A container's `volumeMounts`.
pub(super) fn mounts(container: &At<'_>, volumes: &Volumes<'_>, faults: &mut Faults) {
    let list = container.get("volumeMounts");
    let devices: Vec<At<'_>> = container.get("volumeDevices").items().collect();
    let mut points = Unique::default();
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        name.required(faults);
        if !volumes.contains_key(name.str()) {
            faults.push(FieldError::not_found(&name.path(), name.str()));
        }
        path.required(faults);
        if points.has(path.str()) {
            faults.push(path.invalid("must be unique"));
        }
        if devices.iter().any(|d| d.get("name").str() == name.str()) {
            faults.push(name.invalid("must not already exist in volumeDevices"));
        }
        if !path.is_empty() && devices.iter().any(|d| d.get("devicePath").str() == path.str()) {
            faults.push(path.invalid("must not already exist as a path in volumeDevices"));
        }
        // Upstream names the list, not the mount, for what follows.
        let of_list = |key: &'static str| At::new(mount.get(key).value(), list.path().child(key));
        descending(&of_list("subPath"), faults);
        let expression = mount.get("subPathExpr");
        if !expression.is_empty() && !mount.get("subPath").is_empty() {
            faults.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
        }
        descending(&of_list("subPathExpr"), faults);
        propagation(&of_list("mountPropagation"), container, faults);
        read_only(&mount, &of_list("recursiveReadOnly"), faults);
    }
}

fn propagation(at: &At<'_>, container: &At<'_>, faults: &mut Faults) {
    if !at.is_set() {
        return;
    }
    at.known(&["Bidirectional", "HostToContainer", "None"], faults);
    if at.str() == "Bidirectional" && !container.get("securityContext").get("privileged").flag() {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        faults.push(at.forbidden(why));
    }
}

fn read_only(mount: &At<'_>, at: &At<'_>, faults: &mut Faults) {
    if !at.is_set() {
        return;
    }
    at.known(&["Disabled", "Enabled", "IfPossible"], faults);
    if at.str() != "Disabled" && !mount.get("readOnly").flag() {
        faults.push(at.forbidden("may only be specified when readOnly is true"));
    }
    let propagation = mount.get("mountPropagation").str();
    if at.str() != "Disabled" && !matches!(propagation, "" | "None") {
        let why = "may only be specified when mountPropagation is None or not specified";
        faults.push(at.forbidden(why));
    }
}

/// A container's `volumeDevices`.
pub(super) fn devices(container: &At<'_>, volumes: &Volumes<'_>, faults: &mut Faults) {
    let (mut names_seen, mut paths_seen) = (Unique::default(), Unique::default());
    let mounts: Vec<At<'_>> = container.get("volumeMounts").items().collect();
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        name.required(faults);
        if names_seen.has(name.str()) {
            faults.push(name.invalid("must be unique"));
        }
        match volumes.get(name.str()) {
            None => faults.push(FieldError::not_found(&name.path(), name.str())),
            Some(v) if !v.get("persistentVolumeClaim").is_set() && !v.get("ephemeral").is_set() => {
                faults.push(name.invalid(
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                ));
            }
            Some(_) => {}
        }
        path.required(faults);
        if paths_seen.has(path.str()) {
            faults.push(path.invalid("must be unique"));
        }
        if path.str().split('/').any(|step| step == "..") {
            faults.push(path.invalid("can not contain backsteps ('..')"));
        }
        if mounts.iter().any(|m| m.get("name").str() == name.str()) {
            faults.push(name.invalid("must not already exist in volumeMounts"));
        }
        if !path.is_empty() && mounts.iter().any(|m| m.get("mountPath").str() == path.str()) {
            faults.push(path.invalid("must not already exist as a path in volumeMounts"));
        }
    }
}
