//! A `docker-registry` of our own, on a free port of this machine.

use rustls::pki_types::CertificateDer;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Who may pull from a locked registry.
pub(crate) const USER: &str = "alice";
/// Her password; [`HTPASSWD`] holds its hash.
pub(crate) const PASSWORD: &str = "correct horse";
const HTPASSWD: &str = "alice:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";
/// The registry's name for those who come through a proxy; nobody else can resolve it.
pub(crate) const PROXIED: &str = "registry.invalid";
/// How long a registry may take to listen.
const START: Duration = Duration::from_secs(30);
/// How often a port is tried that somebody else might take first.
const TRIES: usize = 5;

/// Runs until dropped.
pub(crate) struct Registry {
    /// Host and port.
    pub(crate) address: String,
    /// Whether it wants credentials.
    pub(crate) locked: bool,
    /// Its certificate, if it speaks TLS.
    pub(crate) root: Option<CertificateDer<'static>>,
    process: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts one that keeps everything below `dir`.
    pub(crate) fn start(dir: &Path, locked: bool, tls: bool) -> Self {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let mut extra = String::new();
        if locked {
            extra += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}/htpasswd\n", dir.display());
        }
        let root = tls.then(|| certificate(dir));
        for _ in 0..TRIES {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let mut http = format!("http:\n  addr: {address}\n");
            if tls {
                let at = dir.display();
                http += &format!("  tls:\n    certificate: {at}/cert.pem\n    key: {at}/key.pem\n");
            }
            let at = dir.join("data");
            let config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n{http}{extra}",
                at.display()
            );
            fs::write(dir.join("config.yml"), config).unwrap();
            if let Some(process) = run(dir, &address) {
                return Self { address, locked, root, process };
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

fn certificate(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), PROXIED.to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// Takes connections for `address` to whatever name is asked for, as proxies do; gives its own address.
pub(crate) fn proxy(address: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten().take(PROXIED_CONNECTIONS) {
            let address = address.clone();
            std::thread::spawn(move || tunnel(client, &address));
        }
    });
    own
}

/// How many connections a test's proxy takes before it ends.
const PROXIED_CONNECTIONS: usize = 64;

fn tunnel(mut client: TcpStream, address: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.starts_with(&format!("CONNECT {PROXIED}:443 ")) || !head.contains("Basic bWU6c2VjcmV0") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (TcpStream::connect(address)?, client.try_clone()?);
    let mut up = from.try_clone()?;
    let upward = std::thread::spawn(move || std::io::copy(&mut client, &mut up));
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(std::net::Shutdown::Both)?;
    let _ = upward.join();
    Ok(())
}
