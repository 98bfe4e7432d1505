//! From a request's line to what it is about (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use crate::limits::MAX_PATH_SEGMENTS;
use crate::query::{Query, percent_decode};
use meta::Status;

/// What a request is about. For a plain URL only `verb` and `path` are set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RequestInfo {
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) verb: String,
    pub(crate) is_resource: bool,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
    /// What stands behind the subresource: the path of a proxy request, percent-decoded.
    pub(crate) rest: Vec<String>,
}

impl RequestInfo {
    /// Parses method, path and query.
    pub(crate) fn parse(method: &str, path: &str, query: &str) -> Result<Self, Status> {
        let query = Query::parse(query)?;
        let raw: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).take(MAX_PATH_SEGMENTS + 1).collect();
        if raw.len() > MAX_PATH_SEGMENTS {
            return Err(Status::bad_request("the request's path has too many segments"));
        }
        let parts: Vec<String> = raw.into_iter().map(|p| percent_decode(p, false)).collect();
        let verb = method.to_ascii_lowercase();
        let mut info = Self { path: percent_decode(path, false), query, verb, ..Self::default() };
        let Some((group, version, rest)) = split_group(&parts) else { return Ok(info) };
        (info.group, info.version, info.is_resource) = (group.to_owned(), version.to_owned(), true);
        info.take_resource(method, rest)?;
        Ok(info)
    }

    fn take_resource(&mut self, method: &str, mut parts: &[String]) -> Result<(), Status> {
        let by_prefix = parts.first().is_some_and(|p| p == "watch");
        if by_prefix {
            parts = &parts[1..];
            if parts.is_empty() {
                return Err(Status::bad_request("unable to determine kind and namespace from url"));
            }
        }
        self.verb = verb_of(method).to_owned();
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace = segment(&parts[1])?;
            // `/namespaces/x/status` is about the namespace itself; anything else is inside it.
            if parts.len() > 2 && !matches!(parts[2].as_str(), "status" | "finalize") {
                parts = &parts[2..];
            }
        }
        self.resource = segment(&parts[0])?;
        self.name = parts.get(1).map(|p| segment(p)).transpose()?.unwrap_or_default();
        self.subresource = parts.get(2).map(|p| segment(p)).transpose()?.unwrap_or_default();
        self.rest = parts.get(3..).unwrap_or_default().to_vec();
        self.settle_verb(by_prefix);
        Ok(())
    }

    /// A get without a name is a list or a watch, a delete without a name is a deletecollection; a list of one
    /// name is authorized for that name.
    fn settle_verb(&mut self, by_prefix: bool) {
        if by_prefix {
            self.verb = "watch".into();
        }
        if self.verb == "delete" && self.name.is_empty() {
            self.verb = "deletecollection".into();
        }
        if self.verb == "get" && self.name.is_empty() {
            self.verb = if self.query.flag("watch") { "watch" } else { "list" }.into();
            let wanted = self.query.text("fieldSelector").split(',').find_map(|term| {
                term.strip_prefix("metadata.name==").or_else(|| term.strip_prefix("metadata.name="))
            });
            if let Some(name) = wanted.filter(|n| is_segment(n)) {
                self.name = name.to_owned();
            }
        }
    }

    /// 400 for a `timeout` that is none (`endpoints/filters/request_deadline.go`). Long-running requests read theirs
    /// themselves, and how long others may take is the server's business.
    pub(crate) fn check_timeout(&self) -> Result<(), Status> {
        let text = self.query.text("timeout");
        if text.is_empty() || self.is_long_running() || is_go_duration(text) {
            return Ok(());
        }
        let why = format!("invalid timeout specified in the request URL - time: invalid duration {text:?}");
        Err(Status::bad_request(why))
    }

    /// Whether it may last as long as its client likes.
    pub(crate) fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || matches!(self.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy")
            || (self.subresource == "log" && self.query.flag("follow"))
    }
}

/// `1h30m`, `-1.5s`, `0`: what Go's `time.ParseDuration` reads.
fn is_go_duration(text: &str) -> bool {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let is_number = digits.contains(|c: char| c.is_ascii_digit()) && digits.matches('.').count() < 2;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        if !is_number || !UNITS.contains(&&after[..end]) {
            return false;
        }
        rest = &after[end..];
    }
    !text.trim_start_matches(['+', '-']).is_empty()
}

/// `/api/v1/...` and `/apis/g/v/...` with at least one segment behind the version.
fn split_group(parts: &[String]) -> Option<(&str, &str, &[String])> {
    match parts {
        [api, version, rest @ ..] if api == "api" && !rest.is_empty() => Some(("", version, rest)),
        [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
            Some((group, version, rest))
        }
        _ => None,
    }
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// `content.IsPathSegmentName`: a segment becomes part of a key, so it can't leave its place.
pub(crate) fn is_segment(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%', '\0'])
}

fn segment(part: &str) -> Result<String, Status> {
    match is_segment(part) {
        true => Ok(part.to_owned()),
        false => Err(Status::bad_request(format!("{part:?} can't be a segment of a path"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn a_timeout_is_a_duration_as_go_writes_them() {
        for good in ["0", "0s", "3m", "1h30m", "1.5s", "-2ms", ".5h"] {
            assert!(is_go_duration(good), "{good}");
        }
        for bad in ["", "-", "3", "invalid", "1d", "1.2.3s", ".s", "1 s"] {
            assert!(!is_go_duration(bad), "{bad}");
        }
        let told = |query: &str| {
            let info = RequestInfo::parse("GET", "/version", query).expect("a request");
            info.check_timeout().map_err(|e| e.message)
        };
        assert_eq!(told("timeout=3m"), Ok(()));
        let why = r#"invalid timeout specified in the request URL - time: invalid duration "invalid""#;
        assert_eq!(told("timeout=invalid"), Err(why.to_owned()));
    }

    fn check(line: &str, expect: Expect) {
        let (method, uri) = line.split_once(' ').unwrap();
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let text = match RequestInfo::parse(method, path, query) {
            Ok(i) if i.is_resource => format!(
                "{} g={:?} v={} ns={:?} r={} n={:?} sub={:?} rest={:?}",
                i.verb, i.group, i.version, i.namespace, i.resource, i.name, i.subresource, i.rest
            ),
            Ok(i) => format!("{} {}", i.verb, i.path),
            Err(s) => s.message,
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn paths_are_read_as_upstream_reads_them() {
        check("GET /api/v1/pods", expect![[r#"list g="" v=v1 ns="" r=pods n="" sub="" rest=[]"#]]);
        check(
            "GET /api/v1/pods?watch=true",
            expect![[r#"watch g="" v=v1 ns="" r=pods n="" sub="" rest=[]"#]],
        );
        check(
            "GET /api/v1/watch/namespaces/a/pods",
            expect![[r#"watch g="" v=v1 ns="a" r=pods n="" sub="" rest=[]"#]],
        );
        check(
            "GET /api/v1/namespaces/a",
            expect![[r#"get g="" v=v1 ns="a" r=namespaces n="a" sub="" rest=[]"#]],
        );
        check(
            "PUT /api/v1/namespaces/a/finalize",
            expect![[r#"update g="" v=v1 ns="a" r=namespaces n="a" sub="finalize" rest=[]"#]],
        );
        check(
            "POST /apis/apps/v1/namespaces/a/deployments",
            expect![[r#"create g="apps" v=v1 ns="a" r=deployments n="" sub="" rest=[]"#]],
        );
        check(
            "DELETE /api/v1/namespaces/a/pods",
            expect![[r#"deletecollection g="" v=v1 ns="a" r=pods n="" sub="" rest=[]"#]],
        );
        check(
            "GET /api/v1/namespaces/a/pods/p/proxy/x/y%2Fz",
            expect![[r#"get g="" v=v1 ns="a" r=pods n="p" sub="proxy" rest=["x", "y/z"]"#]],
        );
        check("GET /api/v1/namespaces/a/pods/%2E%2E", expect![[r#"".." can't be a segment of a path"#]]);
        check("GET /api/v1/namespaces/a%2Fb/pods", expect![[r#""a/b" can't be a segment of a path"#]]);
        check(
            "GET /api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx",
            expect![[r#"list g="" v=v1 ns="a" r=pods n="x" sub="" rest=[]"#]],
        );
        check("GET /apis/apps/v1", expect!["get /apis/apps/v1"]);
        check("GET /healthz", expect!["get /healthz"]);
    }
}
