//! The default filter: what containers may call (the set that Docker and containerd share), the rest answered EPERM.

use super::bpf::{ALLOW, Argument, ERRNO, Filter, Op, Rule};
use super::names::{highest, number};
use crate::capabilities;

/// Allowed to everybody.
const ALLOWED: &str = "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod \
    chown clock_adjtime clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup \
    dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve \
    execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 \
    fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync \
    ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 \
    getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom \
    getresgid getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid \
    gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel \
    ioctl io_destroy io_getevents io_pgetevents ioprio_get ioprio_set io_setup io_submit kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr \
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create \
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect mq_getsetattr \
    mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock \
    munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal \
    pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease \
    process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat \
    readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 \
    restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
    rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max \
    sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam \
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto \
    setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit \
    set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setxattr setxattrat shmat shmctl shmdt \
    shmget shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs statmount statx symlink symlinkat \
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat \
    utime utimensat utimes vfork vmsplice wait4 waitid write writev";

/// Allowed to whoever has the capability that they need.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
         open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday clock_settime"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// `personality` may only ask for Linux as it is, with or without the uname26 and no-randomisation bits, or query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// `clone` flags that make namespaces.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;

/// The filter for a container whose bounding set holds `bounding`.
pub(super) fn filter(bounding: u64) -> Filter {
    let mut rules = Vec::new();
    let mut add = |name: &str, action, arguments: Vec<Argument>| {
        rules.extend(number(name).map(|number| Rule { number, action, arguments }));
    };
    ALLOWED.split(' ').for_each(|name| add(name, ALLOW, vec![]));
    for value in PERSONALITIES {
        add("personality", ALLOW, vec![Argument { index: 0, op: Op::Equal, value }]);
    }
    add("socket", ALLOW, vec![Argument { index: 0, op: Op::NotEqual, value: AF_VSOCK }]);
    let has = |name: &str| capabilities::bit(name).is_some_and(|bit| bounding & bit != 0);
    if !has("SYS_ADMIN") {
        add("clone", ALLOW, vec![Argument { index: 0, op: Op::Masked(NAMESPACE_FLAGS), value: 0 }]);
        // Its flags lie in memory where no filter sees them; C libraries fall back to clone on ENOSYS.
        add("clone3", ERRNO | libc::ENOSYS as u32, vec![]);
    }
    for (_, names) in BY_CAPABILITY.iter().filter(|(capability, _)| has(capability)) {
        names.split(' ').for_each(|name| add(name, ALLOW, vec![]));
    }
    Filter { default: ERRNO | libc::EPERM as u32, highest: highest(), rules }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_on_this_architecture() {
        let names = ALLOWED.split(' ').chain(BY_CAPABILITY.iter().flat_map(|(_, names)| names.split(' ')));
        let unknown: Vec<_> = names.filter(|name| number(name).is_none()).collect();
        assert!(cfg!(not(target_arch = "x86_64")) || unknown.is_empty(), "{unknown:?}");
        assert!(BY_CAPABILITY.iter().all(|(capability, _)| capabilities::bit(capability).is_some()));
    }

    #[test]
    fn the_program_fits() {
        let length = filter(0).program().map(|program| program.len());
        assert!(length.clone().is_ok_and(|l| l < 2000), "{length:?}");
    }
}
