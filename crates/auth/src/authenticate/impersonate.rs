//! `Impersonate-*` headers: acting as somebody else, if one may
//! (`k8s.io/apiserver/pkg/endpoints/filters/impersonation`).

use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use crate::token::group_names;
use meta::{Attributes, Status, UserInfo};
use std::collections::BTreeMap;
use std::sync::Arc;

const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";

/// Whom a request wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    /// Keys are lower-case and percent-decoded.
    extra: BTreeMap<String, Vec<String>>,
}

/// Whether a header (lower-case) is one of those that must not reach anything behind.
pub fn is_impersonation_header(name: &str) -> bool {
    matches!(name, "impersonate-user" | "impersonate-uid" | "impersonate-group")
        || name.starts_with(EXTRA_PREFIX)
}

impl Impersonation {
    /// What the headers ask for; none if they don't. Names are lower-case, as `http::HeaderMap` has them.
    pub fn requested<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, Status> {
        let mut wanted = Self::default();
        for (name, value) in headers {
            match name {
                // The first one counts, as with Go's Header.Get.
                "impersonate-user" if wanted.user.is_empty() => wanted.user = value.to_owned(),
                "impersonate-uid" if wanted.uid.is_empty() => wanted.uid = value.to_owned(),
                "impersonate-group" => wanted.groups.push(value.to_owned()),
                _ => {
                    if let Some(key) = name.strip_prefix(EXTRA_PREFIX) {
                        wanted.extra.entry(unescape(key)).or_default().push(value.to_owned());
                    }
                }
            }
        }
        if wanted == Self::default() {
            return Ok(None);
        }
        if wanted.user.is_empty() {
            let why = format!("requested {} without impersonating a user name", wanted.describe());
            return Err(Status::bad_request(why));
        }
        Ok(Some(wanted))
    }

    /// The requested parts as Go prints them.
    fn describe(&self) -> String {
        let list = |items: &[String]| {
            let items: Vec<String> = items.iter().map(|i| format!("{i:?}")).collect();
            format!("[]string{{{}}}", items.join(", "))
        };
        let groups = if self.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&self.groups) };
        let extra: Vec<String> = self.extra.iter().map(|(k, v)| format!("{k:?}:{}", list(v))).collect();
        let extra = match extra.is_empty() {
            true => "(nil)".to_owned(),
            false => format!("{{{}}}", extra.join(", ")),
        };
        let uid = &self.uid;
        format!(
            "&user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:{groups}, Extra:map[string][]string{extra}}}"
        )
    }

    /// What `requestor` must be allowed to do, each one; the first that isn't is the refusal.
    pub fn checks(&self, requestor: &Arc<UserInfo>) -> Vec<Attributes> {
        let check = |group: &str, version: &str, resource: &str, name: &str| Attributes {
            version: version.to_owned(),
            ..Attributes::resource(requestor, "impersonate", group, resource).name(name)
        };
        let named = UserInfo::new(&self.user, &[]);
        let mut checks = vec![match service_account(&named) {
            Some((namespace, name)) => check("", "", "serviceaccounts", name).namespace(namespace),
            None => check("", "", "users", &self.user),
        }];
        checks.extend(self.groups.iter().map(|g| check("", "", "groups", g)));
        for (key, values) in &self.extra {
            checks.extend(values.iter().map(|v| Attributes {
                subresource: key.clone(),
                ..check(AUTHENTICATION_GROUP, "v1", "userextras", v)
            }));
        }
        if !self.uid.is_empty() {
            checks.push(check(AUTHENTICATION_GROUP, "v1", "uids", &self.uid));
        }
        checks
    }

    /// The user that the request goes on as, once all checks were allowed.
    pub fn into_user(self) -> UserInfo {
        let mut user = UserInfo { name: self.user, uid: self.uid, groups: self.groups, extra: self.extra };
        if user.groups.is_empty()
            && let Some((namespace, _)) = service_account(&user)
        {
            user.groups = group_names(namespace);
        }
        if user.name == ANONYMOUS {
            if !user.is_in(UNAUTHENTICATED) {
                user.groups.push(UNAUTHENTICATED.to_owned());
            }
        } else if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
            user.groups.push(AUTHENTICATED.to_owned());
        }
        user
    }
}

/// Namespace and name if the user name is a well-formed service account's.
fn service_account(user: &UserInfo) -> Option<(&str, &str)> {
    user.service_account().filter(|(namespace, name)| {
        meta::names::dns1123_label(namespace).is_empty() && meta::names::dns1123_subdomain(name).is_empty()
    })
}

/// Percent-decodes a key; one that is malformed stays as it is.
fn unescape(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] != b'%' {
            out.push(bytes[i]);
            i += 1;
            continue;
        }
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        let hex = hex.filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = hex.and_then(|h| u8::from_str_radix(h, 16).ok()) else { return key.to_owned() };
        out.push(byte);
        i += 3;
    }
    String::from_utf8(out).unwrap_or_else(|_| key.to_owned())
}
