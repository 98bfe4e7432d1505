//! Profiles as JSON: the OCI runtime spec's form (`linux.seccomp`), with Docker's `includes` and `excludes`.

use serde::Deserialize;

use super::bpf::{
    ALLOW, Action, Argument, ERRNO, Filter, KILL_PROCESS, KILL_THREAD, LOG, Op, Rule, TRACE, TRAP,
};
use super::names::{highest, number};
use crate::capabilities;

/// The kernel's largest errno.
const ERRNO_LIMIT: u32 = 4095;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Syscalls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscalls {
    #[serde(default)]
    names: Vec<String>,
    /// The older form, of one name.
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Arg>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// The filter that a profile describes, for a container whose bounding set holds `bounding`.
pub(super) fn filter(text: &str, bounding: u64) -> Result<Filter, String> {
    let profile: Profile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut rules = Vec::new();
    for group in profile.syscalls.iter().filter(|group| group.applies(bounding)) {
        let action = action(&group.action, group.errno_ret)?;
        let arguments = group.args.iter().flatten().map(argument).collect::<Result<Vec<_>, _>>()?;
        for name in group.names.iter().chain(&group.name) {
            // Names of other architectures are no error; runc ignores them too.
            let Some(number) = number(name) else { continue };
            rules.push(Rule { number, action, arguments: arguments.clone() });
        }
    }
    Ok(Filter {
        default: action(&profile.default_action, profile.default_errno_ret)?,
        highest: highest(),
        rules,
    })
}

impl Syscalls {
    fn applies(&self, bounding: u64) -> bool {
        let has = |name: &String| capabilities::bit(name).is_some_and(|bit| bounding & bit != 0);
        let here = |arch: &String| arch == if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let included = self.includes.caps.iter().all(has)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(here));
        included && !self.excludes.caps.iter().any(has) && !self.excludes.arches.iter().any(here)
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<Action, String> {
    let code = errno.unwrap_or(libc::EPERM as u32);
    if code > ERRNO_LIMIT {
        return Err(format!("errnoRet {code} is larger than {ERRNO_LIMIT}"));
    }
    Ok(match name {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_ERRNO" => ERRNO | code,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_TRACE" => TRACE | errno.unwrap_or(0),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        other => return Err(format!("action {other:?} is not supported")),
    })
}

fn argument(arg: &Arg) -> Result<Argument, String> {
    if arg.index > 5 {
        return Err(format!("argument index {} is larger than 5", arg.index));
    }
    let plain = |op| Ok(Argument { index: arg.index, op, value: arg.value });
    match arg.op.as_str() {
        "SCMP_CMP_EQ" => plain(Op::Equal),
        "SCMP_CMP_NE" => plain(Op::NotEqual),
        "SCMP_CMP_LT" => plain(Op::Less),
        "SCMP_CMP_LE" => plain(Op::LessOrEqual),
        "SCMP_CMP_GT" => plain(Op::Greater),
        "SCMP_CMP_GE" => plain(Op::GreaterOrEqual),
        "SCMP_CMP_MASKED_EQ" => {
            Ok(Argument { index: arg.index, op: Op::Masked(arg.value), value: arg.value_two })
        }
        other => Err(format!("comparison {other:?} is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_fail_closed() {
        let errors = [
            "",
            "{}",
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"no"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":9,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        ];
        assert!(errors.iter().all(|text| filter(text, 0).is_err()));
    }

    #[test]
    fn capabilities_choose_rules() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[
            {"names":["mount","no_such_call"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"name":"read","action":"SCMP_ACT_LOG","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
        let count = |bounding| filter(text, bounding).map(|f| (f.default, f.rules.len(), f.rules[0].action));
        assert_eq!(count(1 << 21), Ok((ERRNO | 38, 1, ALLOW)));
        assert_eq!(count(0), Ok((ERRNO | 38, 1, LOG)));
    }
}
