//! A node on a machine of its own, that joined a cluster of the test.

use crate::cluster::Cluster;
use crate::machines::Machines;
use crate::program::{Output, Program};
use crate::wait::within;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// `ironclad agent`; gone with everything of it when dropped.
pub struct Node {
    dir: tempfile::TempDir,
    ironclad: Program,
    agent: Option<Child>,
}

impl Node {
    /// A node to be, on machine `n`.
    pub fn new(machines: &Machines, n: usize) -> Self {
        let dir = tempfile::Builder::new().prefix("ironclad-e2e-").tempdir().expect("a temporary directory");
        Self { dir, ironclad: Program::from_env("IRONCLAD_BIN").on(machines, n), agent: None }
    }

    /// The binary, with this node's data directory behind the arguments.
    pub fn ironclad(&self, args: &[&str]) -> Output {
        let data = self.data_dir().to_string_lossy().into_owned();
        self.ironclad.run(&[args, &["--data-dir", &data]].concat())
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts `ironclad agent` with these flags, and waits for its line.
    #[track_caller]
    pub fn start(&mut self, flags: &[&str]) {
        let data = self.data_dir().to_string_lossy().into_owned();
        let open = |name: &str| File::create(self.dir.path().join(name)).expect("a log file");
        let mut command = self.ironclad.command(&[&["agent", "--data-dir", &data], flags].concat());
        command.stdin(Stdio::null()).stdout(open("agent.out")).stderr(open("agent.err"));
        self.agent = Some(command.spawn().expect("starting ironclad"));
        within(Duration::from_secs(60), "ironclad agent", || {
            if let Some(status) = self.agent.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                panic!("ironclad agent ended with {status}\n{}", self.log());
            }
            if self.log().lines().any(|l| l.starts_with("ready in ")) { Ok(()) } else { Err(self.log()) }
        });
    }

    /// What the agent printed.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        format!("{}{}", read("agent.out"), read("agent.err"))
    }

    fn signal(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.agent.take() else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
        let _ = child.wait();
    }

    /// Stops the agent as a service manager does.
    pub fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Kills the agent as a power cut does.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Imports the image with a shell.
    #[track_caller]
    pub fn import_busybox(&self, cluster: &Cluster) {
        let archive = cluster.scratch().join("busybox.tar");
        crate::busybox_archive(&archive);
        self.ironclad(&["image", "import", &archive.to_string_lossy()]).ok();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the agent printed\n{}", self.log());
        }
        self.stop();
        if self.data_dir().exists() {
            let down = self.ironclad(&["down", "--purge"]);
            if down.code != 0 {
                eprintln!("{} exited with {}: {}{}", down.line, down.code, down.out, down.err);
            }
        }
    }
}
