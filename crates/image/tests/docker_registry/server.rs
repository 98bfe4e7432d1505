//! The process: on a free port of this machine, ended when dropped. The end-to-end tests use this file too.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Who may pull from a locked registry.
pub(crate) const USER: &str = "alice";
/// Her password; [`HTPASSWD`] holds its hash.
pub(crate) const PASSWORD: &str = "correct horse";
const HTPASSWD: &str = "alice:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";
/// How long a registry may take to listen.
const START: Duration = Duration::from_secs(30);
/// How often a port is tried that somebody else might take first.
const TRIES: usize = 5;

/// Runs until dropped.
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts one that keeps everything below `dir`. A locked one wants credentials; for TLS, `cert.pem` and `key.pem`
    /// must be there.
    pub(crate) fn start(dir: &Path, locked: bool, tls: bool) -> Self {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let at = dir.display();
        let storage = format!("storage:\n  filesystem:\n    rootdirectory: {at}/data\n");
        let mut extra = String::new();
        if tls {
            extra += &format!("  tls:\n    certificate: {at}/cert.pem\n    key: {at}/key.pem\n");
        }
        if locked {
            extra += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {at}/htpasswd\n");
        }
        for _ in 0..TRIES {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let head = format!("version: 0.1\nlog:\n  level: error\n{storage}http:\n  addr: {address}\n");
            fs::write(dir.join("config.yml"), head + &extra).unwrap();
            if let Some(process) = run(dir, &address) {
                return Self { address, process };
            }
        }
        panic!("docker-registry did not start: {}", fs::read_to_string(dir.join("log")).unwrap_or_default());
    }
}

fn run(dir: &Path, address: &str) -> Option<Child> {
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("docker-registry is missing; `cargo xtask setup` installs it");
    let until = Instant::now() + START;
    while Instant::now() < until && process.try_wait().unwrap().is_none() {
        if let Ok(mut greeting) = TcpStream::connect(address) {
            // Listening is enough; what it says is the tests' business.
            let _ = greeting.set_read_timeout(Some(Duration::from_millis(1)));
            let _ = greeting.read(&mut [0]);
            return Some(process);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}
