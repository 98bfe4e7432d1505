//! A small API in memory: stores objects by path, tells watchers, and knows no kind.

use bytes::Bytes;
use client::transport::full_body;
use client::{Body, Transport, TransportError};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type Watcher = (String, mpsc::UnboundedSender<Result<Frame<Bytes>, TransportError>>);

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<String, Value>,
    watchers: Vec<Watcher>,
    /// Every event so far by its revision, for watches that begin after it.
    events: Vec<(u64, String, Bytes)>,
    down: bool,
    writes: Vec<String>,
}

/// The API.
#[derive(Default)]
pub struct FakeApi(Mutex<State>);

/// A path's collection, object name and subresource.
fn split(path: &str) -> (String, String, String) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let start = if parts[0] == "api" { 2 } else { 3 };
    let namespaced = parts.get(start) == Some(&"namespaces") && parts.len() > start + 2;
    let at = if namespaced { start + 3 } else { start + 1 };
    let get = |i: usize| parts.get(i).map(|s| (*s).to_owned()).unwrap_or_default();
    (parts[..at.min(parts.len())].join("/"), get(at), get(at + 1))
}

/// Whether objects of `collection` are seen by somebody who asks for `wanted`, which may leave out the namespace.
fn covers(wanted: &str, collection: &str) -> bool {
    let parts: Vec<&str> = collection.split('/').collect();
    let start = if parts[0] == "api" { 2 } else { 3 };
    let all = match parts.get(start) {
        Some(&"namespaces") if parts.len() > start + 2 => {
            [&parts[..start], &parts[start + 2..]].concat().join("/")
        }
        _ => collection.to_owned(),
    };
    wanted == collection || wanted == all
}

fn merge(to: &mut Value, patch: &Value) {
    let Some(map) = patch.as_object() else {
        *to = patch.clone();
        return;
    };
    if !to.is_object() {
        *to = Value::Object(Map::new());
    }
    for (k, v) in map {
        if v.is_null() {
            to.as_object_mut().unwrap().remove(k);
        } else if k == "conditions" {
            let mut list = to[k].as_array().cloned().unwrap_or_default();
            for c in v.as_array().unwrap() {
                match list.iter_mut().find(|o| o["type"] == c["type"]) {
                    Some(o) => merge(o, c),
                    None => list.push(c.clone()),
                }
            }
            to[k] = Value::Array(list);
        } else if let Some(list) = v.as_array() {
            let list = list.iter().filter(|i| i.get("$patch").is_none()).cloned().collect();
            to[k] = Value::Array(list);
        } else {
            merge(&mut to[k], v);
        }
    }
}

impl State {
    fn put(&mut self, path: &str, mut o: Value) -> Value {
        self.revision += 1;
        o["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let kind = if self.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        self.objects.insert(path.to_owned(), o.clone());
        self.tell(path, kind, &o);
        o
    }

    fn remove(&mut self, path: &str) {
        if let Some(mut o) = self.objects.remove(path) {
            self.revision += 1;
            o["metadata"]["resourceVersion"] = json!(self.revision.to_string());
            self.tell(path, "DELETED", &o);
        }
    }

    fn tell(&mut self, path: &str, kind: &str, o: &Value) {
        let collection = path.rsplit_once('/').unwrap().0.to_owned();
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": o})));
        self.watchers.retain(|(c, s)| {
            !covers(c, &collection) || s.unbounded_send(Ok(Frame::data(line.clone()))).is_ok()
        });
        self.events.push((self.revision, collection, line));
    }

    fn watch(&mut self, wanted: String, since: u64) -> Body {
        let (sender, receiver) = mpsc::unbounded();
        for (_, _, line) in self.events.iter().filter(|(r, c, _)| *r > since && covers(&wanted, c)) {
            let _ = sender.unbounded_send(Ok(Frame::data(line.clone())));
        }
        self.watchers.push((wanted, sender));
        StreamBody::new(receiver.boxed()).boxed_unsync()
    }

    fn write(
        &mut self,
        method: &str,
        path: &str,
        (collection, name, sub): (String, String, String),
        body: Value,
    ) -> (u16, Value) {
        let key = format!("{collection}/{name}");
        self.writes.push(format!("{method} {path} {body}"));
        match method {
            "POST" if sub == "token" => {
                let expires = json!("2100-01-01T00:00:00Z");
                (
                    201,
                    json!({"metadata": {}, "spec": {}, "status": {"token": "secret-token", "expirationTimestamp": expires}}),
                )
            }
            "POST" if path.ends_with("reviews") => {
                let mut body = body;
                body["status"] = json!({"allowed": false, "authenticated": false});
                (201, body)
            }
            "POST" => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                let mut body = body;
                if body["metadata"]["uid"].is_null() {
                    body["metadata"]["uid"] = json!(format!("uid-{}", self.revision));
                }
                (201, self.put(&format!("{collection}/{name}"), body))
            }
            "PUT" => (200, self.put(&key, body)),
            "PATCH" => match self.objects.get(&key).cloned() {
                Some(mut o) => {
                    merge(&mut o, &body);
                    (200, self.put(&key, o))
                }
                None => (
                    404,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}),
                ),
            },
            "DELETE" => {
                self.remove(&key);
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            _ => (405, json!({})),
        }
    }
}

impl FakeApi {
    /// Puts an object as some client would.
    pub fn put(&self, path: &str, o: Value) {
        self.0.lock().unwrap().put(path.trim_matches('/'), o);
    }

    /// Changes an object as some client would.
    pub fn change(&self, path: &str, patch: Value) {
        let mut s = self.0.lock().unwrap();
        let path = path.trim_matches('/');
        let mut o = s.objects.get(path).cloned().expect("the object is there");
        merge(&mut o, &patch);
        s.put(path, o);
    }

    /// An object as it is now.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path.trim_matches('/')).cloned()
    }

    /// All objects whose path holds `part`.
    pub fn all(&self, part: &str) -> Vec<Value> {
        let s = self.0.lock().unwrap();
        s.objects.iter().filter(|(k, _)| k.contains(part)).map(|(_, v)| v.clone()).collect()
    }

    /// All writes so far that hold `part`.
    pub fn writes(&self, part: &str) -> Vec<String> {
        self.0.lock().unwrap().writes.iter().filter(|w| w.contains(part)).cloned().collect()
    }

    /// Makes every call fail, and ends the watches.
    pub fn set_down(&self, down: bool) {
        let mut s = self.0.lock().unwrap();
        s.down = down;
        s.watchers.clear();
    }

    fn respond(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        let mut s = self.0.lock().unwrap();
        if s.down {
            return Err(TransportError::unsent("connection refused"));
        }
        let (method, uri) = (request.method().as_str().to_owned(), request.uri().clone());
        let place = split(uri.path());
        let answer = |code: u16, v: Value| {
            Ok(http::Response::builder().status(code).body(full_body(v.to_string())).unwrap())
        };
        if method != "GET" {
            let body = serde_json::from_slice(request.body()).unwrap_or_default();
            let (code, v) = s.write(&method, uri.path(), place, body);
            return answer(code, v);
        }
        let (collection, name, _) = place;
        let query = uri.query().unwrap_or_default();
        if !name.is_empty() {
            return match s.objects.get(&format!("{collection}/{name}")) {
                Some(o) => answer(200, o.clone()),
                None => answer(
                    404,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}),
                ),
            };
        }
        if query.contains("watch=true") {
            let since = query.split('&').find_map(|p| p.strip_prefix("resourceVersion="));
            let since = since.and_then(|r| r.parse().ok()).unwrap_or(s.revision);
            return Ok(http::Response::new(s.watch(collection, since)));
        }
        let seen = |k: &str| covers(&collection, k.rsplit_once('/').unwrap().0);
        let items: Vec<_> = s.objects.iter().filter(|(k, _)| seen(k)).map(|(_, v)| v.clone()).collect();
        answer(200, json!({"metadata": {"resourceVersion": s.revision.to_string()}, "items": items}))
    }
}

/// The door to a [`FakeApi`].
pub struct Door(pub Arc<FakeApi>);

impl Transport for Door {
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        let answer = self.0.respond(request);
        Box::pin(async move { answer })
    }
}
