//! What pods of one operating system can't have (`pkg/apis/core/validation/validation.go`: `validateOS`,
//! `validateWindows`, `validateLinux`, `validateWindowsSecurityContextOptions`).

use super::at::{At, Faults};
use crate::pod::defaults::CONTAINER_LISTS;
use meta::{FieldError, names};

/// Where a pod of Windows can't have anything: the path, and whether false is nothing.
const NOT_OF_WINDOWS: [(&[&str], bool); 15] = [
    (&["securityContext", "appArmorProfile"], false),
    (&["securityContext", "seLinuxOptions"], false),
    (&["hostUsers"], false),
    (&["hostPID"], true),
    (&["hostIPC"], true),
    (&["securityContext", "seccompProfile"], false),
    (&["securityContext", "fsGroup"], false),
    (&["securityContext", "fsGroupChangePolicy"], false),
    (&["securityContext", "sysctls"], false),
    (&["shareProcessNamespace"], false),
    (&["securityContext", "runAsUser"], false),
    (&["securityContext", "runAsGroup"], false),
    (&["securityContext", "supplementalGroups"], false),
    (&["securityContext", "supplementalGroupsPolicy"], false),
    (&["securityContext", "seLinuxChangePolicy"], false),
];
/// The same below a container's `securityContext`.
const NOT_OF_WINDOWS_CONTAINERS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// `spec.os`, and what doesn't fit it.
pub(super) fn os(spec: &At<'_>, faults: &mut Faults) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    let name = os.get("name");
    if !name.required(faults) {
        return;
    }
    match name.str() {
        "windows" => windows(spec, faults),
        "linux" => linux(spec, faults),
        other => faults.push(FieldError::not_supported(&os.path(), other, &["linux", "windows"])),
    }
}

fn contexts<'a>(spec: &At<'a>) -> impl Iterator<Item = At<'a>> {
    // The order in which upstream visits them.
    let lists = [CONTAINER_LISTS[0], CONTAINER_LISTS[1], CONTAINER_LISTS[2]].map(|list| spec.get(list));
    lists.into_iter().flat_map(|list| list.items().collect::<Vec<_>>()).map(|c| c.get("securityContext"))
}

fn windows(spec: &At<'_>, faults: &mut Faults) {
    for (path, false_is_nothing) in NOT_OF_WINDOWS {
        let at = path.iter().fold(spec.clone(), |at, step| at.get(step));
        if at.is_set() && (at.flag() || !false_is_nothing) && !(at.is_empty() && at.value().is_array()) {
            faults.push(at.forbidden("cannot be set for a windows pod"));
        }
    }
    for context in contexts(spec) {
        for at in NOT_OF_WINDOWS_CONTAINERS.iter().map(|key| context.get(key)).filter(At::is_set) {
            faults.push(at.forbidden("cannot be set for a windows pod"));
        }
    }
}

fn linux(spec: &At<'_>, faults: &mut Faults) {
    let all = std::iter::once(spec.get("securityContext")).chain(contexts(spec));
    for at in all.map(|context| context.get("windowsOptions")).filter(At::is_set) {
        faults.push(at.forbidden("windows options cannot be set for a linux pod"));
    }
}

/// Bytes of a credential spec.
const CREDENTIAL_SPEC_MAX: usize = 64 * 1024;
/// Characters of a user's name.
const USER_MAX: usize = 104;

/// `windowsOptions` of a security context.
pub(super) fn windows_options(options: &At<'_>, faults: &mut Faults) {
    let (name, spec, user) = (
        options.get("gmsaCredentialSpecName"),
        options.get("gmsaCredentialSpec"),
        options.get("runAsUserName"),
    );
    if name.is_set() {
        name.rule(names::dns1123_subdomain, faults);
    }
    if spec.is_set() && spec.is_empty() {
        faults.push(spec.invalid("gmsaCredentialSpec cannot be an empty string"));
    } else if spec.str().len() > CREDENTIAL_SPEC_MAX {
        faults.push(spec.invalid("gmsaCredentialSpec size must be under 64 KiB"));
    }
    if !user.is_set() {
        return;
    }
    let own = user.str().rsplit('\\').next().unwrap_or_default();
    let why = match user.str() {
        "" => "runAsUserName cannot be an empty string",
        text if text.chars().any(char::is_control) => "runAsUserName cannot contain control characters",
        text if text.matches('\\').count() > 1 => "runAsUserName cannot contain more than one backslash",
        _ if own.is_empty() => "runAsUserName's User cannot be empty",
        _ if own.len() > USER_MAX => "runAsUserName's User length must not be longer than 104 characters",
        _ if own.chars().all(|c| matches!(c, '.' | ' ')) => {
            "runAsUserName's User cannot contain only periods or spaces"
        }
        _ if own.contains(['"', '/', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) => {
            r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#
        }
        _ => return,
    };
    faults.push(user.invalid(why));
}
