//! The word by which a machine joins: who the server is, and that its bearer may join. k3s' form:
//! `K10<fingerprint of the cluster's authority>::<bootstrap token>`.

use anyhow::{Result, bail};

/// What every such word begins with.
const PREFIX: &str = "K10";
/// Hexadecimal digits of a fingerprint (SHA-256).
const FINGERPRINT_DIGITS: usize = 64;

/// A joining word, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinToken {
    /// By what the cluster's authority is known ([`auth::pki::fingerprint`]).
    pub(crate) authority: String,
    /// `<id>.<secret>`.
    pub(crate) bearer: String,
}

impl JoinToken {
    /// Reads a word.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        let parts = word.trim().strip_prefix(PREFIX).and_then(|rest| rest.split_once("::"));
        let hex = |s: &str| s.len() == FINGERPRINT_DIGITS && s.bytes().all(|b| b.is_ascii_hexdigit());
        match parts {
            Some((authority, bearer)) if hex(authority) && bearer.contains('.') => {
                Ok(Self { authority: authority.to_ascii_lowercase(), bearer: bearer.to_owned() })
            }
            _ => bail!(
                "that is not a token of `ironclad token`, which looks like {PREFIX}<64 digits>::<id>.<secret>: copy the whole line that it printed on the server"
            ),
        }
    }
}

impl std::fmt::Display for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}::{}", self.authority, self.bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_and_put_together() {
        let word = format!("K10{}::abcdef.0123456789abcdef", "7f".repeat(32));
        let token = JoinToken::parse(&word).unwrap();
        assert_eq!((token.to_string(), token.bearer.as_str()), (word.clone(), "abcdef.0123456789abcdef"));
        for wrong in ["", "abcdef.0123456789abcdef", "K10::a.b", &word[..50], &word.replace('.', "")] {
            let said = JoinToken::parse(wrong).unwrap_err().to_string();
            assert!(said.contains("ironclad token"), "{wrong}: {said}");
        }
    }
}
