//! The kubelet API over real HTTPS: who may ask, logs, and an upgrade tied to the runtime's streaming server.

#[allow(unreachable_pub, missing_docs, dead_code, reason = "shared by tests only")]
mod support;

use client::Client;
use cri::*;
use kubelet::fake::FakeRuntime;
use kubelet::{Config, ServerTls, run};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Door, FakeApi};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

const POD: &str = "/api/v1/namespaces/n/pods/web";

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut p = CertificateParams::default();
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.distinguished_name.push(DnType::CommonName, "test-ca");
        Self { issuer: CertifiedIssuer::self_signed(p, KeyPair::generate().unwrap()).unwrap() }
    }

    fn issue(&self, name: &str, group: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut p = CertificateParams::default();
        p.distinguished_name.push(DnType::CommonName, name);
        if !group.is_empty() {
            p.distinguished_name.push(DnType::OrganizationName, group);
        }
        p.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        p.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        (p.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A runtime whose streams are served elsewhere.
struct Streaming {
    inner: Arc<FakeRuntime>,
    url: String,
}

macro_rules! hand_on {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        impl ContainerRuntime for Streaming {
            $(fn $method(&self, r: $request) -> CallFuture<'_, $response> { self.inner.$method(r) })*
            fn exec(&self, _: ExecRequest) -> CallFuture<'_, ExecResponse> {
                let url = self.url.clone();
                Box::pin(async move { Ok(ExecResponse { url }) })
            }
            fn get_container_events(&self, r: GetEventsRequest) -> CallFuture<'_, EventStream> {
                self.inner.get_container_events(r)
            }
        }
    };
}
hand_on! {
    version(VersionRequest) -> VersionResponse;
    status(StatusRequest) -> StatusResponse;
    run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
    pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
    create_container(CreateContainerRequest) -> CreateContainerResponse;
    start_container(StartContainerRequest) -> StartContainerResponse;
    list_containers(ListContainersRequest) -> ListContainersResponse;
    container_status(ContainerStatusRequest) -> ContainerStatusResponse;
    image_status(ImageStatusRequest) -> ImageStatusResponse;
    list_images(ListImagesRequest) -> ListImagesResponse;
    list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
}

struct Node {
    api: Arc<FakeApi>,
    port: u16,
    ca: Authority,
    dir: tempfile::TempDir,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn until<T>(what: &str, check: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(t) = check() {
            return t;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Node {
    async fn start(stream_url: &str) -> Self {
        let (ca, dir, api) = (Authority::new(), tempfile::tempdir().unwrap(), Arc::new(FakeApi::default()));
        let inner = FakeRuntime::new(|| i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap());
        inner.add_image("img:1");
        let (cert_pem, key_pem) = ca.issue("system:node:node1", "system:nodes");
        let mut config = Config::new("node1", dir.path().to_owned());
        config.port = 0;
        config.tls = Some(ServerTls { cert_pem, key_pem, client_ca_pem: ca.issuer.pem() }.constant());
        let client = Client::new(Arc::new(Door(api.clone())), "test");
        let runtime = Arc::new(Streaming { inner, url: stream_url.to_owned() });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { run(config, client, runtime, stopped).await.unwrap() });
        let port = until("the node's port", || {
            let node = api.get("/api/v1/nodes/node1")?;
            node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64()
        })
        .await;
        api.put(
            POD,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "n", "uid": "u1"},
                "spec": {"nodeName": "node1", "containers": [{"name": "c", "image": "img:1"}]}, "status": {"phase": "Pending"}}),
        );
        until("running", || (api.get(POD)?["status"]["phase"] == "Running").then_some(())).await;
        Self { api, port: u16::try_from(port).unwrap(), ca, dir, stop, task }
    }

    async fn connect(&self, identity: Option<(&str, &str)>) -> tokio_rustls::client::TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.issuer.pem().as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((name, group)) => {
                let (cert, key) = self.ca.issue(name, group);
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn get(&self, identity: Option<(&str, &str)>, path: &str) -> String {
        let mut s = self.connect(identity).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        s.write_all(request.as_bytes()).await.unwrap();
        let mut out = Vec::new();
        let _ = s.read_to_end(&mut out).await;
        String::from_utf8_lossy(&out).into_owned()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

const MASTER: Option<(&str, &str)> = Some(("kube-apiserver", "system:masters"));

#[tokio::test(flavor = "multi_thread")]
async fn only_the_known_and_allowed_get_an_answer() {
    let n = Node::start("http://127.0.0.1:1/").await;
    assert!(n.get(None, "/pods").await.starts_with("HTTP/1.1 401"));
    assert!(n.get(Some(("nobody", "")), "/pods").await.starts_with("HTTP/1.1 403"));
    assert!(n.get(MASTER, "/healthz").await.ends_with("\r\n\r\nok"));
    assert!(n.get(MASTER, "/pods").await.contains("\"kind\":\"PodList\""));
    assert!(n.get(MASTER, "/nothing").await.starts_with("HTTP/1.1 404"));
    assert!(n.get(MASTER, "/stats/summary").await.contains("\"nodeName\":\"node1\""));
    assert!(n.get(MASTER, "/metrics/resource").await.contains("node_memory_working_set_bytes "));
    assert!(!n.api.writes("subjectaccessreviews").is_empty());
    n.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_and_their_absence_explained() {
    let n = Node::start("http://127.0.0.1:1/").await;
    let log = n.dir.path().join("logs/n_web_u1/c/0.log");
    std::fs::write(&log, "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout F two\n").unwrap();
    let body = n.get(MASTER, "/containerLogs/n/web/c?tailLines=1&timestamps=true").await;
    assert!(body.contains("2026-01-01T00:00:02Z two\n") && !body.contains("one"), "{body}");
    let body = n.get(MASTER, "/containerLogs/n/web/c?previous=true").await;
    assert!(
        body.starts_with("HTTP/1.1 400")
            && body.contains("previous terminated container \"c\" in pod \"web\" not found")
    );
    let body = n.get(MASTER, "/containerLogs/n/web/x").await;
    assert!(body.starts_with("HTTP/1.1 404"), "{body}");
    n.end().await;
}

/// Answers one upgrade with what it was asked, then echoes.
async fn echo_server(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/exec/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut s, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(s.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"POST /exec/token HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
        let length = if status.starts_with("101") { "" } else { "Content-Length: 0\r\n" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n{length}\r\n"
        );
        s.write_all(answer.as_bytes()).await.unwrap();
        let (mut r, mut w) = s.split();
        let _ = tokio::io::copy(&mut r, &mut w).await;
    });
    url
}

async fn exec(n: &Node) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut s = n.connect(MASTER).await;
    let request = "POST /exec/n/web/c?command=sh&input=1&output=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                   Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    s.write_all(request.as_bytes()).await.unwrap();
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_tied_to_the_runtime() {
    let n = Node::start(&echo_server("101 Switching Protocols").await).await;
    let mut s = exec(&n).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(s.read_u8().await.unwrap());
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("x-stream-protocol-version: v4.channel.k8s.io"),
        "{head}"
    );
    s.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    s.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
    n.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_leaves_no_tunnel() {
    let n = Node::start(&echo_server("403 Forbidden").await).await;
    let mut s = exec(&n).await;
    let mut start = [0; 12];
    s.read_exact(&mut start).await.unwrap();
    assert_ne!(&start, b"HTTP/1.1 101");
    n.end().await;
}
