//! A cluster for one test.

use crate::background::Background;
use crate::program::{Output, Program};
use crate::wait::{eventually, within};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Ports for API servers of tests: neither node ports nor those that the kernel gives to outgoing connections.
const PORTS: std::ops::Range<usize> = 20_000..30_000;

/// An address with a port that is free, and that no other test is likely to choose: found from the random name of the
/// test's directory.
fn free_port(dir: &Path) -> String {
    let name = dir.as_os_str().as_encoded_bytes();
    let seed = name.iter().fold(0_usize, |h, b| h.wrapping_mul(31).wrapping_add(usize::from(*b)));
    let candidates = (0..PORTS.len()).map(|n| PORTS.start + (seed + n) % PORTS.len());
    let mut free = candidates.map(|port| format!("127.0.0.1:{port}"));
    free.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}

/// How a cluster is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Without a node; needs no root.
    pub no_node: bool,
    /// More flags for `up`.
    pub flags: Vec<String>,
    /// The network namespace of the machine that it runs on; none is the test's own.
    pub namespace: Option<String>,
}

impl Options {
    /// On the first of two machines, where the other reaches it.
    pub fn first_of(machines: &crate::Machines) -> Self {
        let listen = format!("{}:6443", crate::Machines::address(0));
        let flags = vec!["--listen".to_owned(), listen];
        Self { flags, namespace: Some(machines.namespace(0)), ..Self::default() }
    }
}

/// A running cluster; gone with everything of it when dropped.
pub struct Cluster {
    dir: tempfile::TempDir,
    options: Options,
    /// Kept while the server is down: a cluster that another test starts meanwhile must not take it.
    listen: String,
    ironclad: Program,
    server: Option<Child>,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let mut cluster = Self::unstarted(options);
        cluster.up();
        cluster
    }

    /// A cluster that [`Cluster::up`] will start: for tests of what stands in its way.
    #[track_caller]
    pub fn unstarted(options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("ironclad-e2e-").tempdir().expect("a temporary directory");
        let listen = free_port(dir.path());
        let ironclad = Program::from_env("IRONCLAD_BIN").in_namespace(options.namespace.clone());
        Self { dir, options, listen, ironclad, server: None }
    }

    /// A cluster with a node.
    #[track_caller]
    pub fn with_node() -> Self {
        Self::start(Options::default())
    }

    /// A control plane alone.
    #[track_caller]
    pub fn control_plane() -> Self {
        Self::start(Options { no_node: true, ..Options::default() })
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the test's own, and gives its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("writing into the temporary directory");
        path.to_string_lossy().into_owned()
    }

    /// Starts `ironclad up` and waits for its line.
    #[track_caller]
    pub fn up(&mut self) {
        let data = self.data_dir().to_string_lossy().into_owned();
        let mut args = vec!["up", "--data-dir", &data];
        if self.options.no_node {
            args.push("--no-node");
        }
        if !self.options.flags.iter().any(|f| f == "--listen") {
            args.extend(["--listen", &self.listen]);
        }
        args.extend(self.options.flags.iter().map(String::as_str));
        let open = |name: &str| File::create(self.dir.path().join(name)).expect("a log file");
        let mut command = self.ironclad.command(&args);
        command.stdin(Stdio::null()).stdout(open("up.out")).stderr(open("up.err"));
        self.server = Some(command.spawn().expect("starting ironclad"));
        within(Duration::from_secs(60), "ironclad up", || {
            if let Some(status) = self.server.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                panic!("ironclad up ended with {status}\n{}", self.log());
            }
            let out = std::fs::read_to_string(self.dir.path().join("up.out")).unwrap_or_default();
            if out.lines().any(|l| l.starts_with("ready in ")) { Ok(()) } else { Err(self.log()) }
        });
    }

    /// What the server printed.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        format!("{}{}", read("up.out"), read("up.err"))
    }

    /// The server's process id.
    pub fn pid(&self) -> i32 {
        self.server.as_ref().and_then(|c| i32::try_from(c.id()).ok()).expect("a running server")
    }

    fn signal(&mut self, signal: rustix::process::Signal) -> Option<i32> {
        let mut child = self.server.take()?;
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
        child.wait().ok().and_then(|s| s.code())
    }

    /// Stops the server as a service manager does; gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM)
    }

    /// Stops the server as Ctrl-C does on its terminal; gives its exit code.
    pub fn interrupt(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::INT)
    }

    /// Kills the server as a power cut does.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// kubectl for this cluster.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_program().run(args)
    }

    /// kubectl with a command line: words at spaces, what stands in single quotes is one word.
    pub fn run(&self, line: &str) -> Output {
        let words = words(line);
        self.kubectl(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs command lines of kubectl, which must succeed and print what stands beside them.
    #[track_caller]
    pub fn says(&self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let out = self.run(line).ok();
            assert!(out.contains(expected), "kubectl {line} does not say {expected:?}:\n{out}");
        }
    }

    /// Runs command lines of kubectl, which must fail with what stands beside them.
    #[track_caller]
    pub fn refuses(&self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let err = self.run(line).fails();
            assert!(err.contains(expected), "kubectl {line} does not complain of {expected:?}:\n{err}");
        }
    }

    /// kubectl in the background until the value is dropped.
    pub fn background(&self, line: &str) -> Background {
        let words = words(line);
        Background::start(
            &self.kubectl_program(),
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
            self.scratch(),
        )
    }

    /// kubectl on a terminal of 33 rows and 101 columns, and what it wrote there.
    pub fn on_terminal(&self, line: &str, typed: &str) -> Output {
        let kubectl = std::env::var("KUBECTL_BIN").unwrap_or_default();
        let shell = format!("stty rows 33 cols 101; {kubectl} {line}");
        self.given(Program::named("script")).run_with(&["-qec", &shell, "/dev/null"], typed)
    }

    /// kubectl with a manifest (or anything else) to read.
    pub fn kubectl_with(&self, args: &[&str], stdin: &str) -> Output {
        self.kubectl_program().run_with(args, stdin)
    }

    /// kubectl, for those who keep it running.
    pub fn kubectl_program(&self) -> Program {
        self.client("KUBECTL_BIN")
    }

    /// Helm for this cluster.
    pub fn helm(&self, args: &[&str]) -> Output {
        self.client("HELM_BIN").run(args)
    }

    /// Python with the packages that stand in `PYTHON_CLIENTS`, for this cluster.
    pub fn python(&self) -> Program {
        let packages = std::env::var_os("PYTHON_CLIENTS");
        let packages = packages.expect("PYTHON_CLIENTS is not set: run these tests with `cargo xtask e2e`");
        self.given(Program::named("python3")).env("PYTHONPATH", packages).env("PYTHONUNBUFFERED", "1")
    }

    fn client(&self, variable: &str) -> Program {
        self.given(Program::from_env(variable)).in_namespace(self.options.namespace.clone())
    }

    fn given(&self, program: Program) -> Program {
        let kubeconfig = self.data_dir().join("kubeconfig");
        // A home of its own: clients cache what they discover there.
        program.env("KUBECONFIG", kubeconfig).env("HOME", self.dir.path())
    }

    /// The binary, with this cluster's data directory behind the arguments.
    pub fn ironclad(&self, args: &[&str]) -> Output {
        let data = self.data_dir().to_string_lossy().into_owned();
        self.ironclad.run(&[args, &["--data-dir", &data]].concat())
    }

    /// Imports the image with a shell.
    #[track_caller]
    pub fn import_busybox(&self) {
        let archive = self.dir.path().join("busybox.tar");
        crate::busybox_archive(&archive);
        self.ironclad(&["image", "import", &archive.to_string_lossy()]).ok();
    }

    /// Waits until a pod's phase is this one.
    #[track_caller]
    pub fn wait_phase(&self, pod: &str, phase: &str) {
        eventually(&format!("pod {pod} {phase}"), || {
            let got = self.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.phase}"]).out;
            if got == phase { Ok(()) } else { Err(self.kubectl(&["describe", "pod", pod]).out) }
        });
    }

    /// Applies a manifest; fails the test when that fails.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with(&["apply", "-f", "-"], manifest).ok()
    }
}

/// The words of a command line.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the server printed\n{}", self.log());
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
