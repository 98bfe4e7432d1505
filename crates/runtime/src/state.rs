//! What the runtime remembers on disk: one small JSON file for each sandbox and container.
//!
//! A record is replaced as a whole by rename. It is not synced: it describes processes of this boot, which a lost page
//! cache takes along; records of another boot are told by the boot id and count as ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cri::{ContainerConfig, LinuxContainerResources, PodSandboxConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::spec::{ProcessSpec, ResolvedUser};

/// A pod sandbox.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SandboxRecord {
    pub id: String,
    pub config: PodSandboxConfig,
    pub runtime_handler: String,
    pub created_at: i64,
    pub ready: bool,
    /// The pod's address; none for pods on the node's network.
    pub address: Option<std::net::Ipv4Addr>,
    /// Our end of the pod's pair of interfaces.
    pub veth: Option<String>,
    pub boot: String,
}

/// How far a container has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    #[default]
    Created,
    Running,
    Exited,
}

/// A container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerRecord {
    pub id: String,
    pub sandbox: String,
    pub config: ContainerConfig,
    /// What is reported as `image_ref`, and the image's id.
    pub image_reference: String,
    pub image_id: String,
    /// How its processes run; exec starts from this too. Without the seccomp program, which follows from `config`.
    pub process: ProcessSpec,
    pub layers: Vec<PathBuf>,
    pub stop_signal: i32,
    /// The image's volumes.
    pub volumes: Vec<String>,
    pub resources: LinuxContainerResources,
    pub log_path: Option<PathBuf>,
    pub cgroup: String,
    pub phase: Phase,
    pub pid: i32,
    /// The process's start in clock ticks since boot: with `pid`, an identity that is not used twice.
    pub start_ticks: u64,
    pub user: Option<ResolvedUser>,
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub boot: String,
}

/// The directories of the state and of the writable layers.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub state: PathBuf,
    pub root: PathBuf,
}

impl Places {
    /// Everything of one sandbox: record, resolv.conf, namespaces.
    pub(crate) fn sandbox(&self, id: &str) -> PathBuf {
        self.state.join("sandboxes").join(id)
    }

    /// A namespace of a sandbox: `net`, `ipc`, `uts` or `pid`.
    pub(crate) fn namespace(&self, sandbox: &str, kind: &str) -> PathBuf {
        self.mounts(sandbox).join("ns").join(kind)
    }

    /// The one mount that holds all mounts of a sandbox, so that they go in one step.
    pub(crate) fn mounts(&self, sandbox: &str) -> PathBuf {
        self.sandbox(sandbox).join("mounts")
    }

    /// A sandbox's shared memory.
    pub(crate) fn shm(&self, sandbox: &str) -> PathBuf {
        self.mounts(sandbox).join("shm")
    }

    /// Everything of one container but its files.
    pub(crate) fn container(&self, id: &str) -> PathBuf {
        self.state.join("containers").join(id)
    }

    /// Where the keeper writes how a container ended.
    pub(crate) fn exit_file(&self, id: &str) -> PathBuf {
        self.container(id).join("exit")
    }

    /// A container's writable layer and overlay scratch directory.
    pub(crate) fn layer(&self, id: &str) -> PathBuf {
        self.root.join("layers").join(id)
    }

    /// Writable layers of removed containers, on their way out.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// The empty directory that every container mounts its root at, each in a mount namespace of its own.
    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.state.join("rootfs")
    }

    /// Makes the directories that everything else lies in.
    pub(crate) fn create(&self) -> io::Result<()> {
        let needed = [
            self.state.join("sandboxes"),
            self.state.join("containers"),
            self.mountpoint(),
            self.root.join("layers"),
        ];
        needed.iter().try_for_each(fs::create_dir_all)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&self.state, private)?;
        // Not 0700: processes of containers walk to their files through here.
        fs::set_permissions(&self.root, std::os::unix::fs::PermissionsExt::from_mode(0o711))
    }
}

/// Replaces the record in `directory`.
pub(crate) fn save<T: Serialize>(directory: &Path, record: &T) -> io::Result<()> {
    let (partial, whole) = (directory.join("record.partial"), directory.join("record.json"));
    fs::write(&partial, serde_json::to_vec(record)?)?;
    fs::rename(partial, whole)
}

/// All records below `directory`; what cannot be read is given by name, with the reason.
pub(crate) fn load_all<T: DeserializeOwned>(directory: &Path) -> (Vec<T>, Vec<(String, String)>) {
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let read = fs::read(entry.path().join("record.json")).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())) {
            Ok(record) => whole.push(record),
            Err(error) => broken.push((entry.file_name().to_string_lossy().into_owned(), error)),
        }
    }
    (whole, broken)
}

/// What tells this boot of the machine from others.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process started, in clock ticks since boot (`/proc/<pid>/stat`, field 22).
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}
