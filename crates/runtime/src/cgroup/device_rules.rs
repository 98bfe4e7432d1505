//! Which devices a container may use: everything may be made (mknod), little may be opened.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Group, device_filter};
use crate::sys;

/// One allowance, as the v1 devices controller writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `b`, `c` or `a`.
    pub kind: char,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Out of `rwm`.
    pub access: String,
}

/// The allow-list of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRules(pub(super) Vec<Rule>);

/// What every container may use (OCI runtime spec "Default Devices", and terminals): major, minor.
const DEFAULTS: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

impl DeviceRules {
    /// All devices: privileged containers.
    pub(crate) fn everything() -> Self {
        Self(vec![Rule { kind: 'a', major: None, minor: None, access: "rwm".to_owned() }])
    }

    /// The defaults.
    pub(crate) fn restricted() -> Self {
        let make = |kind| Rule { kind, major: None, minor: None, access: "m".to_owned() };
        let open = DEFAULTS.map(|(major, minor)| Rule {
            kind: 'c',
            major: Some(major),
            minor,
            access: "rwm".to_owned(),
        });
        Self([make('c'), make('b')].into_iter().chain(open).collect())
    }

    /// Adds a device of the node with the permissions that the pod was given.
    pub(crate) fn allow(&mut self, path: &Path, permissions: &str) -> io::Result<()> {
        let status = fs::metadata(path)?;
        let kind = match status.file_type() {
            kind if kind.is_char_device() => 'c',
            kind if kind.is_block_device() => 'b',
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{} is no device", path.display()),
                ));
            }
        };
        let (major, minor) = (rustix::fs::major(status.rdev()), rustix::fs::minor(status.rdev()));
        let access = permissions.chars().filter(|c| "rwm".contains(*c)).collect();
        self.0.push(Rule { kind, major: Some(major), minor: Some(minor), access });
        Ok(())
    }

    /// Whether nothing is forbidden.
    pub(crate) fn unrestricted(&self) -> bool {
        self.0.iter().any(|rule| rule.kind == 'a')
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}

impl Group {
    /// Puts the rules in force.
    pub(crate) fn restrict_devices(&self, rules: &DeviceRules) -> io::Result<()> {
        if rules.unrestricted() {
            return Ok(());
        }
        let Some(directory) = self.directory("devices") else { return Ok(()) };
        if self.unified() {
            let program = sys::load_device_program(&device_filter::program(&rules.0))?;
            return sys::attach_device_program(fs::File::open(directory)?, program);
        }
        fs::write(directory.join("devices.deny"), "a")?;
        rules.0.iter().try_for_each(|rule| fs::write(directory.join("devices.allow"), rule.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_the_kernel_writes_them() {
        let text: Vec<_> = DeviceRules::restricted().0.iter().map(ToString::to_string).collect();
        assert_eq!(text[..4], ["c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm"]);
        assert_eq!(text[10], "c 136:* rwm");
    }
}
