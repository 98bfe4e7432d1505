use super::{Host, Names, ensure};
use crate::authenticate::peer_user;
use meta::Time;
use ring::rand::SystemRandom;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn start() -> Time {
    // rustls checks against the real clock, so the certificates must be good now.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_second(i64::try_from(now.as_secs()).unwrap())
}

fn later(days: i64) -> Time {
    Time::from_second(start().as_second() + days * 86_400)
}

fn names() -> Names {
    Names {
        hostname: "box".into(),
        listen: vec!["0.0.0.0".parse().unwrap(), "192.0.2.7".parse().unwrap()],
        service: vec!["10.43.0.1".parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        extra: vec![],
    }
}

fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    entries
        .map(|e| {
            let mode = e.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", e.path());
            (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap())
        })
        .collect()
}

fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    after.iter().filter(|(k, v)| before.get(*k) != Some(*v)).map(|(k, _)| k.clone()).collect()
}

#[test]
fn makes_everything_once_and_renews_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let pki_dir = dir.path().join("deep/pki");
    let pki = ensure(&pki_dir, &names(), start()).unwrap();
    pki.signing_key(SystemRandom::new()).unwrap();
    pki.node_client("n1", start()).unwrap();
    pki.component("kube-scheduler", start()).unwrap();
    let first = files(&pki_dir);
    assert_eq!(
        first.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "admin.crt",
            "admin.key",
            "apiserver-kubelet-client.crt",
            "apiserver-kubelet-client.key",
            "apiserver.crt",
            "apiserver.key",
            "ca.crt",
            "ca.key",
            "kube-scheduler.crt",
            "kube-scheduler.key",
            "node-n1-client.crt",
            "node-n1-client.key",
            "sa.key",
            "sa.pub",
        ]
    );
    ensure(&pki_dir, &names(), later(300)).unwrap().node_client("n1", later(300)).unwrap();
    assert_eq!(changed(&first, &files(&pki_dir)), Vec::<String>::new());
    let mut wider = names();
    wider.extra.push(Host::Name("api.example.com".into()));
    ensure(&pki_dir, &wider, start()).unwrap();
    assert_eq!(changed(&first, &files(&pki_dir)), ["apiserver.crt", "apiserver.key"]);
    let before = files(&pki_dir);
    ensure(&pki_dir, &wider, later(340)).unwrap();
    let renewed =
        ["admin", "apiserver-kubelet-client", "apiserver"].map(|s| [format!("{s}.crt"), format!("{s}.key")]);
    assert_eq!(changed(&before, &files(&pki_dir)), renewed.concat());
    let before = files(&pki_dir);
    ensure(&pki_dir, &wider, later(3630)).unwrap();
    let after = files(&pki_dir);
    assert_ne!(before["ca.crt"], after["ca.crt"]);
    assert_eq!(before["ca.key"], after["ca.key"], "old client certificates stay good");
    assert_eq!(before["sa.key"], after["sa.key"]);
}

#[test]
fn says_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    ensure(dir.path(), &names(), start()).unwrap();
    std::fs::write(dir.path().join("apiserver.crt"), "junk").unwrap();
    ensure(dir.path(), &names(), start()).unwrap();
    std::fs::write(dir.path().join("ca.crt"), "junk").unwrap();
    let e = ensure(dir.path(), &names(), start()).unwrap_err().to_string();
    assert_eq!(e, "the CA certificate is damaged: remove it, and start again");
    std::fs::remove_file(dir.path().join("ca.crt")).unwrap();
    std::fs::create_dir(dir.path().join("ca.crt")).unwrap();
    let e = ensure(dir.path(), &names(), start()).unwrap_err().to_string();
    assert!(e.starts_with("failed to read ") && e.contains("ca.crt"), "{e}");
}

/// A handshake in memory: what the server sees of the client.
fn shake(
    server: rustls::ServerConfig,
    client: rustls::ClientConfig,
    host: &str,
) -> Result<Option<String>, rustls::Error> {
    let name = host.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    let mut buffer = Vec::new();
    for _ in 0..8 {
        buffer.clear();
        while client.wants_write() {
            client.write_tls(&mut buffer).unwrap();
        }
        let mut bytes = buffer.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets()?;
        }
        buffer.clear();
        while server.wants_write() {
            server.write_tls(&mut buffer).unwrap();
        }
        let mut bytes = buffer.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    client.writer().write_all(b"x").unwrap();
    let _ = server.reader().read(&mut [0; 1]);
    let peer = server.peer_certificates().map(|certs| peer_user(&certs[0]).unwrap().unwrap());
    Ok(peer.map(|u| format!("{} {:?}", u.name, u.groups)))
}

#[test]
fn tls_works_with_and_without_a_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let pki = ensure(dir.path(), &names(), start()).unwrap();
    let server = || super::server_config(&pki.serving, &pki.ca.cert).unwrap();
    let client = |pair| super::client_config(&pki.ca.cert, pair).unwrap();
    for host in [
        "localhost",
        "kubernetes.default.svc.cluster.local",
        "box",
        "127.0.0.1",
        "192.0.2.7",
        "10.43.0.1",
        "::1",
    ] {
        assert_eq!(shake(server(), client(None), host), Ok(None), "{host}");
    }
    let admin = shake(server(), client(Some(&pki.admin)), "localhost");
    assert_eq!(admin.unwrap().unwrap(), r#"kubernetes-admin ["system:masters", "system:authenticated"]"#);
    let node = pki.node_client("n1", start()).unwrap();
    let node = shake(server(), client(Some(&node)), "localhost");
    assert_eq!(node.unwrap().unwrap(), r#"system:node:n1 ["system:nodes", "system:authenticated"]"#);
    shake(server(), client(None), "example.com").unwrap_err();
    let other = tempfile::tempdir().unwrap();
    let stranger = ensure(other.path(), &names(), start()).unwrap();
    shake(server(), client(Some(&stranger.admin)), "localhost").unwrap_err();
    shake(server(), client(Some(&pki.serving)), "localhost").unwrap_err();
}
