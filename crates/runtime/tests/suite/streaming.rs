//! exec, attach and port-forward with real kubectl, over WebSocket and over SPDY.

use std::io::{BufRead, BufReader, Read, Write};

use cri::*;

use crate::kubectl::FakeCluster;
use crate::world::*;

async fn fake(world: &World, sandbox: &str, container: &str, tty: bool) -> FakeCluster {
    FakeCluster::new(world.path("cri.sock"), sandbox, container, tty).await
}

#[tokio::test]
async fn kubectl_exec_both_ways() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world.launch(&sandbox, shell("exec sleep 1000")).await;
    let cluster = fake(&world, &sandbox.0, &id, false).await;
    for websockets in [true, false] {
        let script = "echo out; echo err >&2; exit 7";
        let output = cluster.run(&["exec", "p", "--", "sh", "-c", script], b"", websockets).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), &*out), (Some(7), "out\n"), "{err}");
        assert!(err.starts_with("err\n") && err.contains("exit code 7"), "{err}");
        let output = cluster
            .run(&["exec", "-i", "p", "--", "sh", "-c", "sort; echo end"], b"b\na\n", websockets)
            .await;
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(0), b"a\nb\nend\n".as_slice()),
            "{output:?}"
        );
        let output = cluster.run(&["exec", "p", "--", "nothing-like-it"], b"", websockets).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && err.contains("executable file not found in $PATH"), "{err}");
        let output = cluster
            .run(&["exec", "p", "--", "dd", "if=/dev/zero", "bs=64k", "count=80"], b"", websockets)
            .await;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 80 * 65536));
    }
}

#[tokio::test]
async fn terminals_have_a_size_and_a_name() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world
        .launch(
            &sandbox,
            shell("tty; test -c /dev/console && echo console; read line; echo got $line").with(|c| {
                c.tty = true;
                c.stdin = true;
            }),
        )
        .await;
    world.wait_log("main", "console").await;
    assert!(world.log("main").starts_with("/dev/pts/0"), "{}", world.log("main"));
    let url = world
        .client
        .exec(ExecRequest {
            container_id: id.clone(),
            cmd: ["sh", "-c", "tty; stty size; read x; stty size"].map(str::to_owned).to_vec(),
            tty: true,
            stdin: true,
            stdout: true,
            stderr: false,
        })
        .await
        .expect("a URL")
        .url;
    let mut socket = WebSocket::connect(&url, "v5.channel.k8s.io");
    socket.send(4, br#"{"Width":100,"Height":40}"#);
    let mut seen = socket.read_until("\n");
    while !seen.contains("pts/1") {
        seen += &socket.read_until("\n");
    }
    socket.send(4, br#"{"Width":90,"Height":30}"#);
    socket.send(0, b"go\n");
    let rest = socket.read_until("30 90");
    assert!(rest.contains("30 90"), "{rest}");
    let cluster = fake(&world, &sandbox.0, &id, true).await;
    let output = cluster.run(&["attach", "-i", "p"], b"words\n", true).await;
    let status = world.wait_exited(&id).await;
    assert_eq!(status.exit_code, 0, "{output:?}");
    wait("the answer is in the log", || async { world.log("main").contains("got words") }).await;
}

#[tokio::test]
async fn kubectl_attach_sees_output_and_gives_input() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let script = "while read line; do echo got $line; done; echo end";
    for websockets in [true, false] {
        let id = world
            .launch(
                &sandbox,
                shell(script).with(|c| {
                    c.stdin = true;
                    c.stdin_once = true;
                }),
            )
            .await;
        let cluster = fake(&world, &sandbox.0, &id, false).await;
        let output = cluster.run(&["attach", "-i", "p"], b"one\ntwo\n", websockets).await;
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.contains("got one\ngot two\n"), "{output:?}");
        assert_eq!(world.wait_exited(&id).await.exit_code, 0);
    }
}

#[tokio::test]
async fn kubectl_port_forward_reaches_loopback() {
    let world = World::with_network().await;
    let (id, config, _) = world.networked(|_| {}).await;
    let sandbox = (id, config);
    let container = world.launch(&sandbox, shell("exec nc -ll -p 8080 -e cat")).await;
    // kubectl gives up at the first refused connection.
    wait("the pod listens", || async { world.exec(&container, "netstat -ltn | grep -q :8080").await.0 == 0 })
        .await;
    let cluster = fake(&world, &sandbox.0, &container, false).await;
    for websockets in [true, false] {
        let mut child = cluster.spawn(&["port-forward", "p", ":8080"], websockets);
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        // The reader is kept: kubectl dies of a closed standard output.
        let reading = tokio::task::spawn_blocking(move || (stdout.read_line(&mut line), line, stdout));
        let (read, line, _stdout) = reading.await.expect("a line");
        read.expect("a line");
        let port: u16 = line
            .rsplit("127.0.0.1:")
            .next()
            .and_then(|r| r.split(' ').next())
            .and_then(|p| p.parse().ok())
            .unwrap_or_else(|| panic!("{line}"));
        let echoed = async || {
            tokio::task::spawn_blocking(move || {
                let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
                stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).ok()?;
                stream.write_all(b"ping").ok()?;
                let mut answer = [0; 4];
                stream.read_exact(&mut answer).ok()?;
                Some(answer == *b"ping")
            })
            .await
            .expect("a thread")
                == Some(true)
        };
        wait("bytes come back", &echoed).await;
        wait("and over a second connection", echoed).await;
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}

#[tokio::test]
async fn tokens_are_for_one_use() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let id = world.launch(&sandbox, shell("exec sleep 1000")).await;
    let request = ExecRequest {
        container_id: id.clone(),
        cmd: vec!["true".into()],
        stdout: true,
        ..Default::default()
    };
    let url = world.client.exec(request).await.expect("a URL").url;
    let mut socket = WebSocket::connect(&url, "v5.channel.k8s.io");
    assert!(socket.read_until("\"Success\"").contains("Success"));
    assert_eq!(WebSocket::status(&url, "v5.channel.k8s.io"), "404");
    let stop = StopContainerRequest { container_id: id.clone(), timeout: 0 };
    world.client.stop_container(stop).await.expect("stopped");
    let refused = world
        .client
        .exec(ExecRequest { container_id: id, cmd: vec!["true".into()], ..Default::default() })
        .await;
    assert_eq!(refused.expect_err("not running").code, Code::FailedPrecondition);
}

/// A client that writes frames masked with zeros.
struct WebSocket(std::net::TcpStream);

impl WebSocket {
    fn open(url: &str, protocol: &str) -> (std::net::TcpStream, String) {
        let (address, path) = url.trim_start_matches("http://").split_once('/').expect("a URL");
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("written");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        (stream, String::from_utf8_lossy(&head).into_owned())
    }

    fn status(url: &str, protocol: &str) -> String {
        Self::open(url, protocol).1.split(' ').nth(1).expect("a status").to_owned()
    }

    fn connect(url: &str, protocol: &str) -> Self {
        let (stream, head) = Self::open(url, protocol);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.to_lowercase().contains(&format!("sec-websocket-protocol: {protocol}")), "{head}");
        Self(stream)
    }

    fn send(&mut self, channel: u8, data: &[u8]) {
        let mut frame = vec![0x82, 0x80 | (data.len() + 1) as u8, 0, 0, 0, 0, channel];
        frame.extend_from_slice(data);
        self.0.write_all(&frame).expect("written");
    }

    /// All text of all channels until it holds `wanted`, or the connection ends.
    fn read_until(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            let mut head = [0; 2];
            if self.0.read_exact(&mut head).is_err() {
                break;
            }
            let length = match head[1] {
                126 => {
                    let mut long = [0; 2];
                    self.0.read_exact(&mut long).expect("a length");
                    u16::from_be_bytes(long) as usize
                }
                length => length as usize,
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).expect("a payload");
            text += &String::from_utf8_lossy(payload.get(1..).unwrap_or_default());
        }
        text
    }
}
