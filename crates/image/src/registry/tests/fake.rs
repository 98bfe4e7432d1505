//! A registry that does what a test tells it to: HTTP/1.1 on a loopback port, a thread for each connection.

use super::super::http::Patience;
use crate::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer, and how it goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Ends the connection after so many bytes of the body.
    pub(super) cut: Option<usize>,
    /// Stays silent (until the client leaves) after so many bytes of the body.
    pub(super) stall: Option<usize>,
}

pub(super) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: Vec::new(), body: body.into(), cut: None, stall: None }
}

impl Reply {
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

pub(super) struct Fake {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Fake {
    pub(super) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, stop) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(AtomicBool::new(false)));
        let answer: Arc<Answer> = Arc::new(answer);
        let (log, stopped) = (asked.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { address, asked, stop }
    }

    /// Requests so far, without the greeting.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|a| a.path != "/v2/").cloned().collect()
    }

    pub(super) fn count(&self, method: &str, part: &str) -> usize {
        self.asked().iter().filter(|a| a.method == method && a.path.contains(part)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(stream: TcpStream, answer: &Answer, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = read(&mut reader) {
        log.lock().unwrap().push(asked.clone());
        let reply = if asked.path == "/v2/" { reply(200, "{}") } else { answer(&asked) };
        if !write(&stream, &asked, &reply) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            break;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut asked = Asked { method: words.next()?.into(), path: words.next()?.into(), ..Asked::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.into());
    }
    let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Some(asked)
}

/// Whether the connection goes on.
fn write(mut stream: &TcpStream, asked: &Asked, reply: &Reply) -> bool {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "Content-Length") {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    if asked.method == "HEAD" {
        return true;
    }
    let end = reply.cut.or(reply.stall).unwrap_or(reply.body.len()).min(reply.body.len());
    let sent = stream.write_all(&reply.body[..end]).and_then(|()| stream.flush()).is_ok();
    if reply.stall.is_some() {
        let _ = stream.read(&mut [0]);
    }
    sent && reply.cut.is_none() && reply.stall.is_none()
}

/// An image as a registry has it: blobs and manifests by digest.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) manifests: BTreeMap<String, Vec<u8>>,
    /// Where the tag `v1` points to.
    pub(super) tagged: String,
}

pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut b = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut h = tar::Header::new_gnu();
        h.set_size(data.len() as u64);
        h.set_mode(0o644);
        b.append_data(&mut h, name, *data).unwrap();
    }
    b.into_inner().unwrap()
}

impl Content {
    /// An image of plain layers for an architecture; tagged.
    pub(super) fn image(layers: &[Vec<u8>], architecture: &str) -> Self {
        let mut c = Self::default();
        let ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Cmd": [architecture]},
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = config.to_string().into_bytes();
        let described = |bytes: &[u8]| json!({"digest": Digest::of(bytes).to_string(), "size": bytes.len()});
        let layers_json: Vec<Value> = layers.iter().map(|l| described(l)).collect();
        let manifest = json!({"schemaVersion": 2, "config": described(&config), "layers": layers_json});
        for blob in layers.iter().chain([&config]) {
            c.blobs.insert(Digest::of(blob).to_string(), blob.clone());
        }
        c.tag(&manifest);
        c
    }

    pub(super) fn tag(&mut self, manifest: &Value) {
        let bytes = manifest.to_string().into_bytes();
        self.tagged = Digest::of(&bytes).to_string();
        self.manifests.insert(self.tagged.clone(), bytes);
    }

    pub(super) fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.strip_prefix("/v2/a/b/").unwrap_or_default();
        if let Some(name) = path.strip_prefix("manifests/") {
            let digest = if name == "v1" { self.tagged.as_str() } else { name };
            return match self.manifests.get(digest) {
                Some(bytes) => reply(200, bytes.clone()).with("Docker-Content-Digest", digest),
                None => reply(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            };
        }
        let blob = path.strip_prefix("blobs/").and_then(|digest| self.blobs.get(digest));
        let Some(blob) = blob else { return reply(404, "") };
        let range = asked.header("range").strip_prefix("bytes=").and_then(|r| r.strip_suffix('-'));
        match range.map(|from| from.parse::<usize>().unwrap()) {
            Some(from) => reply(206, &blob[from..])
                .with("Content-Range", format!("bytes {from}-{}/{}", blob.len() - 1, blob.len())),
            None => reply(200, blob.clone()),
        }
    }
}

/// Little enough for tests.
pub(super) fn patience() -> Patience {
    let ms = Duration::from_millis;
    Patience { connect: ms(2000), answer: ms(500), piece: ms(300), pause: ms(1) }
}
