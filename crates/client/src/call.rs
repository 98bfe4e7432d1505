//! A call on the API as a value: what is asked, before anything is sent.

use crate::Resource;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// What a list or a watch selects, and how it is cut up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `labelSelector`; empty for all.
    pub labels: String,
    /// `fieldSelector`; empty for all.
    pub fields: String,
    /// Items on a page; 0 for no limit.
    pub limit: u32,
    /// `continue` of the page before; empty for the first.
    pub continue_token: String,
    /// `resourceVersion`; empty asks for the newest state.
    pub resource_version: String,
}

/// The syntax of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own merge with list keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchKind {
    /// The media type that names the syntax.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector deletes them afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// What must hold of the object for a deletion to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// It has this UID.
    pub uid: Option<String>,
    /// It has this resource version.
    pub resource_version: Option<String>,
}

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds until it goes; none for the kind's default.
    pub grace: Option<i64>,
    /// What must hold.
    pub preconditions: Preconditions,
    /// What becomes of its dependents; none for the kind's default.
    pub propagation: Option<Propagation>,
}

impl DeleteOptions {
    /// Deletes exactly the object with this UID.
    pub fn of_uid(uid: &str) -> Self {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        Self { preconditions, ..Self::default() }
    }

    /// As the body of a DELETE.
    pub fn to_value(&self) -> Value {
        let mut v = Map::new();
        v.insert("kind".into(), "DeleteOptions".into());
        v.insert("apiVersion".into(), "v1".into());
        if let Some(seconds) = self.grace {
            v.insert("gracePeriodSeconds".into(), seconds.into());
        }
        let mut must = Map::new();
        if let Some(uid) = &self.preconditions.uid {
            must.insert("uid".into(), uid.as_str().into());
        }
        if let Some(version) = &self.preconditions.resource_version {
            must.insert("resourceVersion".into(), version.as_str().into());
        }
        if !must.is_empty() {
            v.insert("preconditions".into(), Value::Object(must));
        }
        if let Some(propagation) = self.propagation {
            v.insert("propagationPolicy".into(), propagation.as_str().into());
        }
        Value::Object(v)
    }
}

/// One call on the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// HTTP method.
    pub method: http::Method,
    /// Path without query.
    pub path: String,
    /// Query parameters, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Body; empty for none.
    pub body: Bytes,
}

const JSON: &str = "application/json";

impl Call {
    fn new(method: http::Method, path: String, body: Bytes) -> Self {
        Self { method, path, query: Vec::new(), content_type: JSON, body }
    }

    /// GET of any path, for example `/version`.
    pub fn get_path(path: &str) -> Self {
        Self::new(http::Method::GET, path.to_owned(), Bytes::new())
    }

    /// One object, or a subresource of it (`log`; empty for the object).
    pub fn get(r: &Resource, namespace: &str, name: &str, subresource: &str) -> Self {
        Self::new(http::Method::GET, object_path(r, namespace, name, subresource), Bytes::new())
    }

    /// The objects in a namespace, or (empty) everywhere.
    pub fn list(r: &Resource, namespace: &str, options: &ListOptions) -> Self {
        let mut call = Self::new(http::Method::GET, r.path(namespace), Bytes::new());
        call.select(options);
        if options.limit > 0 {
            call.query.push(("limit", options.limit.to_string()));
        }
        if !options.continue_token.is_empty() {
            call.query.push(("continue", options.continue_token.clone()));
        }
        call
    }

    /// The changes after `options.resource_version`, with bookmarks, for at most `timeout_seconds`.
    pub fn watch(r: &Resource, namespace: &str, options: &ListOptions, timeout_seconds: u32) -> Self {
        let mut call = Self::new(http::Method::GET, r.path(namespace), Bytes::new());
        call.query.push(("watch", "true".to_owned()));
        call.query.push(("allowWatchBookmarks", "true".to_owned()));
        call.query.push(("timeoutSeconds", timeout_seconds.to_string()));
        call.select(options);
        call
    }

    fn select(&mut self, options: &ListOptions) {
        let pairs = [
            ("labelSelector", &options.labels),
            ("fieldSelector", &options.fields),
            ("resourceVersion", &options.resource_version),
        ];
        for (key, value) in pairs {
            if !value.is_empty() {
                self.query.push((key, value.clone()));
            }
        }
    }

    /// A new object in `namespace` (empty for cluster-scoped kinds).
    pub fn create(r: &Resource, namespace: &str, object: impl Into<Bytes>) -> Self {
        Self::new(http::Method::POST, r.path(namespace), object.into())
    }

    /// A POST to a subresource: `binding`, `eviction`, `token`.
    pub fn create_sub(r: &Resource, ns: &str, name: &str, sub: &str, object: impl Into<Bytes>) -> Self {
        Self::new(http::Method::POST, object_path(r, ns, name, sub), object.into())
    }

    /// The object (or its subresource: `status`, `scale`) as a whole.
    pub fn update(r: &Resource, ns: &str, name: &str, sub: &str, object: impl Into<Bytes>) -> Self {
        Self::new(http::Method::PUT, object_path(r, ns, name, sub), object.into())
    }

    /// A patch of the object or its subresource.
    pub fn patch(
        r: &Resource,
        ns: &str,
        name: &str,
        sub: &str,
        kind: PatchKind,
        body: impl Into<Bytes>,
    ) -> Self {
        let call = Self::new(http::Method::PATCH, object_path(r, ns, name, sub), body.into());
        Self { content_type: kind.content_type(), ..call }
    }

    /// Server-side apply of `object` by `manager`.
    pub fn apply(
        r: &Resource,
        ns: &str,
        name: &str,
        manager: &str,
        force: bool,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut call = Self::patch(r, ns, name, "", PatchKind::Apply, body);
        call.query.push(("fieldManager", manager.to_owned()));
        call.query.push(("force", force.to_string()));
        call
    }

    /// A deletion.
    pub fn delete(r: &Resource, namespace: &str, name: &str, options: &DeleteOptions) -> Self {
        let body = options.to_value().to_string();
        Self::new(http::Method::DELETE, object_path(r, namespace, name, ""), body.into())
    }

    /// A deletion of all that `options` selects.
    pub fn delete_collection(r: &Resource, namespace: &str, options: &ListOptions) -> Self {
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1"}).to_string();
        let mut call = Self::new(http::Method::DELETE, r.path(namespace), body.into());
        call.select(options);
        call
    }

    /// The HTTP request.
    pub fn into_request(self, user_agent: &str) -> Result<http::Request<Bytes>, http::Error> {
        let mut uri = self.path;
        for (i, (key, value)) in self.query.iter().enumerate() {
            uri.push(if i == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            encode(value, &mut uri);
        }
        let request = http::Request::builder()
            .method(self.method)
            .uri(uri)
            .header(http::header::ACCEPT, JSON)
            .header(http::header::USER_AGENT, user_agent);
        if self.body.is_empty() {
            return request.body(self.body);
        }
        request.header(http::header::CONTENT_TYPE, self.content_type).body(self.body)
    }
}

fn object_path(r: &Resource, namespace: &str, name: &str, subresource: &str) -> String {
    let mut path = r.path(namespace);
    path.push('/');
    encode(name, &mut path);
    if !subresource.is_empty() {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{apps, core};

    fn line(call: Call) -> String {
        let request = call.into_request("t").expect("a request");
        format!("{} {}", request.method(), request.uri())
    }

    #[test]
    fn calls_are_requests() {
        let pods = Resource::of::<core::v1::Pod>();
        let deployments = Resource::of::<apps::v1::Deployment>();
        let options = ListOptions { labels: "app in (a,b)".into(), limit: 2, ..ListOptions::default() };
        assert_eq!(
            line(Call::list(&pods, "x", &options)),
            "GET /api/v1/namespaces/x/pods?labelSelector=app%20in%20%28a%2Cb%29&limit=2"
        );
        assert_eq!(line(Call::list(&pods, "", &ListOptions::default())), "GET /api/v1/pods");
        assert_eq!(
            line(Call::update(&deployments, "x", "web", "status", "{}")),
            "PUT /apis/apps/v1/namespaces/x/deployments/web/status"
        );
        let role = Resource::of::<api::rbac::v1::ClusterRole>();
        assert_eq!(
            line(Call::get(&role, "", "system:node", "")),
            "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"
        );
    }
}
