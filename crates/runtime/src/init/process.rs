//! The last steps of a child: groups of control, identity, capabilities, seccomp, exec.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Gid as FileGid, Mode, Uid as FileUid};
use rustix::process::{Gid, Uid};

use super::user::User;
use super::{Control, Doing, Failure, Never, Stdio};
use crate::limits;
use crate::spec::{Capabilities, ProcessSpec};
use crate::sys;

/// The highest capability that we know (CAP_CHECKPOINT_RESTORE).
const LAST_CAPABILITY: u64 = 40;
/// What files of containers are not made with, unless the program says otherwise.
const UMASK: Mode = Mode::from_raw_mode(0o022);
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Enters every cgroup that the spec names.
pub(crate) fn enter_cgroups(spec: &ProcessSpec) -> Result<(), Failure> {
    for path in &spec.cgroup_procs {
        if path.ends_with("cgroup.procs") && lists_us(path) {
            continue;
        }
        fs::write(path, "0").doing(|| format!("entering cgroup {}", path.display()))?;
    }
    Ok(())
}

/// Whether we were born in that v2 group.
fn lists_us(procs: &Path) -> bool {
    let us = std::process::id().to_string();
    fs::read_to_string(procs).is_ok_and(|listed| listed.lines().any(|pid| pid == us))
}

/// Sets `oom_score_adj`; without CAP_SYS_RESOURCE a lower one than ours is refused, and we carry on.
pub(crate) fn set_oom_score(spec: &ProcessSpec, control: &Control) -> Result<(), Failure> {
    let score = spec.oom_score_adj;
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string()) {
        control.warn(format!("cannot set oom_score_adj to {score}: {error}; the node's own value stays"));
    }
    Ok(())
}

/// Becomes the program.
pub(crate) fn run(spec: &ProcessSpec, user: &mut User, stdio: Stdio) -> Result<Never, Failure> {
    rustix::process::umask(UMASK);
    limits::ordinary_open_files();
    own(&stdio, user);
    for (number, fd) in stdio.iter().enumerate() {
        sys::dup_to(fd, number as i32).doing(|| "setting up standard streams".to_owned())?;
    }
    let cwd = if spec.cwd.is_empty() { "/" } else { spec.cwd.as_str() };
    make_working_directory(cwd)?;
    if !spec.seccomp.is_empty() && !spec.no_new_privileges {
        // Without no_new_privs the kernel wants CAP_SYS_ADMIN for this, which is about to go.
        sys::install_seccomp(&spec.seccomp, 0).doing(|| "installing the seccomp filter".to_owned())?;
    }
    become_user(user, &spec.capabilities)?;
    enter_working_directory(cwd)?;
    if spec.no_new_privileges {
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).doing(|| "setting no_new_privs".to_owned())?;
        if !spec.seccomp.is_empty() {
            sys::install_seccomp(&spec.seccomp, 0).doing(|| "installing the seccomp filter".to_owned())?;
        }
    }
    exec(spec, user)
}

/// Pipes belong to the user, so that /dev/stdout can be opened again by its name. Inherited files stay as they are.
fn own(stdio: &Stdio, user: &User) {
    for fd in stdio {
        let pipe = rustix::fs::fstat(fd)
            .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Fifo);
        if pipe {
            let (uid, gid) = (FileUid::from_raw(user.ids.uid), FileGid::from_raw(user.ids.gid));
            let _ = rustix::fs::fchown(fd.as_fd(), Some(uid), Some(gid));
        }
    }
}

/// A working directory that the image lacks is made, as upstream's runtimes do.
fn make_working_directory(cwd: &str) -> Result<(), Failure> {
    if !cwd.starts_with('/') {
        return Err(Failure(format!("Cwd must be an absolute path, got {cwd:?}")));
    }
    match fs::create_dir_all(cwd) {
        Ok(()) => Ok(()),
        // A read-only root with the directory missing is reported by chdir in clearer words.
        Err(error) if error.raw_os_error() == Some(libc::EROFS) => Ok(()),
        Err(error) if fs::metadata(cwd).is_ok() => {
            Err(error).doing(|| format!("chdir to cwd ({cwd:?}) set in config.json failed"))
        }
        Err(_) => Ok(()),
    }
}

/// Changes directory as the user, and makes sure that it lies below our root (CVE-2024-21626).
fn enter_working_directory(cwd: &str) -> Result<(), Failure> {
    let doing = || format!("chdir to cwd ({cwd:?}) set in config.json failed");
    rustix::process::chdir(cwd).doing(doing)?;
    let real = rustix::process::getcwd(Vec::new()).doing(doing)?;
    if real.as_bytes().first() != Some(&b'/') {
        return Err(Failure(format!("working directory {cwd:?} is outside of the container's root")));
    }
    Ok(())
}

fn become_user(user: &User, capabilities: &Capabilities) -> Result<(), Failure> {
    let doing = || "dropping privileges".to_owned();
    // What the node itself was not given (inside a VM or another container) cannot be passed on.
    let ours = sys::permitted_capabilities().doing(doing)?;
    for capability in (0..=LAST_CAPABILITY).filter(|c| capabilities.bounding & (1 << c) == 0) {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => other.doing(doing)?,
        }
    }
    sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0).doing(doing)?;
    let groups: Vec<_> = user.ids.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).doing(|| "setting supplementary groups".to_owned())?;
    let (uid, gid) = (Uid::from_raw(user.ids.uid), Gid::from_raw(user.ids.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).doing(|| format!("becoming group {}", user.ids.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing(|| format!("becoming user {}", user.ids.uid))?;
    let (effective, ambient) = (capabilities.effective & ours, capabilities.ambient & ours);
    let inheritable = (capabilities.inheritable & ours) | ambient;
    sys::capset(effective, effective, inheritable).doing(|| "setting capabilities".to_owned())?;
    const RAISE: u64 = 2;
    for capability in (0..=LAST_CAPABILITY).filter(|c| ambient & (1 << c) != 0) {
        sys::prctl(libc::PR_CAP_AMBIENT, RAISE, capability)
            .doing(|| "setting ambient capabilities".to_owned())?;
    }
    sys::prctl(libc::PR_SET_KEEPCAPS, 0, 0).doing(doing)
}

fn exec(spec: &ProcessSpec, user: &User) -> Result<Never, Failure> {
    let c_string =
        |text: String| CString::new(text).map_err(|_| Failure("a NUL byte in arguments".to_owned()));
    let mut env = spec.env.clone();
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    let program = find(spec, &env)?;
    let args = spec.args.iter().cloned().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let env = env.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let path = c_string(program.clone())?;
    // Actions are the keeper's, who has them all at their defaults.
    sys::unblock_signals();
    let error = sys::execve(&path, &args, &env);
    Err(Failure(format!("exec {}: {}", program, super::plain(&error))))
}

/// Finds the program as a shell would; the wording is the one that users know from runc.
fn find(spec: &ProcessSpec, env: &[String]) -> Result<String, Failure> {
    let Some(name) = spec.args.first() else {
        return Err(Failure("no command specified".to_owned()));
    };
    if name.contains('/') {
        return match fs::metadata(name) {
            Err(error) => Err(Failure(format!("exec: {name:?}: stat {name}: {}", super::plain(&error)))),
            Ok(m) if m.is_dir() => Err(Failure(format!("exec: {name:?}: is a directory"))),
            Ok(m) if m.mode() & 0o111 == 0 => Err(Failure(format!("exec: {name:?}: permission denied"))),
            Ok(_) => Ok(name.clone()),
        };
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory }))
        .find(|candidate| fs::metadata(candidate).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0))
        .ok_or_else(|| Failure(format!("exec: {name:?}: executable file not found in $PATH")))
}
