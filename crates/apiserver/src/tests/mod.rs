//! Text in, text out: requests to a server over a store in memory, with a clock that stands and UIDs that count.

mod basics;
mod custom;
mod fuzz;
mod hostile;
mod patches;
mod subresources;
mod verbs;
mod watches;

use crate::clock::{CountingUids, ManualClock};
use crate::{ApiServer, Config, Peer};
use auth::{Authenticator, Authorizer, Issuer};
use bytes::Bytes;
use expect_test::Expect;
use http_body::Body as _;
use meta::UserInfo;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use store::{Header, HeaderParser, Limits, Memory, Store};

struct NoHeaders;

impl HeaderParser for NoHeaders {
    fn header(&self, _key: &str, _bytes: &[u8]) -> Header {
        Header::default()
    }
}

/// A server, and the time that it sees.
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    /// The revision behind what every cluster has, from which answers' revisions are counted.
    base: u64,
    runtime: tokio::runtime::Runtime,
}

fn issuer() -> Issuer {
    let rng = ring::rand::SystemRandom::new();
    let der = ring::signature::EcdsaKeyPair::generate_pkcs8(
        &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &rng,
    );
    let key = auth::token::SigningKey::from_pkcs8(der.unwrap().as_ref(), rng).unwrap();
    Issuer::new("https://kubernetes.default.svc.cluster.local", key)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(crate) fn with(admission: Vec<Box<dyn admission::Plugin>>) -> Self {
        let store = Store::open(Box::new(Memory), Arc::new(NoHeaders), Limits::default()).unwrap();
        let clock = Arc::new(ManualClock::new(1_750_000_000));
        let server = ApiServer::new(Config {
            store,
            kinds: registry::kinds().to_vec(),
            authenticator: Authenticator::new(Arc::new(issuer())),
            authorizer: Authorizer::new(),
            admission,
            clock,
            uids: Arc::new(CountingUids::default()),
            service_cidr: ([10, 96, 0, 0].into(), 24),
            node_ports: 30000..=32767,
            advertise: ([192, 0, 2, 1], 6443).into(),
            kubelet_tls: None,
            client_ca: "CA".into(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = server.unwrap();
        Self { base: server.store.revision(), server, runtime }
    }

    fn peer(user: &str) -> Peer {
        match user {
            "admin" => {
                Peer::Known(Arc::new(UserInfo::new("admin", &["system:masters", "system:authenticated"])))
            }
            "anonymous" => Peer::Unknown,
            name => Peer::Known(Arc::new(UserInfo::new(name, &["system:authenticated"]))),
        }
    }

    /// Sends one request. The first line is `[user@]METHOD path`, then headers, an empty line, and the body.
    pub(crate) fn send(&self, text: &str) -> http::Response<crate::ReplyBody> {
        let text = text.trim_start();
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines().map(str::trim);
        let first = lines.next().unwrap();
        let (user, line) =
            first.split_once('@').filter(|(u, _)| !u.contains(' ')).unwrap_or(("admin", first));
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(uri);
        for (k, v) in lines.filter_map(|l| l.split_once(": ")) {
            request = request.header(k, v);
        }
        let request = request.body(Bytes::from(body.trim().to_owned())).unwrap();
        self.runtime.block_on(self.server.clone().handle(request, Self::peer(user)))
    }

    /// Sends a request as it is, and reads of the answer what there is.
    pub(crate) fn exchange(&self, request: http::Request<Bytes>, user: &str) -> (u16, String) {
        let mut response = self.runtime.block_on(self.server.clone().handle(request, Self::peer(user)));
        let body = self.read(response.body_mut());
        (response.status().as_u16(), body)
    }

    /// Sends a request, and reads of the answer what there is.
    pub(crate) fn ask(&self, text: &str) -> (u16, String, Vec<String>) {
        let mut response = self.send(text);
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|w| w.to_str().unwrap().to_owned()).collect();
        let body = self.read(response.body_mut());
        (response.status().as_u16(), body, warnings)
    }

    /// What the server does now and then.
    pub(crate) fn tick(&self) {
        self.runtime.block_on(self.server.tick());
    }

    /// Whatever a body has to give without waiting.
    pub(crate) fn read(&self, body: &mut crate::ReplyBody) -> String {
        let _in = self.runtime.enter();
        let mut all = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut cx) {
            match frame {
                Ok(frame) => all.extend_from_slice(&frame.into_data().unwrap()),
                Err(e) => all.extend_from_slice(format!("<torn: {e}>").as_bytes()),
            }
        }
        String::from_utf8(all).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    /// Sends a request that must be answered with 2xx.
    pub(crate) fn ok(&self, text: &str) -> Value {
        let (code, body, _) = self.ask(text);
        assert!((200..300).contains(&code), "{text}\n{code} {body}");
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    }

    /// Sends a request and holds code, warnings and (without `metadata.managedFields`) body against `expect`.
    pub(crate) fn check(&self, text: &str, expect: Expect) {
        let (code, body, warnings) = self.ask(text);
        let body = self.shown(&body);
        let warnings: String = warnings.iter().map(|w| format!("{w}\n")).collect();
        expect.assert_eq(&format!("{code}\n{warnings}{body}"));
    }

    /// A body as tests show it: keys sorted, without `managedFields`, and without what depends on how many objects a
    /// new cluster has.
    pub(crate) fn shown(&self, body: &str) -> String {
        let text = match serde_json::from_str::<Value>(body) {
            Ok(mut v) => {
                strip(&mut v, self.base);
                v.to_string()
            }
            Err(_) => {
                let plain = |n| format!("resourceVersion: \"{}\"", self.base + n);
                (0..9).fold(body.to_owned(), |text, n| {
                    text.replace(&plain(n), &format!("resourceVersion: +{n}"))
                })
            }
        };
        let mut parts = text.split(UID_PREFIX);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + "UID" + &part[12.min(part.len())..])
    }

    /// As [`World::check`], of a failure only the code, the reason and the message.
    pub(crate) fn fails(&self, text: &str, expect: Expect) {
        let (code, body, _) = self.ask(text);
        let v: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
        let current = format!("current: {}", self.server.store.revision());
        let message = v["message"].as_str().unwrap_or("-").replace(&current, "current: NOW");
        let reason = v["reason"].as_str().unwrap_or("-");
        expect.assert_eq(&format!("{code} {reason}: {}", self.shown(&message)));
    }
}

/// What all UIDs of [`CountingUids`] begin with.
const UID_PREFIX: &str = "00000000-0000-4000-8000-";

fn strip(v: &mut Value, base: u64) {
    match v {
        Value::Object(m) => {
            m.remove("managedFields");
            if let Some(Value::String(revision)) = m.get_mut("resourceVersion") {
                let since = revision.parse::<u64>().ok().map(|r| r.saturating_sub(base));
                *revision = since.map_or_else(|| revision.clone(), |n| format!("+{n}"));
            }
            m.values_mut().for_each(|v| strip(v, base));
        }
        Value::Array(a) => a.iter_mut().for_each(|v| strip(v, base)),
        _ => {}
    }
}
