//! The least of an API server and node agent that real kubectl needs: one pod, and streams passed through to the runtime.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use cri::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves one pod `p` with one container `main`.
pub(crate) struct FakeCluster {
    address: std::net::SocketAddr,
}

struct Pod {
    client: GrpcRuntime,
    sandbox: String,
    container: String,
    tty: bool,
}

impl FakeCluster {
    pub(crate) async fn new(socket: std::path::PathBuf, sandbox: &str, container: &str, tty: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = GrpcRuntime::new(socket);
        let pod = Arc::new(Pod { client, sandbox: sandbox.into(), container: container.into(), tty });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let pod = pod.clone();
                tokio::spawn(async move { pod.serve(stream).await });
            }
        });
        Self { address }
    }

    fn command(&self, arguments: &[&str], websockets: bool) -> Command {
        let mut command = Command::new("kubectl");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent");
        let value = if websockets { "true" } else { "false" };
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", value).env("KUBECTL_PORT_FORWARD_WEBSOCKETS", value);
        command.arg(format!("--server=http://{}", self.address)).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs kubectl with something to read; gives its output.
    pub(crate) async fn run(&self, arguments: &[&str], input: &'static [u8], websockets: bool) -> Output {
        let mut child = self.command(arguments, websockets).spawn().expect("kubectl");
        let mut stdin = child.stdin.take().expect("a pipe");
        let work = tokio::task::spawn_blocking(move || {
            let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input));
            let output = child.wait_with_output().expect("kubectl's output");
            let _ = writer.join();
            output
        });
        tokio::time::timeout(std::time::Duration::from_secs(30), work)
            .await
            .expect("in time")
            .expect("kubectl ended")
    }

    /// Starts kubectl in the background.
    pub(crate) fn spawn(&self, arguments: &[&str], websockets: bool) -> std::process::Child {
        self.command(arguments, websockets).spawn().expect("kubectl")
    }
}

impl Pod {
    async fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let (line, headers) = head.split_once("\r\n").expect("a request line");
        let target = line.split(' ').nth(1).expect("a path").to_owned();
        let Some(url) = self.url(&target).await else {
            let body = self.object(&target);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            return;
        };
        let (address, path) = url.trim_start_matches("http://").split_once('/').expect("a URL");
        let mut upstream = TcpStream::connect(address).await.expect("the runtime's server");
        let request = format!("{} /{path} HTTP/1.1\r\n{headers}", line.split(' ').next().expect("a verb"));
        upstream.write_all(request.as_bytes()).await.expect("written");
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    }

    async fn url(&self, target: &str) -> Option<String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let values = |name: &str| -> Vec<String> {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).collect()
        };
        let flag = |name: &str| values(name).iter().any(|v| v == "true");
        let (stdin, stdout, stderr, tty) = (flag("stdin"), flag("stdout"), flag("stderr"), flag("tty"));
        let container_id = self.container.clone();
        match path.rsplit('/').next()? {
            "exec" => {
                let request =
                    ExecRequest { container_id, cmd: values("command"), tty, stdin, stdout, stderr };
                Some(self.client.exec(request).await.expect("a URL").url)
            }
            "attach" => {
                let request = AttachRequest { container_id, stdin, tty, stdout, stderr };
                Some(self.client.attach(request).await.expect("a URL").url)
            }
            "portforward" => {
                let request = PortForwardRequest { pod_sandbox_id: self.sandbox.clone(), port: Vec::new() };
                Some(self.client.port_forward(request).await.expect("a URL").url)
            }
            _ => None,
        }
    }

    fn object(&self, target: &str) -> String {
        let kind = target.split('?').next().unwrap_or_default();
        match kind {
            "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#.into(),
            "/apis" => r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#.into(),
            "/api/v1" => r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list","watch"],"shortNames":["po"]}]}"#.into(),
            _ => format!(
                r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"p","namespace":"default"}},"spec":{{"containers":[{{"name":"main","image":"busybox","stdin":true,"tty":{}}}]}},"status":{{"phase":"Running","containerStatuses":[{{"name":"main","ready":true,"state":{{"running":{{}}}}}}]}}}}"#,
                self.tty
            ),
        }
    }
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'%').then(|| std::str::from_utf8(tail.get(..2)?).ok()).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
