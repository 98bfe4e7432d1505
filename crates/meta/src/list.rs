//! Lists as the API writes them: an envelope around items that are already encoded, and the tokens that
//! continue a list (`apiserver/pkg/storage/continue.go`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// `metav1.ListMeta` and the type of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHead<'a> {
    /// `apiVersion` of the list.
    pub api_version: &'a str,
    /// Kind of the list, for example `PodList`.
    pub kind: &'a str,
    /// Revision that the list shows.
    pub resource_version: u64,
    /// Token for the next page.
    pub continue_token: Option<&'a str>,
    /// How many items follow; only for lists without selectors.
    pub remaining: Option<u64>,
}

impl ListHead<'_> {
    /// Everything before the first item: `{"kind":...,"metadata":{...},"items":[`.
    pub fn prefix(&self) -> Vec<u8> {
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let mut out = format!(
            r#"{{"kind":{},"apiVersion":{},"metadata":{{"resourceVersion":"{}""#,
            text(self.kind),
            text(self.api_version),
            self.resource_version
        );
        if let Some(token) = self.continue_token {
            out.push_str(&format!(r#","continue":{}"#, text(token)));
        }
        if let Some(n) = self.remaining {
            out.push_str(&format!(r#","remainingItemCount":{n}"#));
        }
        out.push_str(r#"},"items":["#);
        out.into_bytes()
    }

    /// The whole list in one buffer. For long lists stream [`ListHead::prefix`], the items with commas between
    /// them, and [`SUFFIX`] instead.
    pub fn encode<'i>(&self, items: impl IntoIterator<Item = &'i [u8]>) -> Bytes {
        let mut out = BytesMut::from(self.prefix().as_slice());
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                out.put_u8(b',');
            }
            out.extend_from_slice(item);
        }
        out.extend_from_slice(SUFFIX);
        out.freeze()
    }
}

/// Everything behind the last item.
pub const SUFFIX: &[u8] = b"]}";

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continue {
    /// Revision of the first page; `None` when the token said −1 (any revision).
    pub revision: Option<u64>,
    /// The key to start at, without the prefix of the resource.
    pub start: String,
}

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

/// Version word of the tokens.
const VERSION: &str = "meta.k8s.io/v1";

impl Continue {
    /// The token for a list that goes on behind the key `last` (without the prefix of the resource).
    pub fn after(last: &str, revision: u64) -> String {
        let rv = i64::try_from(revision).unwrap_or(i64::MAX);
        Self::token(&Token { v: VERSION.to_owned(), rv, start: format!("{last}\0") })
    }

    /// The token for a list that goes on behind the key `last` at whatever revision is newest: what a client gets
    /// whose own token is too old.
    pub fn anywhere(last: &str) -> String {
        Self::token(&Token { v: VERSION.to_owned(), rv: -1, start: format!("{last}\0") })
    }

    fn token(t: &Token) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(t).unwrap_or_default())
    }

    /// Reads a token. The key can't leave the resource's prefix. The error is the text for a 400.
    pub fn parse(token: &str) -> Result<Self, String> {
        let bad = |e: &dyn std::fmt::Display| format!("continue key is not valid: {e}");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|e| bad(&e))?;
        let t: Token = serde_json::from_slice(&bytes).map_err(|e| bad(&e))?;
        if t.v != VERSION {
            return Err(format!(
                "continue key is not valid: server does not recognize this encoded version {}",
                t.v
            ));
        }
        if t.rv == 0 {
            let text =
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
            return Err(text.to_owned());
        }
        if t.start.is_empty() {
            let text = "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)";
            return Err(text.to_owned());
        }
        let path = t.start.strip_prefix('/').unwrap_or(&t.start);
        if path.split('/').any(|s| matches!(s, "" | "." | "..")) {
            return Err(bad(&t.start));
        }
        Ok(Self { revision: u64::try_from(t.rv).ok(), start: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelope() {
        let head = ListHead {
            api_version: "v1",
            kind: "PodList",
            resource_version: 7,
            continue_token: Some("x"),
            remaining: Some(2),
        };
        let bytes = head.encode([br#"{"a":1}"#.as_slice(), b"{}"]);
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"x","remainingItemCount":2},"items":[{"a":1},{}]}"#
        );
    }

    #[test]
    fn tokens() {
        let t = Continue::after("default/web", 12);
        assert_eq!(Continue::parse(&t), Ok(Continue { revision: Some(12), start: "default/web\0".into() }));
        let enc = |s: &str| URL_SAFE_NO_PAD.encode(s);
        for bad in [
            "%",
            &enc("{"),
            &enc(r#"{"v":"x","rv":1,"start":"a"}"#),
            &enc(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
            &enc(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets"}"#),
            &enc(r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#),
        ] {
            assert!(Continue::parse(bad).unwrap_err().starts_with("continue key is not valid"), "{bad}");
        }
    }
}
