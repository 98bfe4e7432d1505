//! Field selectors: `metadata.name=web,status.phase!=Running`, with `\` escapes in values.

use super::SelectorError;
use std::fmt;

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// Dotted path, for example `spec.nodeName`.
    pub field: String,
    /// Whether the field must be equal to the value (else: different from it).
    pub equals: bool,
    /// The value, unescaped.
    pub value: String,
}

/// A field selector: every term must hold. An absent field reads as the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, sorted as upstream sorts them (by their text).
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Parses a query parameter.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let Some((field, equals, value)) = split_term(part) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            terms.push(FieldTerm { field: field.to_owned(), equals, value: unescape(value)? });
        }
        Ok(Self { terms })
    }

    /// Whether the terms hold; `get` gives a field's text (empty when absent).
    pub fn matches<'a>(&self, get: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|t| (get(&t.field) == t.value) == t.equals)
    }

    /// Whether the selector restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that `field` must have, where a term says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equals && t.field == field).map(|t| t.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let op = if t.equals { "=" } else { "!=" };
            write!(f, "{comma}{}{op}{}", t.field, escape(&t.value))?;
        }
        Ok(())
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=")
}

/// Splits at commas that no backslash escapes; escapes stay in.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut slash) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if slash => slash = false,
            '\\' => slash = true,
            ',' => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

/// Splits at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        for (op, equals) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(rest) = term[i..].strip_prefix(op) {
                return Some((&term[..i], equals, rest));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let bad = |seq: String| SelectorError(format!("invalid field selector: invalid escape sequence: {seq}"));
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(bad(format!("\\{c}"))),
                None => return Err(bad("\\".to_owned())),
            },
            // Upstream prints the rune's number, not the character.
            ',' | '=' => {
                let n = u32::from(c);
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {n}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_print() {
        for (text, want) in [
            ("", ""),
            ("a=b,", "a=b"),
            ("x=a,y==b,z!=c", "x=a,y=b,z!=c"),
            (r"a=x\,y\=z\\", r"a=x\,y\=z\\"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            ("abc", "invalid selector: 'abc'; can't understand 'abc'"),
        ] {
            let got = FieldSelector::parse(text).map_or_else(|e| e.0, |s| s.to_string());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn matching() {
        let s = FieldSelector::parse("spec.nodeName=,metadata.name!=x").unwrap();
        assert!(s.matches(|f| if f == "metadata.name" { "y" } else { "" }));
        assert!(!s.matches(|_| "x"));
        assert_eq!(s.exact("spec.nodeName"), Some(""));
    }
}
