//! Signed tokens in compact form, ES256 only (RFC 7515, RFC 7518 §3.4).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// No token of ours comes near; longer ones are not looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// DER before the point of a P-256 key in a SubjectPublicKeyInfo (RFC 5480).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A public key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// base64url of the SHA-256 of the key's SubjectPublicKeyInfo (`keyIDFromPublicKey` upstream).
    pub id: String,
    /// The uncompressed point: 0x04, x, y.
    point: Vec<u8>,
}

impl VerifyingKey {
    fn new(point: &[u8]) -> Self {
        let spki = [P256_SPKI_PREFIX.as_slice(), point].concat();
        let digest = ring::digest::digest(&ring::digest::SHA256, &spki);
        Self { id: URL_SAFE_NO_PAD.encode(digest.as_ref()), point: point.to_vec() }
    }

    /// As a JSON Web Key (RFC 7517).
    pub fn to_jwk(&self) -> Value {
        let (x, y) = self.point.get(1..).unwrap_or_default().split_at(self.point.len() / 2);
        json!({"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }
}

/// A private key that signs tokens.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: VerifyingKey,
    rng: SystemRandom,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

/// The key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the service-account signing key is not a P-256 key in PKCS #8: {0}")]
pub struct KeyError(String);

/// The signature couldn't be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to sign the token")]
pub struct SignError;

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
}

#[derive(Deserialize)]
struct ParsedHeader {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crit: Option<Value>,
}

impl SigningKey {
    /// From a PKCS #8 document; `rng` signs (ECDSA needs a fresh nonce for each signature).
    pub fn from_pkcs8(der: &[u8], rng: SystemRandom) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &rng)
            .map_err(|e| KeyError(e.to_string()))?;
        let public = VerifyingKey::new(pair.public_key().as_ref());
        Ok(Self { pair, public, rng })
    }

    /// The key that verifies what this one signs.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// The generator that was passed in.
    pub(super) fn rng(&self) -> &SystemRandom {
        &self.rng
    }

    /// Signs `claims`.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SignError> {
        let header = Header { alg: "ES256", kid: &self.public.id };
        let part =
            |bytes: Result<Vec<u8>, _>| bytes.map(|b| URL_SAFE_NO_PAD.encode(b)).map_err(|_| SignError);
        let mut token = part(serde_json::to_vec(&header))?;
        token.push('.');
        token.push_str(&part(serde_json::to_vec(claims))?);
        let signature = self.pair.sign(&self.rng, token.as_bytes()).map_err(|_| SignError)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }
}

/// A token taken apart; nothing of it is verified yet.
pub(super) struct Unverified<'a> {
    signed: &'a str,
    key_id: String,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a compact token apart; none if it isn't one, or asks for anything but ES256.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: ParsedHeader = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "ES256" || header.crit.is_some() {
            return None;
        }
        Some(Self {
            signed,
            key_id: header.kid,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            payload: URL_SAFE_NO_PAD.decode(payload).ok()?,
        })
    }

    /// A claim before verification: only to tell whose token it says it is.
    pub(super) fn claimed_issuer(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Claimed {
            iss: String,
        }
        serde_json::from_slice::<Claimed>(&self.payload).ok().map(|c| c.iss)
    }

    /// The payload, if one of `keys` made the signature.
    pub(super) fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<&[u8], &'static str> {
        let mut tried = false;
        for key in keys.into_iter().filter(|k| self.key_id.is_empty() || k.id == self.key_id) {
            tried = true;
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point);
            if public.verify(self.signed.as_bytes(), &self.signature).is_ok() {
                return Ok(&self.payload);
            }
        }
        Err(if tried { "invalid signature" } else { "invalid signature, no keys found" })
    }
}
