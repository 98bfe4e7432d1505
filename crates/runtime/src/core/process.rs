//! From CRI's configuration and the image's to how a process runs. Decisions only; nothing here touches the machine.

use cri::{
    ContainerConfig, CriError, LinuxContainerSecurityContext, PodSandboxConfig, SupplementalGroupsPolicy,
};

use super::CallResult;
use crate::capabilities;
use crate::images::ImageConfig;
use crate::seccomp;
use crate::spec::{ProcessSpec, UserSpec};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Signals by name, without `SIG` (signal(7)).
#[rustfmt::skip]
const SIGNALS: [(&str, i32); 34] = [
    ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("IOT", 6), ("BUS", 7), ("FPE", 8),
    ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14), ("TERM", 15), ("STKFLT", 16),
    ("CHLD", 17), ("CLD", 17), ("CONT", 18), ("STOP", 19), ("TSTP", 20), ("TTIN", 21), ("TTOU", 22), ("URG", 23),
    ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27), ("WINCH", 28), ("IO", 29), ("POLL", 29), ("PWR", 30),
    ("SYS", 31),
];
/// The first real-time signal, as C libraries count.
const SIGRTMIN: i32 = 34;

/// A container's security context; empty if there is none.
pub(crate) fn security(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default()
}

/// How the container's process runs, without its cgroups and seccomp program.
pub(crate) fn process(
    config: &ContainerConfig,
    sandbox: &PodSandboxConfig,
    image: &ImageConfig,
) -> CallResult<ProcessSpec> {
    let security = security(config);
    let cwd = [&config.working_dir, &image.working_dir].into_iter().find(|d| !d.is_empty());
    let capabilities =
        capabilities::sets(security.capabilities.as_ref(), security.privileged).map_err(CriError::invalid)?;
    let resources = config.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    Ok(ProcessSpec {
        args: arguments(config, image)?,
        env: environment(config, sandbox, image),
        cwd: cwd.cloned().unwrap_or_else(|| "/".to_owned()),
        tty: config.tty,
        user: user(&security, &image.user)?,
        capabilities,
        no_new_privileges: security.no_new_privs,
        seccomp: Vec::new(),
        oom_score_adj: resources.map_or(0, |r| r.oom_score_adj).clamp(-1000, 1000) as i32,
        cgroup_procs: Vec::new(),
    })
}

/// The program: CRI's command replaces the image's entry point, and its arguments then, too.
fn arguments(config: &ContainerConfig, image: &ImageConfig) -> CallResult<Vec<String>> {
    let (mut command, mut args) = (config.command.clone(), config.args.clone());
    if command.is_empty() {
        if args.is_empty() {
            args.clone_from(&image.cmd);
        }
        command.clone_from(&image.entrypoint);
    }
    command.append(&mut args);
    if command.is_empty() {
        return Err(CriError::invalid("no command specified"));
    }
    Ok(command)
}

/// PATH, the image's variables, HOSTNAME, the pod's; later ones replace earlier ones of the same name.
fn environment(config: &ContainerConfig, sandbox: &PodSandboxConfig, image: &ImageConfig) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    let mut add = |variable: String| {
        let name_length = variable.find('=').unwrap_or(variable.len());
        let same = |other: &String| {
            other.get(..name_length) == variable.get(..name_length)
                && other.as_bytes().get(name_length) == Some(&b'=')
        };
        match env.iter_mut().find(|other| same(other)) {
            Some(old) => *old = variable,
            None => env.push(variable),
        }
    };
    if config.tty {
        add("TERM=xterm".to_owned());
    }
    image.env.iter().filter(|v| v.contains('=')).cloned().for_each(&mut add);
    if !sandbox.hostname.is_empty() {
        add(format!("HOSTNAME={}", sandbox.hostname));
    }
    config.envs.iter().map(|e| format!("{}={}", e.key, e.value)).for_each(&mut add);
    env
}

fn user(security: &LinuxContainerSecurityContext, image_user: &str) -> CallResult<UserSpec> {
    let id = |what: &str, value: i64| {
        u32::try_from(value).map_err(|_| CriError::invalid(format!("invalid {what} {value}")))
    };
    let gid = security.run_as_group.as_ref().map(|gid| id("run_as_group", gid.value)).transpose()?;
    let name = match (&security.run_as_user, security.run_as_username.as_str()) {
        (Some(uid), _) => id("run_as_user", uid.value)?.to_string(),
        (None, "") if gid.is_some() && image_user.is_empty() => String::new(),
        (None, "") => image_user.to_owned(),
        (None, name) => name.to_owned(),
    };
    let supplemental = security.supplemental_groups.iter().map(|gid| id("supplemental group", *gid));
    let strict = security.supplemental_groups_policy() == SupplementalGroupsPolicy::Strict;
    Ok(UserSpec { name, gid, supplemental: supplemental.collect::<Result<_, _>>()?, strict })
}

/// The seccomp program of a container; what cannot be honoured is an error, never no filter (CVE-2023-2431).
pub(crate) fn seccomp_program(config: &ContainerConfig) -> CallResult<Vec<u64>> {
    use cri::security_profile::ProfileType;
    let security = security(config);
    if security.privileged {
        return Ok(Vec::new());
    }
    let bounding =
        capabilities::sets(security.capabilities.as_ref(), false).map_err(CriError::invalid)?.bounding;
    let Some(profile) = &security.seccomp else { return Ok(Vec::new()) };
    match ProfileType::try_from(profile.profile_type) {
        Ok(ProfileType::Unconfined) => Ok(Vec::new()),
        Ok(ProfileType::RuntimeDefault) => seccomp::default_program(bounding).map_err(CriError::internal),
        Ok(ProfileType::Localhost) => {
            seccomp::localhost_program(&profile.localhost_ref, bounding).map_err(CriError::invalid)
        }
        Err(_) => Err(CriError::invalid(format!("unknown seccomp profile type {}", profile.profile_type))),
    }
}

/// The number of a stop signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub(crate) fn signal(name: &str) -> CallResult<i32> {
    if name.is_empty() {
        return Ok(libc::SIGTERM);
    }
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time =
        plain.strip_prefix("RTMIN").map(|rest| rest.strip_prefix('+').unwrap_or("0").parse::<i32>());
    let number = match real_time {
        Some(Ok(above)) => Some(SIGRTMIN + above),
        Some(Err(_)) => None,
        None => plain
            .parse()
            .ok()
            .or_else(|| SIGNALS.iter().find(|(n, _)| *n == plain).map(|(_, number)| *number)),
    };
    number
        .filter(|n| (1..=64).contains(n))
        .ok_or_else(|| CriError::invalid(format!("unknown stop signal {name:?}")))
}

/// The signal that ends a container: the pod's word (KEP-4960), then the image's.
pub(crate) fn stop_signal(config: &ContainerConfig, image: &str) -> CallResult<i32> {
    let wanted = config.stop_signal();
    if wanted == cri::Signal::RuntimeDefault {
        return signal(image);
    }
    // CRI numbers the real-time signals upwards from 35.
    const FIRST_REAL_TIME: i32 = cri::Signal::Sigrtmin as i32;
    match wanted as i32 {
        number @ FIRST_REAL_TIME.. => Ok(number - FIRST_REAL_TIME + SIGRTMIN),
        _ => signal(&format!("{wanted:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn commands_replace_entry_points() {
        let image = ImageConfig { entrypoint: words(&["/e"]), cmd: words(&["c"]), ..Default::default() };
        let check = |command: &[&str], args: &[&str]| {
            let config = ContainerConfig { command: words(command), args: words(args), ..Default::default() };
            arguments(&config, &image).map(|all| all.join(" "))
        };
        assert_eq!(check(&[], &[]), Ok("/e c".to_owned()));
        assert_eq!(check(&[], &["a"]), Ok("/e a".to_owned()));
        assert_eq!(check(&["x"], &[]), Ok("x".to_owned()));
        assert_eq!(check(&["x"], &["a"]), Ok("x a".to_owned()));
    }

    #[test]
    fn later_variables_win() {
        let image = ImageConfig { env: words(&["PATH=/bin", "A=1"]), ..Default::default() };
        let envs = vec![cri::KeyValue { key: "A".into(), value: "2=3".into() }];
        let config = ContainerConfig { envs, ..Default::default() };
        let sandbox = PodSandboxConfig { hostname: "h".into(), ..Default::default() };
        assert_eq!(environment(&config, &sandbox, &image), words(&["PATH=/bin", "A=2=3", "HOSTNAME=h"]));
    }

    #[test]
    fn signals_by_name_and_number() {
        let numbers = ["", "SIGTERM", "QUIT", "9", "SIGRTMIN+3"].map(|name| signal(name).ok());
        assert_eq!(numbers, [Some(15), Some(15), Some(3), Some(9), Some(37)]);
        let wanted =
            |signal: cri::Signal| ContainerConfig { stop_signal: signal.into(), ..Default::default() };
        let check = |signal| stop_signal(&wanted(signal), "SIGINT").ok();
        use cri::Signal::{RuntimeDefault, Sigrtmax, Sigrtminplus3, Sigusr1};
        let numbers = [RuntimeDefault, Sigusr1, Sigrtminplus3, Sigrtmax].map(check);
        assert_eq!(numbers, [Some(2), Some(10), Some(37), Some(64)]);
        assert!(signal("SIGFOO").is_err() && signal("0").is_err());
    }
}
