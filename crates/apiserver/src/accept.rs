//! Content negotiation (`k8s.io/apiserver/pkg/endpoints/handlers/negotiation`): which encoding and which shape a client
//! takes. JSON and YAML are offered; protobuf is understood in requests, and not offered in answers.

use crate::query::Query;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use meta::{Reason, Status};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

/// What of an object is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object.
    Whole,
    /// A `Table` of this version of `meta.k8s.io`.
    Table(&'static str),
    /// `PartialObjectMetadata` of this version of `meta.k8s.io`.
    Partial(&'static str),
    /// Aggregated discovery of this version of `apidiscovery.k8s.io`.
    Discovery(&'static str),
}

/// What was agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) encoding: Encoding,
    pub(crate) shape: Shape,
    pub(crate) pretty: bool,
    /// Of [`Shape::Partial`]: whether one object was asked for, not a list.
    pub(crate) one: bool,
}

impl Accepted {
    /// Plain JSON.
    pub(crate) const JSON: Self =
        Self { encoding: Encoding::Json, shape: Shape::Whole, pretty: false, one: false };

    /// Picks the first range of the `Accept` header that can be served.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self, Status> {
        Self::pick(headers, query, |_| true)
    }

    /// The same for what can only be told whole, as the answers of reviews.
    pub(crate) fn negotiate_whole(headers: &HeaderMap, query: &Query) -> Result<Self, Status> {
        Self::pick(headers, query, |shape| shape == Shape::Whole)
    }

    fn pick(headers: &HeaderMap, query: &Query, can: impl Fn(Shape) -> bool) -> Result<Self, Status> {
        let mut ranges: Vec<(f32, &str)> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .map(|r| (quality(r), r.trim()))
            .filter(|(q, r)| *q > 0.0 && !r.is_empty())
            .collect();
        ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
        let pretty = query.get("pretty").map_or_else(|| by_hand(headers), |_| query.flag("pretty"));
        if ranges.is_empty() {
            return Ok(Self { pretty, ..Self::JSON });
        }
        let readable = ranges.iter().filter_map(|(_, range)| Some((read_range(range)?, *range)));
        let found = readable.into_iter().find(|((_, shape), _)| can(*shape));
        let ((encoding, shape), range) = found.ok_or_else(not_acceptable)?;
        Ok(Self {
            encoding,
            shape,
            pretty,
            one: range.split(';').any(|p| p.trim() == "as=PartialObjectMetadata"),
        })
    }

    /// The `Content-Type` of the answer.
    pub(crate) fn content_type(self) -> &'static str {
        match (self.encoding, self.shape) {
            (_, Shape::Discovery("v2")) => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            }
            (_, Shape::Discovery(_)) => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
            (Encoding::Json, _) => "application/json",
            (Encoding::Yaml, _) => "application/yaml",
        }
    }
}

/// People with curl, wget and browsers get indented output, as upstream's `isPrettyPrint`.
fn by_hand(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|a| agent.starts_with(a))
}

fn quality(range: &str) -> f32 {
    let param = range.split(';').filter_map(|p| p.trim().strip_prefix("q=")).next();
    param.and_then(|q| q.parse().ok()).unwrap_or(1.0)
}

fn read_range(range: &str) -> Option<(Encoding, Shape)> {
    let mut parts = range.split(';').map(str::trim);
    let encoding = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = ("", "", "");
    for (key, value) in parts.filter_map(|p| p.split_once('=')) {
        match key {
            "as" => kind = value,
            "g" => group = value,
            "v" => version = value,
            _ => {}
        }
    }
    Some((encoding, read_shape(kind, group, version)?))
}

fn read_shape(kind: &str, group: &str, version: &str) -> Option<Shape> {
    let meta_version = match version {
        "v1" => Some("v1"),
        "v1beta1" => Some("v1beta1"),
        _ => None,
    };
    match (kind, group) {
        ("", _) => Some(Shape::Whole),
        ("Table", "meta.k8s.io") => meta_version.map(Shape::Table),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io") => {
            meta_version.map(Shape::Partial)
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io") => match version {
            "v2" => Some(Shape::Discovery("v2")),
            "v2beta1" => Some(Shape::Discovery("v2beta1")),
            _ => None,
        },
        _ => None,
    }
}

/// 406 with upstream's words.
fn not_acceptable() -> Status {
    let text = "only the following media types are accepted: application/json, application/yaml";
    Status::new(Reason::NotAcceptable, text)
}

/// How a request's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyType {
    /// JSON, also where nothing is said.
    Json,
    /// YAML.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`: what Go clients send.
    Protobuf,
}

/// The media type of a request's body without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// 415 with upstream's words.
pub(crate) fn unsupported(media: &str, accepted: &[&str]) -> Status {
    let text = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    let _ = media;
    Status::new(Reason::UnsupportedMediaType, text)
}

/// Reads the type of an object in a body.
pub(crate) fn body_type(headers: &HeaderMap) -> Result<BodyType, Status> {
    match media_type(headers).as_str() {
        "" | "application/json" | "*/*" => Ok(BodyType::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(BodyType::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyType::Protobuf),
        other => Err(unsupported(
            other,
            &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(accept: &str, expect: Expect) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let text = match Accepted::negotiate(&headers, &Query::default()) {
            Ok(a) => format!("{:?} {:?}", a.encoding, a.shape),
            Err(s) => format!("{} {}", s.code, s.message),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn picks_the_first_that_can_be_served() {
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            expect![[r#"Json Table("v1")"#]],
        );
        check("application/vnd.kubernetes.protobuf,application/json", expect!["Json Whole"]);
        check(
            "application/vnd.kubernetes.protobuf",
            expect!["406 only the following media types are accepted: application/json, application/yaml"],
        );
        check("text/html,*/*;q=0.8,application/yaml;q=0.9", expect!["Yaml Whole"]);
        check("application/json;as=Foo;v=v1;g=bar,application/json", expect!["Json Whole"]);
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            expect![[r#"Json Discovery("v2")"#]],
        );
    }

    #[test]
    fn an_answer_has_no_table() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
        let code =
            |headers: &HeaderMap| Accepted::negotiate_whole(headers, &Query::default()).map_err(|s| s.code);
        assert_eq!(code(&headers), Err(406));
        headers.append(ACCEPT, "application/json".parse().unwrap());
        assert_eq!(code(&headers), Ok(Accepted::JSON));
    }
}
