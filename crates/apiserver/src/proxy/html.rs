//! Finds the links of an HTML page, as far as a proxy must: start tags and their attributes, past comments and raw text.

use std::ops::Range;

/// Attributes that hold a URL, by element (HTML 4.01 and HTML 5, indices of attributes).
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is no markup.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];

/// The page with every link as `url` makes it; all else stays as it is.
pub(super) fn rewrite(page: &str, url: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(page.len());
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = page[at..].find('<') {
        let tag = at + found;
        if page[tag..].starts_with("<!--") {
            at = end_of(page, tag, "-->");
            continue;
        }
        let end = skip(page, tag + 1, |b| b.is_ascii_alphanumeric());
        let name = page[tag + 1..end].to_ascii_lowercase();
        at = end;
        if name.is_empty() {
            continue;
        }
        let links = LINKS.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, links)| links);
        at = attributes(page, at, |attribute, value| {
            if links.iter().any(|l| attribute.eq_ignore_ascii_case(l)) {
                out.push_str(&page[copied..value.start]);
                out.push_str(&url(&page[value.clone()]));
                copied = value.end;
            }
        });
        if RAW.contains(&name.as_str()) {
            at = closing(page, at, &name);
        }
    }
    out.push_str(&page[copied..]);
    out
}

/// Tells each attribute with the place of its value, and where the tag ends.
fn attributes(page: &str, mut at: usize, mut each: impl FnMut(&str, Range<usize>)) -> usize {
    let bytes = page.as_bytes();
    let space = |b: u8| b.is_ascii_whitespace();
    loop {
        at = skip(page, at, |b| space(b) || b == b'/');
        match bytes.get(at) {
            None => return at,
            Some(b'>') => return at + 1,
            Some(_) => {}
        }
        let name = at..skip(page, at, |b| !space(b) && !matches!(b, b'=' | b'>' | b'/'));
        at = skip(page, name.end, space);
        if bytes.get(at) != Some(&b'=') {
            continue;
        }
        at = skip(page, at + 1, space);
        let value = match bytes.get(at) {
            Some(quote @ (b'"' | b'\'')) => at + 1..skip(page, at + 1, |b| b != *quote),
            _ => at..skip(page, at, |b| !space(b) && b != b'>'),
        };
        let quoted = value.start > at;
        at = (value.end + usize::from(quoted)).min(page.len());
        each(&page[name], value);
    }
}

fn skip(page: &str, from: usize, over: impl Fn(u8) -> bool) -> usize {
    let rest = page.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().position(|b| !over(*b)).unwrap_or(rest.len())
}

fn end_of(page: &str, from: usize, mark: &str) -> usize {
    page[from..].find(mark).map_or(page.len(), |n| from + n + mark.len())
}

/// Where the closing tag of a raw text begins.
fn closing(page: &str, from: usize, name: &str) -> usize {
    let mut at = from;
    while let Some(n) = page[at..].find("</") {
        at += n + 2;
        if page.as_bytes()[at..].get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name.as_bytes())) {
            return at;
        }
    }
    page.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: &str) {
        assert_eq!(rewrite(page, |u| format!("[{u}]")), expected);
    }

    #[test]
    fn links_are_found_and_nothing_else() {
        check(r#"<a href="/x">t</a>"#, r#"<a href="[/x]">t</a>"#);
        check("<IMG alt=a SRC = /i.png usemap='#m'/>", "<IMG alt=a SRC = [/i.png] usemap='[#m]'/>");
        check("<p href=/x>1 < 2 <a name=b href></p>", "<p href=/x>1 < 2 <a name=b href></p>");
        check("<!-- <a href='/x'> --><a href='/y'>", "<!-- <a href='/x'> --><a href='[/y]'>");
        check(
            "<script src=s>'<a href=\"/x\">'</script ><link href=é>",
            "<script src=[s]>'<a href=\"/x\">'</script ><link href=[é]>",
        );
    }

    #[test]
    fn broken_pages_end() {
        for page in
            ["<", "<a", "<a href", "<a href=", "<a href='/x", "<!--", "<script>", "<a =é=/>", "</", "<é"]
        {
            rewrite(page, str::to_owned);
        }
        check("<a href='/x", "<a href='[/x]");
    }
}
