//! Service-account tokens: issuing (TokenRequest), verifying, and the documents by which others verify them.

mod claims;
mod jwt;
mod request;
mod verify;

pub(crate) use verify::Verdict;

pub use claims::{Claims, Kubernetes, ObjectRef, group_names, user_name};
pub use jwt::{KeyError, MAX_TOKEN_BYTES, SignError, SigningKey, VerifyingKey};
pub use request::Granted;

use ring::rand::SecureRandom;
use serde_json::{Value, json};

/// Path of the OIDC discovery document.
pub const OPENID_CONFIG_PATH: &str = "/.well-known/openid-configuration";
/// Path of the key set.
pub const JWKS_PATH: &str = "/openid/v1/jwks";
/// Issuer where none is configured: the API server's own name in the cluster.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Issues and verifies the cluster's service-account tokens.
#[derive(Debug)]
pub struct Issuer {
    issuer: String,
    audiences: Vec<String>,
    signing: SigningKey,
    /// Keys of earlier starts, still good for verification.
    retired: Vec<VerifyingKey>,
    /// Longest life that is granted; none is no limit but validation's.
    max_expiration_seconds: Option<i64>,
}

impl Issuer {
    /// An issuer whose only audience is itself, as upstream's default has it.
    pub fn new(issuer: &str, signing: SigningKey) -> Self {
        let audiences = vec![issuer.to_owned()];
        Self {
            issuer: issuer.to_owned(),
            audiences,
            signing,
            retired: Vec::new(),
            max_expiration_seconds: None,
        }
    }

    /// Accepts other keys too, for example the last one after a change of keys.
    pub fn also_accept(mut self, keys: Vec<VerifyingKey>) -> Self {
        self.retired = keys;
        self
    }

    /// Shortens longer requests to `seconds`, with a warning (`--service-account-max-token-expiration`).
    pub fn max_expiration(mut self, seconds: i64) -> Self {
        self.max_expiration_seconds = Some(seconds);
        self
    }

    /// The server's audiences: what a token is for if it doesn't ask for others.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        std::iter::once(self.signing.verifying_key()).chain(&self.retired)
    }

    /// The OIDC discovery document (`pkg/serviceaccount/openidmetadata.go`). `external` is the server's
    /// address as `host:port`; empty means: at the issuer's own URL.
    pub fn openid_configuration(&self, external: &str) -> Value {
        let base = match external {
            "" => self.issuer.trim_end_matches('/').to_owned(),
            host => format!("https://{host}"),
        };
        json!({"issuer": self.issuer, "jwks_uri": format!("{base}{JWKS_PATH}"),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"]})
    }

    /// The key set (`application/jwk-set+json`).
    pub fn jwks(&self) -> Value {
        json!({"keys": self.keys().map(VerifyingKey::to_jwk).collect::<Vec<_>>()})
    }

    /// A random UUID, version 4.
    fn uuid(&self) -> Result<String, SignError> {
        let mut b = [0u8; 16];
        self.signing.rng().fill(&mut b).map_err(|_| SignError)?;
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|x| format!("{x:02x}")).collect();
        Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }
}

#[cfg(test)]
pub(crate) mod tests;
