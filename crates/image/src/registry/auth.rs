//! Who we are to a registry: basic credentials, and tokens from the service that the registry names.
//!
//! Source: distribution's `docs/spec/auth/token.md` and `oauth.md`, RFC 7235 for the challenge.

use super::http::Http;
use super::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use std::fmt;

/// The longest challenge that is read.
const MAX_CHALLENGE: usize = 8 << 10;
/// The longest answer of a token service.
const MAX_TOKEN_ANSWER: u64 = 1 << 20;
/// What we are called by token services.
const CLIENT_ID: &str = "ironclad";

/// Credentials for one pull. All empty is nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: String,
    /// Is exchanged for a token at the token service (OAuth 2 refresh token).
    pub identity_token: String,
    /// Is sent to the registry as it is.
    pub registry_token: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are not for logs.
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Auth {
    /// From `auth` of a docker configuration: base64 of `user:password`.
    pub fn from_basic(auth: &str) -> Option<Self> {
        let plain = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (username, password) = plain.split_once(':')?;
        // docker pads what it encodes.
        let password = password.trim_matches('\0').to_owned();
        Some(Self { username: username.to_owned(), password, ..Self::default() })
    }

    fn basic(&self) -> Option<HeaderValue> {
        if self.username.is_empty() || self.password.is_empty() {
            return None;
        }
        secret(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password))))
    }

    /// What is sent before the registry asked for anything.
    pub(super) fn unasked(&self) -> Option<HeaderValue> {
        match self.registry_token.as_str() {
            "" => None,
            token => secret(format!("Bearer {token}")),
        }
    }

    /// What the registry asks for.
    pub(super) async fn answer(
        &self,
        http: &Http,
        challenge: &Challenge,
        repository: &str,
    ) -> Result<HeaderValue, Refusal> {
        match challenge {
            Challenge::Basic => self
                .basic()
                .ok_or_else(|| denied(format!("{DENIED}: authorization failed: no basic auth credentials"))),
            Challenge::Bearer(bearer) => {
                let token = self.token(http, bearer, repository).await;
                token.map_err(|e| e.doing("failed to authorize"))
            }
        }
    }

    async fn token(&self, http: &Http, bearer: &Bearer, repository: &str) -> Result<HeaderValue, Refusal> {
        let insecure = !bearer.realm.starts_with("https://");
        if insecure && !(http.plain() && bearer.realm.starts_with("http://")) {
            let why = "a token service must be reached by https";
            return Err(Refusal::last(format!(
                "the registry names {:?} as its token service: {why}",
                bearer.realm
            )));
        }
        let scope = match bearer.scope.as_str() {
            "" => format!("repository:{repository}:pull"),
            scope => scope.to_owned(),
        };
        let mut query = format!("scope={}", escape(&scope));
        if !bearer.service.is_empty() {
            query += &format!("&service={}", escape(&bearer.service));
        }
        let (status, body, what) = match self.identity_token.is_empty() {
            true => self.anonymous_or_basic(http, &bearer.realm, &query).await?,
            false => self.refresh(http, &bearer.realm, query).await?,
        };
        if status != StatusCode::OK {
            return Err(Refusal::status(status, format!("failed to fetch {what}: {status}")));
        }
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| Refusal::last("the token service's answer is not the JSON it should be"))?;
        let token = [answer.token, answer.access_token].into_iter().flatten().find(|t| !t.is_empty());
        let value = token.and_then(|t| secret(format!("Bearer {t}")));
        value.ok_or_else(|| Refusal::last("authorization server did not include a token in the response"))
    }

    async fn anonymous_or_basic(
        &self,
        http: &Http,
        realm: &str,
        query: &str,
    ) -> Result<(StatusCode, Vec<u8>, String), Refusal> {
        let url = format!("{realm}{}{query}", if realm.contains('?') { '&' } else { '?' });
        let mut headers = HeaderMap::new();
        let who = match self.basic() {
            None => "anonymous token",
            Some(basic) => {
                headers.insert(AUTHORIZATION, basic);
                "oauth token"
            }
        };
        let response = http.get(&Method::GET, &url, headers).await?;
        let what = format!("{who}: unexpected status from GET request to {url}");
        let status = response.status();
        Ok((status, http.whole(response.into_body(), MAX_TOKEN_ANSWER, "the token").await?, what))
    }

    async fn refresh(
        &self,
        http: &Http,
        realm: &str,
        query: String,
    ) -> Result<(StatusCode, Vec<u8>, String), Refusal> {
        let token = escape(&self.identity_token);
        let form = format!("grant_type=refresh_token&client_id={CLIENT_ID}&refresh_token={token}&{query}");
        let request = Request::post(realm)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
            .body(Full::new(Bytes::from(form)))
            .map_err(|e| Refusal::last(format!("{realm:?} is no address: {e}")))?;
        let response = http.once(request).await?;
        let what = format!("oauth token: unexpected status from POST request to {realm}");
        let status = response.status();
        Ok((status, http.whole(response.into_body(), MAX_TOKEN_ANSWER, "the token").await?, what))
    }
}

/// How containerd begins what it says of a registry that knows us not.
pub(super) const DENIED: &str = "pull access denied, repository does not exist or may require authorization";

/// The registry wants somebody else, or nobody.
pub(super) fn denied(message: impl Into<String>) -> Refusal {
    Refusal::status(StatusCode::UNAUTHORIZED, message)
}

fn secret(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) realm: String,
    pub(super) service: String,
    pub(super) scope: String,
    /// Why the token that was sent is not good enough.
    pub(super) error: String,
}

impl Challenge {
    /// What an answer of status 401 asks for; a token if there is a choice.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let all: Vec<Self> = texts.filter(|t| t.len() <= MAX_CHALLENGE).flat_map(parse).collect();
        all.iter().find(|c| matches!(c, Self::Bearer(_))).or(all.first()).cloned()
    }
}

/// The challenges of one header that we can answer.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let (scheme, after) = rest.split_at(end);
        let (parameters, next) = parameters(after.trim_start());
        let take = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") && !take("realm").is_empty() {
            let (realm, service) = (take("realm"), take("service"));
            let (scope, error) = (take("scope"), take("error"));
            found.push(Challenge::Bearer(Bearer { realm, service, scope, error }));
        }
        rest = next.trim_start_matches([',', ' ']);
    }
    found
}

/// `key=value` and `key="value"` up to what isn't one: the next challenge.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start_matches([',', ' ']);
        let key_end = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        let Some((key, after)) = key_end.map(|n| start.split_at(n)) else { break };
        let Some(after) = after.strip_prefix('=') else { break };
        let (value, after) = value(after);
        found.push((key.to_owned(), value));
        rest = after;
    }
    (found, rest)
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (i, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[i + 1..]),
            c => {
                escaped = false;
                value.push(c);
            }
        }
    }
    (value, "")
}

/// Percent-encoding for a query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/,*".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let [Challenge::Bearer(b)] = &parse(hub)[..] else { panic!("{:?}", parse(hub)) };
        assert_eq!(
            (b.realm.as_str(), b.service.as_str()),
            ("https://auth.docker.io/token", "registry.docker.io")
        );
        assert_eq!(b.scope, "repository:a/b:pull,push");
        assert_eq!(parse("basic realm=x"), [Challenge::Basic]);
        let two =
            parse(r#"Negotiate, Basic realm="a \"b\", c", bearer realm=https://t, error="invalid_token""#);
        let [Challenge::Basic, Challenge::Bearer(b)] = &two[..] else { panic!("{two:?}") };
        assert_eq!((b.realm.as_str(), b.error.as_str()), ("https://t", "invalid_token"));
        for rubbish in ["", ",,,", "Bearer", "Bearer realm", "Bearer realm=\"", "=\"=\"=", "é \"", "a=b=c"] {
            assert!(parse(rubbish).iter().all(|c| *c != Challenge::Basic), "{rubbish}");
        }
    }

    #[test]
    fn a_docker_configuration() {
        let auth = Auth::from_basic(&STANDARD.encode("me:se:cret\0\0")).unwrap();
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("me", "se:cret"));
        assert!(!format!("{auth:?}").contains("cret"));
        assert_eq!(Auth::from_basic("%"), None);
    }
}
