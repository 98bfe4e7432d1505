//! Answers: a status, headers, and a body that may be a value or a stream.

use crate::accept::{Accepted, Encoding};
use crate::limits::RETRY_AFTER_SECONDS;
use crate::list::ListBody;
use crate::pretty::Pretty;
use crate::proxy::Tunnel;
use crate::watch::WatchSession;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use meta::{Reason, Status};
use serde_json::Value;

/// What follows an answer's headers.
pub(crate) enum Payload {
    /// All of it.
    Bytes(Bytes),
    /// A list, made piece by piece as the client takes it.
    List(Box<ListBody>),
    /// The events of a watch.
    Watch(Box<WatchSession>),
    /// Whatever another server answers.
    Tunnel(Box<Tunnel>),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Reply {
    /// `payload` with its media type.
    pub(crate) fn new(code: u16, media: &'static str, payload: Payload) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        Self {
            status: StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers,
            payload,
        }
    }

    /// A text.
    pub(crate) fn text(code: u16, text: impl Into<String>) -> Self {
        Self::new(code, "text/plain; charset=utf-8", Payload::Bytes(text.into().into()))
    }

    /// A value in whatever encoding the client takes.
    pub(crate) fn value(code: u16, accepted: Accepted, v: &Value) -> Self {
        match accepted.encoding {
            Encoding::Yaml => {
                Self::new(code, accepted.content_type(), Payload::Bytes(crate::yaml::to_yaml(v).into()))
            }
            Encoding::Json => Self::json(code, accepted, v.to_string().into()),
        }
    }

    /// JSON that is there already.
    pub(crate) fn json(code: u16, accepted: Accepted, json: Bytes) -> Self {
        if accepted.encoding == Encoding::Yaml {
            let v = serde_json::from_slice(&json).unwrap_or(Value::Null);
            return Self::value(code, accepted, &v);
        }
        let json = if accepted.pretty { indent(&json) } else { json };
        Self::new(code, accepted.content_type(), Payload::Bytes(json))
    }

    /// A failure.
    pub(crate) fn failure(status: &Status, accepted: Accepted) -> Self {
        let accepted = Accepted { shape: crate::accept::Shape::Whole, ..accepted };
        let mut reply = Self::value(status.code, accepted, &status.to_value());
        let seconds = status.details.get("retryAfterSeconds").and_then(Value::as_u64);
        let throttled = status.reason == Reason::TooManyRequests;
        if let Some(s) = seconds.or(throttled.then_some(RETRY_AFTER_SECONDS)) {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(s));
        }
        reply
    }

    /// Adds `Warning` headers in upstream's form; what can't stand in a header is left out.
    pub(crate) fn warn(mut self, warnings: &[String]) -> Self {
        for text in warnings {
            let clean: String = text.chars().filter(|c| !c.is_control()).collect();
            let quoted = format!("299 - {}", Value::from(clean));
            if let Ok(v) = HeaderValue::from_bytes(quoted.as_bytes()) {
                self.headers.append(http::header::WARNING, v);
            }
        }
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(v) = HeaderValue::from_str(value) {
            self.headers.insert(name, v);
        }
        self
    }
}

/// Indented JSON with upstream's closing line break.
fn indent(json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() * 2);
    Pretty::default().push(json, &mut out);
    out.push(b'\n');
    out.into()
}

/// `metav1.Status` of a success with details.
pub(crate) fn success(details: Value) -> Value {
    let mut v =
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if !details.is_null() {
        v["details"] = details;
    }
    v
}
