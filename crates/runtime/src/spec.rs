//! What the runtime tells a forked child to become. Plain data, handed over as JSON in a memory file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The work of one forked child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum ChildSpec {
    /// Build a container around ourselves and become its process.
    Container(Box<ContainerSpec>),
    /// Enter a running container and become a further process of it. The container's pidfd follows the control socket.
    Exec(Box<ExecSpec>),
    /// Be the init of a pod's shared pid namespace: reap, and live until killed.
    PodInit,
}

/// How a process runs, once its surroundings stand.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ProcessSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory inside the root.
    pub cwd: String,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
    /// Who it runs as.
    pub user: UserSpec,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Whether exec may raise privileges.
    pub no_new_privileges: bool,
    /// The seccomp program as packed instructions; empty for none.
    pub seccomp: Vec<u64>,
    /// `oom_score_adj`; always set, because the keeper's own is not for containers.
    pub oom_score_adj: i32,
    /// The files through which the process enters its control groups.
    pub cgroup_procs: Vec<PathBuf>,
}

/// Who a process runs as; names are looked up in the image's own /etc/passwd and /etc/group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct UserSpec {
    /// `user`, `uid`, `user:group` or `uid:gid`, as images say it; empty for root.
    pub name: String,
    /// `run_as_group`: outweighs the name's group.
    pub gid: Option<u32>,
    /// `supplemental_groups`.
    pub supplemental: Vec<u32>,
    /// Whether groups that the image lists for the user stay out (`SupplementalGroupsPolicy: Strict`).
    pub strict: bool,
}

/// Who the names came out as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Capability sets as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// A container's surroundings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    pub process: ProcessSpec,
    /// Image layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// The writable layer and overlayfs's scratch directory beside it.
    pub upper: PathBuf,
    pub work: PathBuf,
    /// An empty directory to mount the root at, seen by this container's mount namespace only.
    pub mountpoint: PathBuf,
    /// Namespace files to enter.
    pub namespaces: Vec<PathBuf>,
    /// The pod's shared memory; `None` if a mount of the pod takes its place.
    pub shm: Option<PathBuf>,
    /// The image's volumes: directories that are made, and writable also where the root is not.
    pub volumes: Vec<String>,
    pub mounts: Vec<MountSpec>,
    pub devices: Vec<DeviceSpec>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub readonly_root: bool,
    /// All devices, /sys writable.
    pub privileged: bool,
    /// Where this container's groups lie, by the name that they get under /sys/fs/cgroup (`""` for v2's single one).
    pub cgroups: Vec<(String, PathBuf)>,
}

/// One bind mount.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct MountSpec {
    pub source: PathBuf,
    /// An image's layers, topmost first, to be seen instead of `source`, read-only (KEP-4639).
    pub layers: Vec<PathBuf>,
    /// The part of the image that is wanted, from its root.
    pub sub_path: String,
    pub target: String,
    pub readonly: bool,
    pub recursive_readonly: bool,
    pub propagation: Propagation,
}

/// How mounts made later travel between the node and the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// One device node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DeviceSpec {
    pub source: PathBuf,
    pub target: String,
}

/// A further process in a running container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ExecSpec {
    pub process: ProcessSpec,
    /// The namespaces to enter, as clone flags.
    pub namespaces: i32,
}

/// What a child says over its control socket; a closed socket without `Failed` means that the program runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The terminal's other end comes with this message.
    Console,
    User(ResolvedUser),
    /// Nothing is wrong, but something asked for could not be had.
    Warning(String),
    Failed(String),
}
