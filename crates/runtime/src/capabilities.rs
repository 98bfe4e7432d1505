//! Capability names and the sets that containers get.

use crate::spec::Capabilities;

/// Linux capabilities by number, without `CAP_` (capabilities(7)).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What containers have unless told otherwise (containerd's and Docker's default set).
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The bit of a capability, by its name with or without `CAP_`, in any case.
pub(crate) fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == plain).map(|number| 1 << number)
}

/// Every capability that we know.
pub(crate) fn all() -> u64 {
    (1 << NAMES.len()) - 1
}

/// The sets of a container: the defaults, less what is dropped, with what is added; `ALL` first.
pub(crate) fn sets(wanted: Option<&cri::Capability>, privileged: bool) -> Result<Capabilities, String> {
    let mut set =
        if privileged { all() } else { DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |a, b| a | b) };
    let mut ambient = 0;
    if let Some(wanted) = wanted.filter(|_| !privileged) {
        let is_all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
        if is_all(&wanted.add_capabilities) {
            set = all();
        }
        if is_all(&wanted.drop_capabilities) {
            set = 0;
        }
        set |= mask(&wanted.add_capabilities)?;
        // A capability that is both added by name and dropped by name is dropped.
        set &= !mask(&wanted.drop_capabilities)?;
        ambient = mask(&wanted.add_ambient_capabilities)?;
        set |= ambient;
    }
    Ok(Capabilities { bounding: set, effective: set, inheritable: 0, ambient })
}

fn mask(names: &[String]) -> Result<u64, String> {
    let named = names.iter().filter(|name| !name.eq_ignore_ascii_case("ALL"));
    named
        .map(|name| bit(name).ok_or_else(|| format!("unknown capability {name:?}")))
        .try_fold(0, |all, b| Ok(all | b?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str]) -> Result<u64, String> {
        let words = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let wanted = cri::Capability {
            add_capabilities: words(add),
            drop_capabilities: words(drop),
            ..Default::default()
        };
        sets(Some(&wanted), false).map(|sets| sets.effective)
    }

    #[test]
    fn adding_and_dropping() {
        assert_eq!(check(&[], &[]), Ok(0xa804_25fb));
        assert_eq!(check(&["NET_BIND_SERVICE"], &["ALL"]), Ok(1 << 10));
        assert_eq!(check(&["ALL"], &["CAP_SYS_ADMIN"]), Ok(all() & !(1 << 21)));
        assert_eq!(check(&["ALL"], &["ALL"]), Ok(0));
        assert_eq!(check(&["FLY"], &[]), Err("unknown capability \"FLY\"".to_owned()));
    }
}
