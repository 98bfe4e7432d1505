//! Errors as the API reports them: `metav1.Status`, with upstream's codes, reasons and wording
//! (`k8s.io/apimachinery/pkg/api/errors`).

use crate::field::FieldError;
use serde_json::{Value, json};

/// The reasons with their HTTP statuses, once: names, codes and words follow from this table.
macro_rules! reasons {
    ($($name:ident $code:literal)*) => {
        /// The machine-readable reason of a failure (`metav1.StatusReason`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is the API's own word")]
        pub enum Reason {
            Unknown,
            $($name,)*
        }

        impl Reason {
            /// The HTTP status that goes with the reason.
            pub fn code(self) -> u16 {
                match self {
                    Self::Unknown => 500,
                    $(Self::$name => $code,)*
                }
            }

            /// The word as it stands in JSON; empty for `Unknown`.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::Unknown => "",
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The reason for a word in JSON; `Unknown` for any other.
            pub fn parse(word: &str) -> Self {
                match word {
                    $(stringify!($name) => Self::$name,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

reasons! {
    BadRequest 400
    Unauthorized 401
    Forbidden 403
    NotFound 404
    MethodNotAllowed 405
    NotAcceptable 406
    AlreadyExists 409
    Conflict 409
    Gone 410
    Expired 410
    RequestEntityTooLarge 413
    UnsupportedMediaType 415
    Invalid 422
    TooManyRequests 429
    InternalError 500
    ServiceUnavailable 503
    Timeout 504
    ServerTimeout 500
}

/// A failed request as the client sees it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// `details`: name, group, kind, uid, causes, retryAfterSeconds; an object or null.
    pub details: Value,
}

/// Group and resource (or kind) in the `details` of a [`Status`] and in its text: `deployments.apps "web"`.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut d = serde_json::Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            d.insert(key.into(), value.into());
        }
    }
    Value::Object(d)
}

impl Status {
    /// A failure with no details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { code: reason.code(), reason, message: message.into(), details: Value::Null }
    }

    /// 404: `pods "web" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(group, resource));
        Self { details: details(group, resource, name), ..Self::new(Reason::NotFound, message) }
    }

    /// 404 for a path that names nothing the server has.
    pub fn no_such_path() -> Self {
        Self {
            details: json!({}),
            ..Self::new(Reason::NotFound, "the server could not find the requested resource")
        }
    }

    /// Whether this is [`Status::no_such_path`].
    pub fn is_no_such_path(&self) -> bool {
        *self == Self::no_such_path()
    }

    /// 409: `pods "web" already exists`.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(group, resource));
        Self { details: details(group, resource, name), ..Self::new(Reason::AlreadyExists, message) }
    }

    /// 409: a write that a concurrent write made impossible.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(group, resource));
        Self { details: details(group, resource, name), ..Self::new(Reason::Conflict, message) }
    }

    /// 409 with upstream's sentence for a stale `resourceVersion`.
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// 403: `pods "web" is forbidden: <why>`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, resource);
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{what} is forbidden: {why}"),
            (false, false) => format!("{what} {name:?} is forbidden: {why}"),
        };
        Self { details: details(group, resource, name), ..Self::new(Reason::Forbidden, message) }
    }

    /// 422 with one cause for each fault. `kind` is the kind, not the resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        // The message says everything once (`ErrorList.ToAggregate`), the causes as often as it was found.
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.kind.reason(), "message": e.body(), "field": e.path.to_string()}))
            .collect();
        let mut d = details(group, kind, name);
        if !causes.is_empty() {
            d["causes"] = Value::Array(causes);
        }
        let message = format!("{} {name:?} is invalid: {list}", qualified(group, kind));
        Self { details: d, ..Self::new(Reason::Invalid, message) }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 401 with upstream's one word.
    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    /// 405.
    pub fn method_not_allowed(group: &str, resource: &str, verb: &str) -> Self {
        let what = qualified(group, resource);
        let message = format!("{verb} is not supported on resources of kind {what:?}");
        Self { details: details(group, resource, ""), ..Self::new(Reason::MethodNotAllowed, message) }
    }

    /// 410: the revision asked for was compacted.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// 500.
    pub fn internal(why: impl std::fmt::Display) -> Self {
        let causes = json!({"causes": [{"message": why.to_string()}]});
        Self {
            details: causes,
            ..Self::new(Reason::InternalError, format!("Internal error occurred: {why}"))
        }
    }

    /// The `metav1.Status` object.
    pub fn to_value(&self) -> Value {
        let mut v = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code});
        if self.reason != Reason::Unknown {
            v["reason"] = self.reason.as_str().into();
        }
        if !self.details.is_null() {
            v["details"] = self.details.clone();
        }
        v
    }

    /// Reads a `metav1.Status` object, as a client does; missing fields become `code` and an empty message.
    pub fn from_value(code: u16, v: &Value) -> Self {
        let text = |key| v.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            code,
            reason: Reason::parse(text("reason")),
            message: text("message").to_owned(),
            details: v.get("details").cloned().unwrap_or_default(),
        }
    }
}
