//! Query parameters: percent-decoded once, typed and bounded, with upstream's rules
//! (`metav1.ListOptions`, `CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions`).

use crate::limits::{MAX_QUERY_PAIRS, MAX_WATCH_SECONDS};
use meta::{FieldError, FieldPath, Status};

/// The parameters of a request in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query(Vec<(String, String)>);

/// Decodes `%41` (and `+` in queries); bytes that are no UTF-8 become replacement characters.
pub(crate) fn percent_decode(text: &str, plus: bool) -> String {
    let b = text.as_bytes();
    let mut out = Vec::with_capacity(b.len());
    let mut i = 0;
    while i < b.len() {
        let hex = (b[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(if plus && b[i] == b'+' { b' ' } else { b[i] });
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

impl Query {
    /// Parses the part of a URI behind the question mark.
    pub(crate) fn parse(raw: &str) -> Result<Self, Status> {
        let pairs = raw.split('&').filter(|p| !p.is_empty());
        let list: Vec<_> = pairs
            .take(MAX_QUERY_PAIRS + 1)
            .map(|p| p.split_once('=').unwrap_or((p, "")))
            .map(|(k, v)| (percent_decode(k, true), percent_decode(v, true)))
            .collect();
        if list.len() > MAX_QUERY_PAIRS {
            return Err(Status::bad_request(format!(
                "the request has more than {MAX_QUERY_PAIRS} parameters"
            )));
        }
        Ok(Self(list))
    }

    /// The first value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The first value of `key`, or nothing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// All values of `key`.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A flag: absent, `false` and `0` are false, anything else is true (`convert.go`).
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_true)
    }

    /// A number, if there is one.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key).filter(|t| !t.is_empty()) else { return Ok(None) };
        let bad = || Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(|_| bad())
    }

    /// Every pair.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

fn is_true(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "false" | "0")
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Match {
    /// Not given.
    #[default]
    Unset,
    /// `Exact`
    Exact,
    /// `NotOlderThan`
    NotOlderThan,
}

/// `metav1.ListOptions`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListOptions {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    /// None where the parameter is absent or empty.
    pub(crate) revision: Option<u64>,
    pub(crate) revision_match: Match,
    pub(crate) timeout: Option<u64>,
    /// 0: no limit.
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks the options of a list or a watch.
    pub(crate) fn parse(q: &Query) -> Result<Self, Status> {
        let raw_match = q.text("resourceVersionMatch");
        let raw_revision = q.text("resourceVersion");
        let initial_events = q.get("sendInitialEvents").map(is_true);
        let watch = q.flag("watch");
        Self::check(watch, raw_match, raw_revision, initial_events, q.text("continue"))?;
        let revision_match = match raw_match {
            "Exact" => Match::Exact,
            "NotOlderThan" => Match::NotOlderThan,
            _ => Match::Unset,
        };
        let timeout = q.number("timeoutSeconds")?.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0);
        Ok(Self {
            label_selector: q.text("labelSelector").to_owned(),
            field_selector: q.text("fieldSelector").to_owned(),
            watch,
            bookmarks: q.flag("allowWatchBookmarks"),
            revision: parse_revision(raw_revision)?,
            revision_match,
            timeout: timeout.map(|t| t.min(MAX_WATCH_SECONDS)),
            limit: q.number("limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
            continue_token: q.text("continue").to_owned(),
            initial_events,
        })
    }

    /// `ValidateListOptions` of `apis/meta/internalversion/validation`.
    fn check(watch: bool, m: &str, rv: &str, initial: Option<bool>, token: &str) -> Result<(), Status> {
        let path = FieldPath::new("resourceVersionMatch");
        let mut errors = Vec::new();
        let mut forbid = |text: &str| errors.push(FieldError::forbidden(&path, text));
        if watch && !m.is_empty() && initial.is_none() {
            forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        if watch && initial.is_some() && m != "NotOlderThan" {
            forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !watch && !m.is_empty() {
            if rv.is_empty() {
                forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !token.is_empty() {
                forbid("resourceVersionMatch is forbidden when continue is provided");
            }
            if m == "Exact" && rv == "0" {
                forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if !m.is_empty() && !matches!(m, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(&path, m, &["Exact", "NotOlderThan", ""]));
        }
        if !watch && initial.is_some() {
            let path = FieldPath::new("sendInitialEvents");
            errors.push(FieldError::forbidden(&path, "sendInitialEvents is forbidden for list"));
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)),
        }
    }
}

/// A `resourceVersion` parameter; none where it is empty.
pub(crate) fn parse_revision(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = |_| {
        let path = FieldPath::new("resourceVersion");
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let e = FieldError::invalid(&path, text, why);
        Status::bad_request(format!("invalid resource version: {e}"))
    };
    text.parse().map(Some).map_err(bad)
}

/// `fieldValidation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Unknown fields are dropped.
    Ignore,
    /// Unknown fields are dropped, with a warning (the default).
    Warn,
    /// Unknown fields are an error.
    Strict,
}

/// `metav1.CreateOptions`, `UpdateOptions` and `PatchOptions`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) field_manager: String,
    pub(crate) validation: FieldValidation,
    /// None where the parameter is absent.
    pub(crate) force: Option<bool>,
}

impl WriteOptions {
    /// Reads and checks the options; `kind` names them in errors (`CreateOptions`, ...).
    pub(crate) fn parse(q: &Query, kind: &str) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let dry_run = dry_run(&q.all("dryRun").collect::<Vec<_>>(), &mut errors);
        let manager = q.text("fieldManager");
        if manager.len() > 128 {
            errors.push(FieldError::too_long(&FieldPath::new("fieldManager"), 128));
        } else if manager.chars().any(char::is_control) {
            let path = FieldPath::new("fieldManager");
            errors.push(FieldError::invalid(&path, manager, "should only contain printable characters"));
        }
        let validation = match q.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let path = FieldPath::new("fieldValidation");
                errors.push(FieldError::not_supported(&path, other, &["", "Ignore", "Strict", "Warn"]));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
        }
        let force = q.get("force").map(is_true);
        Ok(Self { dry_run, field_manager: manager.to_owned(), validation, force })
    }
}

/// Whether nothing is to be stored: `All` is the only value there is.
pub(crate) fn dry_run(values: &[&str], errors: &mut Vec<FieldError>) -> bool {
    let path = FieldPath::new("dryRun");
    if values.iter().any(|v| *v != "All") {
        errors.push(FieldError::not_supported(&path, serde_json::json!(values), &["All"]));
    }
    !values.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(query: &str, expect: Expect) {
        let q = Query::parse(query).unwrap();
        let text = match ListOptions::parse(&q) {
            Ok(o) => format!("{o:?}"),
            Err(s) => format!("{} {}", s.code, s.message),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn list_options_follow_upstreams_rules() {
        check(
            "resourceVersionMatch=Exact",
            expect![[
                r#"422 ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#
            ]],
        );
        check("limit=abc", expect![[r#"400 strconv.ParseInt: parsing "abc": invalid syntax"#]]);
        check(
            "resourceVersion=x",
            expect![[
                r#"400 invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#
            ]],
        );
        check(
            "labelSelector=a%3Db&watch=1&allowWatchBookmarks=true&timeoutSeconds=5",
            expect![[
                r#"ListOptions { label_selector: "a=b", field_selector: "", watch: true, bookmarks: true, revision: None, revision_match: Unset, timeout: Some(5), limit: 0, continue_token: "", initial_events: None }"#
            ]],
        );
    }

    #[test]
    fn percent_decoding_survives_anything() {
        assert_eq!(percent_decode("a%2Fb+c%zz%4", true), "a/b c%zz%4");
        assert_eq!(percent_decode("%ff", false), "\u{fffd}");
        assert_eq!(percent_decode("%é", false), "%é");
    }
}
