//! Security contexts (`pkg/apis/core/validation/validation.go`: `ValidateSecurityContext` and its kin).

use super::at::{At, Faults};
use super::volume::descending;
use meta::names;

/// `runAsUser`, `fsGroup` and the like.
fn id(at: &At<'_>, faults: &mut Faults) {
    if let Some(n) = at.int() {
        faults.extend(names::user_id(n).into_iter().map(|why| at.invalid(why)));
    }
}

/// The pod's.
pub(super) fn pod(spec: &At<'_>, faults: &mut Faults) {
    let context = spec.get("securityContext");
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context.get(key), faults);
    }
    context.get("supplementalGroups").items().for_each(|g| id(&g, faults));
    if spec.get("shareProcessNamespace").flag() && spec.get("hostPID").flag() {
        let at =
            At::new(spec.get("shareProcessNamespace").value(), context.path().child("shareProcessNamespace"));
        faults.push(at.invalid("ShareProcessNamespace and HostPID cannot both be enabled"));
    }
    sysctls(spec, &context.get("sysctls"), faults);
    context.get("fsGroupChangePolicy").optional_one_of(&["Always", "OnRootMismatch"], faults);
    profile(&context.get("seccompProfile"), "seccomp", faults);
    super::os::windows_options(&context.get("windowsOptions"), faults);
    app_armor(&context.get("appArmorProfile"), faults);
    context.get("supplementalGroupsPolicy").optional_one_of(&["Merge", "Strict"], faults);
    context.get("seLinuxChangePolicy").optional_one_of(&["MountOption", "Recursive"], faults);
}

/// A container's.
pub(super) fn container(context: &At<'_>, host_users: bool, faults: &mut Faults) {
    if !context.is_set() {
        return;
    }
    id(&context.get("runAsUser"), faults);
    id(&context.get("runAsGroup"), faults);
    let mount = context.get("procMount");
    mount.optional_one_of(&["Default", "Unmasked"], faults);
    if host_users && mount.str() == "Unmasked" {
        faults.push(mount.invalid("`hostUsers` must be false to use `Unmasked`"));
    }
    profile(&context.get("seccompProfile"), "seccomp", faults);
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.is_set() && !escalation.flag() {
        if context.get("privileged").flag() {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            faults.push(context.invalid(why));
        }
        if context.get("capabilities").get("add").items().any(|c| c.str() == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            faults.push(context.invalid(why));
        }
    }
    super::os::windows_options(&context.get("windowsOptions"), faults);
    app_armor(&context.get("appArmorProfile"), faults);
}

fn profile(profile: &At<'_>, what: &str, faults: &mut Faults) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    if kind.is_empty() {
        faults.push(kind.missing(format!("type is required when {what}Profile is set")));
    } else {
        kind.known(&["Localhost", "RuntimeDefault", "Unconfined"], faults);
    }
    match (kind.str() == "Localhost", local.is_set()) {
        (true, false) => faults.push(local.missing(format!("must be set when {what} type is Localhost"))),
        (true, true) if what == "seccomp" => descending(&local, faults),
        (false, true) => {
            let why = format!("can only be set when {what} type is Localhost");
            faults.push(meta::FieldError::invalid(&local.path(), profile.value().clone(), why));
        }
        _ => {}
    }
}

/// Longest name of a local AppArmor profile.
const APP_ARMOR_MAX: usize = 4095;

fn app_armor(at: &At<'_>, faults: &mut Faults) {
    profile(at, "AppArmor", faults);
    let local = at.get("localhostProfile");
    if local.is_set() && at.get("type").str() == "Localhost" {
        if local.str().trim().is_empty() {
            faults.push(local.missing("must be set when AppArmor type is Localhost"));
        } else if local.str().trim() != local.str() {
            faults.push(local.invalid("must not be padded with whitespace"));
        }
        if local.str().len() > APP_ARMOR_MAX {
            faults.push(meta::FieldError::too_long(&local.path(), APP_ARMOR_MAX));
        }
    }
}

/// Longest name of a sysctl.
const SYSCTL_MAX: usize = 253;

fn is_sysctl(name: &str) -> bool {
    let step = |s: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        s.starts_with(edge) && s.ends_with(edge) && s.chars().all(|c| edge(c) || c == '-' || c == '_')
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(step)
}

fn sysctls(spec: &At<'_>, list: &At<'_>, faults: &mut Faults) {
    let mut seen = super::at::Unique::default();
    for (i, sysctl) in list.items().enumerate() {
        let name = sysctl.get("name");
        if !name.required(faults) {
            continue;
        }
        if !is_sysctl(name.str()) {
            let regex = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            let why = format!("must have at most {SYSCTL_MAX} characters and match regex {regex}");
            faults.push(name.invalid(why));
        }
        if seen.has(name.str()) {
            faults.push(meta::FieldError::duplicate(&list.path().index(i).child("name"), name.str()));
        }
        let dotted = name.str().replace('/', ".");
        for (flag, of_host) in [
            ("hostNetwork", dotted.starts_with("net.")),
            (
                "hostIPC",
                dotted.starts_with("kernel.shm")
                    || dotted.starts_with("kernel.msg")
                    || dotted == "kernel.sem"
                    || dotted.starts_with("fs.mqueue."),
            ),
        ] {
            if of_host && spec.get(flag).flag() {
                let why = format!("may not be specified when '{flag}' is true");
                faults.push(meta::FieldError::invalid(&name.path(), name.str(), why));
            }
        }
    }
}
