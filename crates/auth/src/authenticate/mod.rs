//! Who are they? Client certificate, bearer token, or anonymous, in upstream's order
//! (`pkg/kubeapiserver/authenticator/config.go`).

mod bootstrap_token;
pub mod impersonate;
mod token_cache;
mod x509;

pub use impersonate::Impersonation;
pub use x509::{PeerError, peer_user};

use crate::Lookup;
use crate::token::Verdict;
use crate::token::{Issuer, MAX_TOKEN_BYTES};
use base64::Engine;
use meta::{Status, Time, UserInfo};
use std::sync::Arc;
use token_cache::TokenCache;

/// User name of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// Group of everybody who is known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Group of everybody who isn't.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Prefix of the WebSocket subprotocol in which browsers bring a bearer token.
const WEBSOCKET_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// What a request brings to say who it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The user of the connection's verified client certificate, computed once by [`peer_user`].
    pub peer: Option<&'a Arc<UserInfo>>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `Sec-WebSocket-Protocol` header, of WebSocket requests only.
    pub websocket_protocols: Option<&'a str>,
}

/// The authenticator of the cluster. Cheap to share.
#[derive(Debug)]
pub struct Authenticator {
    issuer: Arc<Issuer>,
    cache: TokenCache,
    anonymous: Option<Arc<UserInfo>>,
}

/// A token that proved to be good.
#[derive(Clone, Debug, PartialEq)]
pub struct Reviewed {
    /// Whose it is.
    pub user: Arc<UserInfo>,
    /// The audiences that the token and the caller share.
    pub audiences: Vec<String>,
}

impl Authenticator {
    /// An authenticator that lets anonymous requests through to authorization, as upstream's default.
    pub fn new(issuer: Arc<Issuer>) -> Self {
        let anonymous = Some(Arc::new(UserInfo::new(ANONYMOUS, &[UNAUTHENTICATED])));
        Self { issuer, cache: TokenCache::default(), anonymous }
    }

    /// Refuses requests without credentials (`--anonymous-auth=false`).
    pub fn without_anonymous(mut self) -> Self {
        self.anonymous = None;
        self
    }

    /// The issuer of service-account tokens.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// The user of a request, or 401. A certificate wins over a token; a bad token is an error even where
    /// anonymous requests are let through.
    pub fn authenticate(
        &self,
        credentials: Credentials<'_>,
        lookup: &dyn Lookup,
        now: Time,
    ) -> Result<Arc<UserInfo>, Status> {
        if let Some(user) = credentials.peer {
            return Ok(user.clone());
        }
        if let Some(token) = credentials.authorization.and_then(bearer) {
            return self.cached(token, lookup, now);
        }
        if let Some(token) = credentials.websocket_protocols.and_then(websocket_bearer) {
            return self.cached(&token, lookup, now);
        }
        self.anonymous.clone().ok_or_else(Status::unauthorized)
    }

    fn cached(&self, token: &str, lookup: &dyn Lookup, now: Time) -> Result<Arc<UserInfo>, Status> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Status::unauthorized());
        }
        let key = TokenCache::key(token);
        if let Some(user) = self.cache.get(&key, now) {
            return Ok(user);
        }
        let reviewed = self.review(token, &[], lookup, now).map_err(|_| Status::unauthorized())?;
        self.cache.put(key, reviewed.user.clone(), now);
        Ok(reviewed.user)
    }

    /// What a TokenReview asks: whose token this is, for one of `audiences` (the server's own if there are
    /// none). The error is for `status.error`.
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        lookup: &dyn Lookup,
        now: Time,
    ) -> Result<Reviewed, String> {
        match self.issuer.verify(token, audiences, lookup, now) {
            Verdict::Valid(claims, audiences) => {
                return Ok(Reviewed { user: known(claims.user()), audiences });
            }
            Verdict::Invalid(why) => return Err(why),
            Verdict::NotOurs => {}
        }
        let own = self.issuer.audiences();
        let shared = |a: &&String| audiences.is_empty() || audiences.contains(a);
        let shared: Vec<String> = own.iter().filter(shared).cloned().collect();
        match bootstrap_token::authenticate(token, lookup, now) {
            Some(user) if !shared.is_empty() => Ok(Reviewed { user: known(user), audiences: shared }),
            _ => Err("invalid bearer token".to_owned()),
        }
    }
}

/// The user with the group of everybody who is known.
fn known(mut user: UserInfo) -> Arc<UserInfo> {
    let has = |group| user.is_in(group);
    if user.name != ANONYMOUS && !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    Arc::new(user)
}

/// The token of an `Authorization` header; none for other schemes.
fn bearer(header: &str) -> Option<&str> {
    let mut parts = header.trim().splitn(3, ' ');
    let scheme = parts.next()?;
    let token = parts.next().filter(|t| !t.is_empty())?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The token that a WebSocket client brings as a subprotocol
/// (`k8s.io/apiserver/pkg/authentication/request/websocket`). At least one other protocol must be asked for.
fn websocket_bearer(protocols: &str) -> Option<String> {
    let mut protocols: Vec<&str> = protocols.split(',').map(str::trim).collect();
    let at = protocols.iter().position(|p| p.starts_with(WEBSOCKET_PREFIX))?;
    let encoded = protocols.swap_remove(at).strip_prefix(WEBSOCKET_PREFIX)?;
    let bytes =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    let token = String::from_utf8(bytes).ok()?;
    (!token.is_empty() && !protocols.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
