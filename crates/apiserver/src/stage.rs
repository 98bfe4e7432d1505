//! The stages of a request, each a type of its own: only an [`Admitted`] request can be served, and the one way to it
//! leads through authentication and authorization. Forgetting one doesn't compile.

use crate::flow::Permit;
use crate::request::RequestInfo;
use crate::server::ApiServer;
use auth::authenticate::impersonate::is_impersonation_header;
use auth::authenticate::{Credentials, Impersonation};
use auth::{Decision, forbidden};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use meta::{Attributes, Status, UserInfo};
use std::sync::{Arc, Mutex};

/// Who is at the other end, as far as the connection tells.
#[derive(Clone, Debug, Default)]
pub enum Peer {
    /// A connection without a client certificate.
    #[default]
    Unknown,
    /// A connection whose verified certificate names this user; or a caller in this process.
    Known(Arc<UserInfo>),
}

/// What all stages carry.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) info: RequestInfo,
    pub(crate) user: Arc<UserInfo>,
    /// Warnings of a write that failed: they are told with the failure.
    pub(crate) told: Mutex<Vec<String>>,
}

impl Request {
    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// What policy sees of the request.
    pub(crate) fn attributes(&self) -> Attributes {
        let i = &self.info;
        let part = |s: &String| if i.is_resource { s.clone() } else { String::new() };
        Attributes {
            user: self.user.clone(),
            verb: i.verb.clone(),
            group: part(&i.group),
            version: part(&i.version),
            resource: part(&i.resource),
            subresource: part(&i.subresource),
            namespace: part(&i.namespace),
            name: part(&i.name),
            path: i.path.clone(),
            is_resource: i.is_resource,
            field_selector: i.query.text("fieldSelector").to_owned(),
            label_selector: i.query.text("labelSelector").to_owned(),
        }
    }

    /// Who manages the fields that this request sets: `fieldManager`, or the first word of the user agent.
    pub(crate) fn manager(&self, wanted: &str) -> String {
        if !wanted.is_empty() {
            return wanted.to_owned();
        }
        let agent = self.header(USER_AGENT);
        let word = agent.split(['/', ' ']).next().unwrap_or_default();
        let clean: String = word.chars().filter(|c| !c.is_control()).take(128).collect();
        if clean.is_empty() { "unknown".to_owned() } else { clean }
    }
}

/// A request whose line was read.
#[derive(Debug)]
pub(crate) struct Parsed(Request, Peer);

/// A request of a known user.
#[derive(Debug)]
pub(crate) struct Authenticated(Request);

/// A request that its user may make.
#[derive(Debug)]
pub(crate) struct Authorized(Request);

/// A request whose turn it is. Holds its place among the requests in flight.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) request: Request,
    pub(crate) permit: Permit,
}

impl Parsed {
    /// Reads the request's line.
    pub(crate) fn new(method: Method, uri: &Uri, headers: HeaderMap, peer: Peer) -> Result<Self, Status> {
        let info = RequestInfo::parse(method.as_str(), uri.path(), uri.query().unwrap_or_default())?;
        info.check_timeout()?;
        Ok(Self(Request { method, headers, info, user: Arc::default(), told: Mutex::default() }, peer))
    }

    /// Finds out who asks, and whom they act as.
    pub(crate) fn authenticate(self, server: &ApiServer) -> Result<Authenticated, Status> {
        let Self(mut request, peer) = self;
        let peer = match &peer {
            Peer::Known(user) => Some(user),
            Peer::Unknown => None,
        };
        let text = |name| request.headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
        let websocket = request.headers.contains_key(http::header::UPGRADE);
        let credentials = Credentials {
            peer,
            authorization: text(AUTHORIZATION),
            websocket_protocols: text(SEC_WEBSOCKET_PROTOCOL).filter(|_| websocket),
        };
        let user = server.authenticator.authenticate(credentials, &server.objects(), server.time())?;
        request.user = impersonate(server, user, &request.headers)?;
        // Credentials stop here: nothing behind, and no proxied server, may see them.
        request.headers.remove(AUTHORIZATION);
        Ok(Authenticated(request))
    }
}

fn impersonate(
    server: &ApiServer,
    user: Arc<UserInfo>,
    headers: &HeaderMap,
) -> Result<Arc<UserInfo>, Status> {
    let mut wanted = Vec::new();
    for (name, value) in headers.iter().filter(|(k, _)| is_impersonation_header(k.as_str())) {
        // Names need not be ASCII. One that can't be read must end the request, or it went on as the proxy itself.
        let value = std::str::from_utf8(value.as_bytes());
        let unreadable = |_| Status::bad_request(format!("the header {name} is not UTF-8"));
        wanted.push((name.as_str(), value.map_err(unreadable)?));
    }
    let Some(wanted) = Impersonation::requested(wanted)? else { return Ok(user) };
    for check in wanted.checks(&user) {
        server.authorizer().require(&check)?;
    }
    Ok(Arc::new(wanted.into_user()))
}

impl Authenticated {
    /// Asks the authorizer. Paths that must work before anything else is set up are open to everybody
    /// (`--authorization-always-allow-paths`).
    pub(crate) fn authorize(self, server: &ApiServer) -> Result<Authorized, Status> {
        let Self(request) = self;
        let open = !request.info.is_resource
            && matches!(request.info.path.as_str(), "/healthz" | "/readyz" | "/livez");
        if !open {
            let attributes = request.attributes();
            if let Decision::Deny(reason) | Decision::NoOpinion(reason) = server.authorize(&attributes) {
                return Err(forbidden(&attributes, &reason));
            }
        }
        Ok(Authorized(request))
    }
}

impl Authorized {
    /// Takes a place among the requests in flight, or answers 429.
    pub(crate) fn admit(self, server: &ApiServer) -> Result<Admitted, Status> {
        let Self(request) = self;
        let permit = server.flow.admit(&request.info, &request.user)?;
        Ok(Admitted { request, permit })
    }
}
