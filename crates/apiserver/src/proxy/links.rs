//! Keeps a browser within the proxy: links and redirects of a pod, a service or a node that mean the root of its server get
//! the path by which the server is reached here (`k8s.io/apimachinery/pkg/util/proxy/transport.go`).

use super::html;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, CONTENT_TYPE, LOCATION,
};
use http::{HeaderMap, HeaderValue};

/// How links of an answer are turned.
pub(crate) struct Links {
    /// The path by which the other side's root is reached, without a closing slash.
    pub(crate) root: String,
    /// The other side's host and port, as it may call itself.
    pub(crate) theirs: String,
    /// The host that the client asked.
    pub(crate) asked: String,
}

impl Links {
    /// Turns what stands in headers. What the other side says of its origins holds for another origin than this.
    pub(super) fn turn_headers(&self, headers: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN,
        ] {
            headers.remove(name);
        }
        let location = headers.get(LOCATION).and_then(|v| v.to_str().ok()).map(|l| self.turn(l));
        if let Some(location) = location.and_then(|l| HeaderValue::from_str(&l).ok()) {
            headers.insert(LOCATION, location);
        }
    }

    /// Whether the body is a page whose links can be turned.
    pub(super) fn is_page(headers: &HeaderMap) -> bool {
        let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        kind.split(';').next().is_some_and(|k| k.trim() == "text/html")
            && !headers.contains_key(LOCATION)
            && !headers.contains_key(CONTENT_ENCODING)
    }

    /// The page with its links turned.
    pub(super) fn turn_page(&self, page: &str) -> String {
        html::rewrite(page, |url| self.turn(url))
    }

    fn turn(&self, url: &str) -> String {
        let (origin, path) = split(url);
        let host = origin.rsplit("//").next().unwrap_or_default();
        let foreign = !(host.is_empty() || host == self.theirs || host == self.asked);
        if foreign || !path.starts_with('/') {
            return url.to_owned();
        }
        let origin = if host == self.asked { origin } else { "" };
        let root = if path.starts_with(&self.root) { "" } else { &self.root };
        format!("{origin}{root}{path}")
    }
}

/// `scheme://host` and what follows.
fn split(url: &str) -> (&str, &str) {
    let start = match url.find("://") {
        Some(n) if url[..n].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => n + 3,
        _ if url.starts_with("//") => 2,
        _ => return ("", url),
    };
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |n| start + n);
    url.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_root_goes_through_the_proxy() {
        let links = Links { root: "/r/proxy".into(), theirs: "10.0.0.1:80".into(), asked: "k:6443".into() };
        for (url, expected) in [
            ("/x?a=b#c", "/r/proxy/x?a=b#c"),
            ("x/y", "x/y"),
            ("#top", "#top"),
            ("/r/proxy/x", "/r/proxy/x"),
            ("http://10.0.0.1:80/x", "/r/proxy/x"),
            ("https://k:6443/x", "https://k:6443/r/proxy/x"),
            ("//example.com/x", "//example.com/x"),
            ("https://example.com", "https://example.com"),
            ("mailto:a@b", "mailto:a@b"),
        ] {
            assert_eq!(links.turn(url), expected);
        }
        assert_eq!(
            links.turn_page("<a href=\"/rewriteme\">test</a>"),
            "<a href=\"/r/proxy/rewriteme\">test</a>"
        );
    }
}
