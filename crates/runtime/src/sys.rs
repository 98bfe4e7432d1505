//! The kernel's calls that no safe crate offers, each wrapped so that its callers need no `unsafe`.
//!
//! Everything else goes through rustix. The functions here say nothing about containers.
#![allow(unsafe_code, reason = "the one place of this crate that speaks to the kernel by hand")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// What a `clone3` gave the caller.
#[derive(Debug)]
pub(crate) enum Forked {
    /// We are the new process.
    Child,
    /// The new process, seen from its parent.
    Parent {
        /// Its process id in our pid namespace.
        pid: i32,
    },
}

/// Forks with namespace flags, into the v2 control group that a descriptor of its directory tells. Only for
/// single-threaded processes, where the child may go on running Rust.
pub(crate) fn fork_with(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    /// `linux/sched.h`; the libc crate's is an `int`, too small to hold it.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        rest: [u64; 5],
        cgroup: u64,
    }
    let mut args = CloneArgs { flags, exit_signal: libc::SIGCHLD as u64, ..Default::default() };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` and the descriptor outlive the call; the size is that of `args`; no CLONE_VM, so the child owns its
    // memory.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent { pid: pid as i32 }),
    }
}

/// Makes a command's process nobody's child and the leader of a session of its own.
pub(crate) fn detach(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec only fork, _exit and setsid are called, all async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => check(libc::setsid()),
            _ => libc::_exit(0),
        });
    }
}

/// Leaves the process at once, running no destructors of the parent's data.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Moves the calling thread (or its future children, for pid namespaces) into namespaces named by `fd`.
pub(crate) fn setns(fd: impl AsFd, kinds: i32) -> io::Result<()> {
    // SAFETY: plain descriptor and flags.
    check(unsafe { libc::setns(fd.as_fd().as_raw_fd(), kinds) })
}

/// Gives the calling thread namespaces of its own.
pub(crate) fn unshare(kinds: i32) -> io::Result<()> {
    // SAFETY: plain flags; CLONE_FILES and CLONE_VM are never among them.
    check(unsafe { libc::unshare(kinds) })
}

/// `mount_setattr(2)` on a mount that `fd` names.
pub(crate) fn mount_setattr(
    fd: impl AsFd,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const AT_RECURSIVE: i32 = 0x8000;
    let attributes = Attributes { set, clear, propagation, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `attributes` has the size that is passed and outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    check(done as i32)
}

/// Closes every descriptor from 3 on: for the start of a process that has opened nothing itself yet.
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: called before anything in this process owns a descriptor other than the standard ones.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) } as i32)
}

/// Marks every descriptor from `first` on as closed by `exec`.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: only changes the close-on-exec flag of descriptors.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    check(done as i32)
}

/// Replaces the process image; returns only the reason why it could not.
pub(crate) fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end in a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `prctl` with up to two plain arguments.
pub(crate) fn prctl(option: i32, first: u64, second: u64) -> io::Result<()> {
    // SAFETY: the options used (capabilities, dumpable, keepcaps, no_new_privs) take integers only.
    check(unsafe { libc::prctl(option, first, second, 0, 0) })
}

/// Sets the calling thread's effective, permitted and inheritable capabilities.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let half = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data: [[u32; 3]; 2] = [half(0), half(32)];
    // SAFETY: header and data have the layout of capability version 3.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) } as i32)
}

/// The calling thread's permitted capabilities.
pub(crate) fn permitted_capabilities() -> io::Result<u64> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header: [u32; 2] = [VERSION_3, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data have the layout of capability version 3.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) } as i32)?;
    Ok(u64::from(data[0][1]) | u64::from(data[1][1]) << 32)
}

/// Installs a seccomp filter for the calling thread; `program` holds the kernel's `sock_filter`s.
pub(crate) fn install_seccomp(program: &[u64], flags: u64) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u64,
    }
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: a `sock_filter` is eight bytes with the layout of our packed words; the kernel copies and checks it.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(done as i32)
}

/// Sends one of the real-time signals, which rustix does not name.
pub(crate) fn kill_real_time(pid: i32, signal: i32) {
    // SAFETY: plain numbers; a pid that is gone is an error that the caller does not need.
    unsafe { libc::kill(pid, signal) };
}

/// Gives every signal its default action: for the keeper, whose children inherit what is ignored.
pub(crate) fn default_signals() {
    const LAST_SIGNAL: i32 = 64;
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: SIG_DFL has no preconditions; failures for KILL and STOP are expected.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Unblocks every signal.
pub(crate) fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Blocks SIGCHLD and returns a descriptor that becomes readable when children end.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use; the new descriptor is ours alone.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Puts a copy of `fd` at the given number, open across exec.
pub(crate) fn dup_to(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: only 0, 1 and 2 are ever targets, which no `OwnedFd` of ours owns.
    check(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) })
}

/// The exit status that the kernel remembers for a process that has ended, where it does (Linux 6.15, `PIDFD_GET_INFO`).
/// It does so from when the process is reaped, and a process whose parent is gone is reaped by who adopted it, in its own
/// time: that is waited for, but not beyond `limit`.
pub(crate) fn pidfd_exit_status(pidfd: impl AsFd, limit: Duration) -> Option<i32> {
    if let Some(status) = remembered_status(&pidfd).ok()? {
        return Some(status);
    }
    let timeout = Timespec::try_from(limit).ok()?;
    // Nothing is asked for but the hang-up, which says that it was reaped.
    let mut polled = [PollFd::new(&pidfd, PollFlags::empty())];
    let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&timeout)));
    remembered_status(&pidfd).ok()?
}

/// The exit status, once the process is reaped. Fails where the kernel will never tell.
fn remembered_status(pidfd: impl AsFd) -> io::Result<Option<i32>> {
    /// Size of the first version of `struct pidfd_info`: its mask stands first, its exit code last.
    const SIZE: usize = 64;
    const WANT_EXIT: u64 = 1 << 3;
    /// `_IOWR(0xFF, 11, struct pidfd_info)`.
    const PIDFD_GET_INFO: libc::c_ulong = 0xC000_FF0B | ((SIZE as libc::c_ulong) << 16);
    let mut info = [0u8; SIZE];
    info[..8].copy_from_slice(&WANT_EXIT.to_ne_bytes());
    // SAFETY: the kernel writes at most the bytes that the request number names, which is the buffer's size.
    check(unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO, info.as_mut_ptr()) })?;
    let (mask, code) = (info.first_chunk().copied(), info.last_chunk().copied());
    let told = mask.is_some_and(|mask| u64::from_ne_bytes(mask) & WANT_EXIT != 0);
    Ok(code.filter(|_| told).map(i32::from_ne_bytes))
}

/// A descriptor whose readiness the asynchronous runtime watches.
pub(crate) fn readiness(
    fd: OwnedFd,
    interest: tokio::io::Interest,
) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, which the `AsyncFd` does after
    // deregistering it.
    unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, interest) }
        .map_err(|error| error.into_parts().1)
}

/// Loads a program that decides about device access in control groups; `code` holds the kernel's `bpf_insn`s.
pub(crate) fn load_device_program(code: &[u64]) -> io::Result<OwnedFd> {
    const PROG_LOAD: i32 = 5;
    const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    /// The head of `union bpf_attr` for BPF_PROG_LOAD.
    #[repr(C)]
    struct Load {
        kind: u32,
        length: u32,
        code: *const u64,
        license: *const libc::c_char,
        log: [u64; 2],
        rest: [u64; 4],
    }
    let (kind, length) = (PROG_TYPE_CGROUP_DEVICE, code.len() as u32);
    let load = Load {
        kind,
        length,
        code: code.as_ptr(),
        license: c"Apache-2.0".as_ptr(),
        log: [0; 2],
        rest: [0; 4],
    };
    // SAFETY: `load` has the union's layout for this command, and what it points at outlives the call; the returned
    // descriptor is ours alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) as i32;
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Attaches such a program to a control group, for as long as the group exists.
pub(crate) fn attach_device_program(group: impl AsFd, program: impl AsFd) -> io::Result<()> {
    const PROG_ATTACH: i32 = 8;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let (group, program) = (group.as_fd().as_raw_fd() as u32, program.as_fd().as_raw_fd() as u32);
    let attach: [u32; 4] = [group, program, CGROUP_DEVICE, ALLOW_MULTI];
    // SAFETY: the four words are the union's layout for this command.
    check(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, attach.as_ptr(), size_of_val(&attach)) } as i32)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    #[test]
    fn an_exit_status_is_waited_for_until_the_process_is_reaped() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().expect("a shell");
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("its descriptor");
        let copy = pidfd.try_clone().expect("another one");
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        rustix::event::poll(&mut ended, None).expect("its end");
        let asked = std::thread::spawn(move || pidfd_exit_status(copy, Duration::from_secs(30)));
        child.wait().expect("reaped");
        // Older kernels tell neither.
        let told = pidfd_exit_status(&pidfd, Duration::ZERO);
        assert_eq!(asked.join().expect("an answer"), told);
        assert!(matches!(told, None | Some(0x700)), "{told:?}");
    }
}
