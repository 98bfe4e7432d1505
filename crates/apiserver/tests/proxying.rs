//! The whole way over sockets: TLS, a client certificate, and requests that are carried on to a kubelet.

use apiserver::clock::{RandomUids, SystemClock};
use apiserver::{ApiServer, Config, Headers};
use auth::pki::{Names, Pki};
use auth::{Authenticator, Authorizer, Issuer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use meta::{Time, UserInfo};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct World {
    _dir: tempfile::TempDir,
    pki: Pki,
    server: Arc<ApiServer>,
    port: u16,
    stop: tokio::sync::oneshot::Sender<()>,
    done: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let here = "127.0.0.1".parse().unwrap();
        let names = Names {
            hostname: "localhost".into(),
            listen: vec![here],
            service: Vec::new(),
            cluster_domain: "cluster.local".into(),
            extra: Vec::new(),
        };
        let pki = auth::pki::ensure(dir.path(), &names, Time::new(jiff::Timestamp::now())).unwrap();
        let tls = Arc::new(auth::pki::server_config(&pki.serving, &pki.ca.cert).unwrap());
        let issuer = Issuer::new("https://x", pki.signing_key(ring::rand::SystemRandom::new()).unwrap());
        let kubelet = auth::pki::client_config(&pki.ca.cert, Some(&pki.kubelet_client)).unwrap();
        let memory = Box::new(store::Memory);
        let server = ApiServer::new(Config {
            store: store::Store::open(memory, Headers::shared(), store::Limits::default()).unwrap(),
            kinds: registry::kinds().to_vec(),
            authenticator: Authenticator::new(Arc::new(issuer)),
            authorizer: Authorizer::new(),
            admission: Vec::new(),
            clock: Arc::new(SystemClock),
            uids: Arc::new(RandomUids::default()),
            service_cidr: ([10, 96, 0, 0].into(), 24),
            node_ports: 30000..=32767,
            advertise: ([192, 0, 2, 1], 6443).into(),
            kubelet_tls: Some(Arc::new(kubelet)),
            client_ca: pki.ca.cert.clone(),
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let done = tokio::spawn(server.clone().serve(listener, tls, async { drop(stopped.await) }));
        Self { _dir: dir, pki, server, port, stop, done }
    }

    /// A connection with the administrator's certificate.
    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let config = auth::pki::client_config(&self.pki.ca.cert, Some(&self.pki.admin)).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    /// What an administrator in this process does.
    async fn write(&self, method: &str, path: &str, body: &str) {
        let transport = self.server.transport(UserInfo::new("admin", &["system:masters"]));
        let mut request = Request::builder().method(method).uri(path);
        if method == "PATCH" {
            request = request.header("content-type", "application/merge-patch+json");
        }
        let answer = transport.call(request.body(Bytes::from(body.to_owned())).unwrap()).await.unwrap();
        let (code, text) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
        assert!(code.is_success(), "{path}: {code} {}", String::from_utf8_lossy(&text));
    }

    /// A node whose kubelet is `kubelet` below, and a pod on it.
    async fn with_kubelet(self) -> Self {
        let tls = Arc::new(auth::pki::server_config(&self.pki.serving, &self.pki.ca.cert).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(tls.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    assert!(
                        stream.get_ref().1.peer_certificates().is_some(),
                        "the server shows its certificate"
                    );
                    let service = service_fn(|r| async { Ok::<_, Infallible>(kubelet(r).await) });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                });
            }
        });
        self.write("POST", "/api/v1/nodes", r#"{"metadata":{"name":"n1"}}"#).await;
        let status = format!(
            r#"{{"status":{{"addresses":[{{"type":"InternalIP","address":"127.0.0.1"}}],"daemonEndpoints":{{"kubeletEndpoint":{{"Port":{port}}}}}}}}}"#
        );
        self.write("PATCH", "/api/v1/nodes/n1/status", &status).await;
        let pod =
            r#"{"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}}"#;
        self.write("POST", "/api/v1/namespaces/default/pods", pod).await;
        let status = r#"{"status":{"phase":"Running","podIP":"127.0.0.1"}}"#;
        self.write("PATCH", "/api/v1/namespaces/default/pods/p/status", status).await;
        self
    }
}

/// Echoes on exec, refuses attach, redirects port-forwards, and tells what it was asked otherwise.
async fn kubelet(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().to_string();
    let plain = |code: u16, text: String| Response::builder().status(code).body(Full::from(text)).unwrap();
    if path.starts_with("/attach/") {
        return plain(403, "not today".into());
    }
    if path.starts_with("/portForward/") {
        return Response::builder()
            .status(302)
            .header("location", "http://evil/")
            .body(Full::default())
            .unwrap();
    }
    if path.starts_with("/exec/") {
        let protocol = request.headers()["upgrade"].clone();
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            let mut bytes = [0; 5];
            io.read_exact(&mut bytes).await.unwrap();
            io.write_all(&bytes).await.unwrap();
            io.shutdown().await.unwrap();
        });
        let answer =
            Response::builder().status(101).header("connection", "Upgrade").header("upgrade", protocol);
        return answer.body(Full::default()).unwrap();
    }
    assert!(!request.headers().contains_key("authorization"), "credentials stop at the server");
    plain(200, format!("{} {path}", request.method()))
}

fn get(path: &str) -> http::request::Builder {
    Request::builder().uri(path).header("host", "x")
}

fn upgrade(path: &str) -> Request<Full<Bytes>> {
    let builder = get(path).header("connection", "Upgrade").header("upgrade", "websocket");
    builder.body(Full::default()).unwrap()
}

async fn ask(
    c: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    c.ready().await?;
    c.send_request(request).await
}

async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

const POD: &str = "/api/v1/namespaces/default/pods/p";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_from_the_kubelet() {
    let w = World::new().await.with_kubelet().await;
    let mut c = w.connect().await;
    let answer =
        ask(&mut c, get(&format!("{POD}/log?tailLines=5&pretty=1")).body(Full::default()).unwrap()).await;
    assert_eq!(text(answer.unwrap()).await, "GET /containerLogs/default/p/c?tailLines=5");
    let answer = ask(&mut c, get(&format!("{POD}/log?container=no")).body(Full::default()).unwrap()).await;
    assert!(text(answer.unwrap()).await.contains("container no is not valid for pod p"));
    let answer =
        ask(&mut c, get("/api/v1/nodes/n1/proxy/stats/summary?x=y").body(Full::default()).unwrap()).await;
    assert_eq!(text(answer.unwrap()).await, "GET /stats/summary?x=y");
    let answer = ask(&mut c, get(&format!("{POD}/proxy/")).body(Full::default()).unwrap()).await;
    assert!(
        text(answer.unwrap()).await.contains("address not allowed"),
        "nothing on this machine is reached as a pod"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_has_a_length_and_no_body() {
    let w = World::new().await;
    let mut c = w.connect().await;
    for (path, code) in [("/livez/ping", 200), ("/nope", 404)] {
        let request = get(path).method("HEAD").body(Full::default()).unwrap();
        let answer = ask(&mut c, request).await.unwrap();
        assert_eq!(answer.status().as_u16(), code);
        assert!(answer.headers()["content-length"] != "0");
        assert_eq!(text(answer).await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_is_spliced_byte_for_byte() {
    let w = World::new().await.with_kubelet().await;
    let mut c = w.connect().await;
    let mut answer =
        ask(&mut c, upgrade(&format!("{POD}/exec?command=sh&stdin=true&stdout=1"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    io.write_all(b"hello").await.unwrap();
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
}

/// What a WebSocket of `path` carries up to its end, or up to `bytes`.
async fn messages(w: &World, path: &str, protocol: &str, bytes: usize) -> Vec<u8> {
    let mut request = upgrade(path);
    for (name, value) in [("key", "dGhlIHNhbXBsZSBub25jZQ=="), ("version", "13"), ("protocol", protocol)] {
        let name = http::HeaderName::try_from(format!("sec-websocket-{name}")).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut answer = ask(&mut w.connect().await, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(answer.headers()["sec-websocket-protocol"], protocol);
    let mut io = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    let mut all = vec![0; bytes];
    io.read_exact(&mut all).await.unwrap();
    // Closed by the client: the server says goodbye, and lets go.
    io.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    io.shutdown().await.unwrap();
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(&[0x88, 2, 3, 232]), "{rest:?}");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_watches_come_as_messages_of_a_websocket() {
    let w = World::new().await.with_kubelet().await;
    let log = "GET /containerLogs/default/p/c";
    let all = messages(&w, &format!("{POD}/log"), "binary.k8s.io", log.len() + 4).await;
    assert_eq!(all, [b"\x82\0\x82\x1e", log.as_bytes()].concat());
    let all = messages(&w, &format!("{POD}/log"), "base64.binary.k8s.io", 4).await;
    assert_eq!(all, b"\x81\0\x81\x28");
    let all = messages(&w, "/api/v1/nodes?watch=1", "any", 20).await;
    assert!(all.starts_with(b"\x81") && String::from_utf8_lossy(&all[2..]).contains("{\"type\":\"ADDED\""));
    let path = format!("{POD}/log?container=nobody");
    let answer = ask(&mut w.connect().await, upgrade(&path)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_leaves_no_tunnel_and_no_redirect_is_followed() {
    let w = World::new().await.with_kubelet().await;
    let mut c = w.connect().await;
    let answer = ask(&mut c, upgrade(&format!("{POD}/attach?stdin=true"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(text(answer).await.contains("not today"));
    let mut c = w.connect().await;
    let answer = ask(&mut c, upgrade(&format!("{POD}/portforward"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_watches_and_lets_the_server_go() {
    let w = World::new().await;
    let mut c = w.connect().await;
    let answer = ask(&mut c, get("/api/v1/pods?watch=1").body(Full::default()).unwrap()).await.unwrap();
    w.stop.send(()).unwrap();
    assert_eq!(text(answer).await, "", "the watch ends");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(15), w.done).await;
    ended.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn plain_http_is_told_that_this_is_tls() {
    let w = World::new().await;
    let mut stream = TcpStream::connect(("127.0.0.1", w.port)).await.unwrap();
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 Bad Request"), "{answer}");
    assert!(answer.ends_with("Client sent an HTTP request to an HTTPS server.\n"), "{answer}");
}
