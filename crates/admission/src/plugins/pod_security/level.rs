//! The labels of a namespace as a policy (`k8s.io/pod-security-admission/api`).

use meta::{FieldError, FieldPath};
use std::collections::BTreeMap;
use std::fmt;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is allowed; a greater one allows less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// The minor version whose rules hold; `u32::MAX` is `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32);

impl Version {
    pub(super) const LATEST: Self = Self(u32::MAX);
}

/// A level as of a version: `restricted:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub(super) level: Level,
    pub(super) version: Version,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::LATEST => write!(f, "{level}:latest"),
            Version(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: LevelVersion,
    pub(super) audit: LevelVersion,
    pub(super) warn: LevelVersion,
}

fn parse_level(text: &str) -> Result<Level, &'static str> {
    match text {
        "privileged" => Ok(Level::Privileged),
        "baseline" => Ok(Level::Baseline),
        "restricted" => Ok(Level::Restricted),
        _ => Err("must be one of privileged, baseline, restricted"),
    }
}

fn parse_version(text: &str) -> Result<Version, &'static str> {
    let minor = |digits: &str| {
        let plain = !digits.starts_with('0') || digits == "0";
        let digits = Some(digits).filter(|d| plain && d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok().filter(|n| *n != u32::MAX)
    };
    match text {
        "latest" => Ok(Version::LATEST),
        _ => text.strip_prefix("v1.").and_then(minor).map(Version).ok_or("must be \"latest\" or \"v1.x\""),
    }
}

impl Policy {
    /// The policy of a namespace with these labels, and what is wrong with them. Wrong labels enforce the
    /// strictest level, and neither audit nor warn.
    pub(super) fn of(labels: &BTreeMap<String, String>) -> (Self, Vec<FieldError>) {
        let off = LevelVersion { level: Level::Privileged, version: Version::LATEST };
        let mut policy = Self { enforce: off, audit: off, warn: off };
        let mut faults = Vec::new();
        let mut enforced = false;
        for mode in ["enforce", "audit", "warn"] {
            let slot = match mode {
                "enforce" => &mut policy.enforce,
                "audit" => &mut policy.audit,
                _ => &mut policy.warn,
            };
            let mut fault = |label: &str, value: &str, why| {
                let path = FieldPath::new("metadata.labels").key(label);
                faults.push(FieldError::invalid(&path, value, why));
            };
            let label = format!("{PREFIX}{mode}");
            if let Some(value) = labels.get(&label) {
                let parsed = parse_level(value);
                enforced |= mode == "enforce" && parsed.is_ok();
                let failed = if mode == "enforce" { Level::Restricted } else { Level::Privileged };
                slot.level = parsed.unwrap_or_else(|why| {
                    fault(&label, value, why);
                    failed
                });
            }
            let label = format!("{PREFIX}{mode}-version");
            if let Some(value) = labels.get(&label) {
                slot.version = parse_version(value).unwrap_or_else(|why| {
                    fault(&label, value, why);
                    Version::LATEST
                });
            }
        }
        policy.default_warning(labels, enforced);
        (policy, faults)
    }

    /// Whoever enforces is warned of the same on workloads, unless they say otherwise.
    fn default_warning(&mut self, labels: &BTreeMap<String, String>, enforced: bool) {
        let has = |suffix: &str| labels.contains_key(&format!("{PREFIX}{suffix}"));
        if !has("warn") && enforced && self.enforce.level > self.warn.level {
            self.warn.level = self.enforce.level;
            if !has("warn-version") {
                self.warn.version = self.enforce.version;
            }
        }
    }
}
