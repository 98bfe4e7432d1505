//! A `docker-registry` of our own, with a certificate if it is to have one, and a proxy before it.

use crate::server::Server;
use rustls::pki_types::CertificateDer;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// The registry's name for those who come through a proxy; nobody else can resolve it.
pub(crate) const PROXIED: &str = "registry.invalid";

/// Runs until dropped.
pub(crate) struct Registry {
    /// Host and port.
    pub(crate) address: String,
    /// Whether it wants credentials.
    pub(crate) locked: bool,
    /// Its certificate, if it speaks TLS.
    pub(crate) root: Option<CertificateDer<'static>>,
    /// Ended with this.
    _server: Server,
}

impl Registry {
    /// Starts one that keeps everything below `dir`.
    pub(crate) fn start(dir: &Path, locked: bool, tls: bool) -> Self {
        fs::create_dir_all(dir).unwrap();
        let root = tls.then(|| certificate(dir));
        let server = Server::start(dir, locked, tls);
        Self { address: server.address.clone(), locked, root, _server: server }
    }
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
