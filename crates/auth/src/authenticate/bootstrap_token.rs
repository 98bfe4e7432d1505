//! Tokens by which a new machine introduces itself: `<id>.<secret>`, kept in a Secret of kube-system
//! (`plugin/pkg/auth/authenticator/token/bootstrap`).

use crate::Lookup;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{Object, Time, UserInfo};
use std::collections::BTreeSet;

const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const DEFAULT_GROUP: &str = "system:bootstrappers";
const ID_LEN: usize = 6;
const SECRET_LEN: usize = 16;

/// The user of a good bootstrap token.
pub(super) fn authenticate(token: &str, lookup: &dyn Lookup, now: Time) -> Option<UserInfo> {
    let (id, secret) = parse(token)?;
    let object = lookup.get("", "secrets", "kube-system", &format!("bootstrap-token-{id}"))?;
    let good = !object.metadata.is_deleting()
        && object.str(&["type"]) == SECRET_TYPE
        && same(&data(&object, "token-secret")?, secret)
        && data(&object, "token-id")? == id
        && !is_expired(&object, now)
        && data(&object, "usage-bootstrap-authentication")? == "true";
    if !good {
        return None;
    }
    let groups = groups(&data(&object, "auth-extra-groups").unwrap_or_default())?;
    Some(UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is_word = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (id.len() == ID_LEN && secret.len() == SECRET_LEN && is_word(id) && is_word(secret))
        .then_some((id, secret))
}

fn data(secret: &Object, key: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(secret.get(&["data", key])?.as_str()?).ok()?).ok()
}

/// Compares without telling by its time how much is equal.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// A time that can't be read counts as past.
fn is_expired(secret: &Object, now: Time) -> bool {
    match data(secret, "expiration") {
        None => false,
        Some(text) if text.is_empty() => false,
        Some(text) => text.parse::<Time>().map_or(true, |t| t <= now),
    }
}

/// The default group and the extra ones, sorted; none if one of them is not a bootstrappers' group.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = BTreeSet::from([DEFAULT_GROUP.to_owned()]);
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_bootstrap_group(group) {
            return None;
        }
        groups.insert(group.to_owned());
    }
    Some(groups.into_iter().collect())
}

/// `system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]`
fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=256).contains(&rest.len())
        && rest.bytes().all(|b| word(b) || b == b':' || b == b'-')
        && rest.bytes().last().is_some_and(word)
}
