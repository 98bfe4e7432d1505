//! The string formats that custom schemas may name (`k8s.io/kube-openapi/pkg/validation/strfmt`). A format that
//! isn't known is not checked.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn is(format: &str, s: &str) -> bool {
    match format {
        "date-time" | "datetime" => s.parse::<jiff::Timestamp>().is_ok(),
        "date" => s.len() == 10 && s.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => s.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => s.parse::<Ipv6Addr>().is_ok(),
        "cidr" => meta::names::parse_cidr(s).is_some(),
        "byte" => is_base64(s),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, s),
        "duration" => is_duration(s),
        "email" => is_email(s),
        "hostname" => is_hostname(s),
        "uri" => is_uri(s),
        "mac" => is_mac(s),
        "k8s-short-name" => meta::names::dns1123_label(s).is_empty(),
        "k8s-long-name" => meta::names::dns1123_subdomain(s).is_empty(),
        _ => true,
    }
}

/// Formats that upstream knows beside those that [`is`] checks.
const UNCHECKED: [&str; 9] =
    ["bsonobjectid", "isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor", "rgbcolor", "password"];
/// Formats that [`is`] checks, without their dashes.
const CHECKED: [&str; 17] = [
    "date",
    "datetime",
    "ipv4",
    "ipv6",
    "cidr",
    "byte",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "duration",
    "email",
    "hostname",
    "uri",
    "mac",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format of strings is one that upstream knows (`apiextensions-apiserver/pkg/apiserver/validation/formats.go`).
pub fn is_known_format(format: &str) -> bool {
    let name = format.replace('-', "");
    CHECKED.contains(&name.as_str()) || UNCHECKED.contains(&name.as_str())
}

fn is_base64(s: &str) -> bool {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(s).is_ok()
}

fn is_uuid(format: &str, s: &str) -> bool {
    let hex: Vec<u8> = s.bytes().filter(|b| *b != b'-').collect();
    let shape = hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit) && (s.len() == 32 || s.len() == 36);
    let version = format.strip_prefix("uuid").unwrap_or_default();
    shape && (version.is_empty() || hex.get(12).copied() == version.bytes().next())
}

/// Go's durations, and words such as `3 days`, as strfmt takes them.
fn is_duration(s: &str) -> bool {
    const WORDS: [&str; 12] = ["ns", "us", "ms", "s", "sec", "second", "m", "min", "minute", "h", "d", "w"];
    if stdx::duration::parse(s).is_ok() {
        return true;
    }
    let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let word = s[digits..].trim().trim_end_matches('s');
    let long = matches!(word, "hour" | "day" | "week" | "hr" | "milli" | "micro" | "nano" | "wk");
    digits > 0 && (WORDS.contains(&word) || long)
}

fn is_email(s: &str) -> bool {
    let Some((local, domain)) = s.rsplit_once('@') else { return false };
    let good = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    !local.is_empty()
        && local.chars().all(good)
        && !domain.is_empty()
        && domain.split('.').all(|l| !l.is_empty())
}

fn is_hostname(s: &str) -> bool {
    let label = |l: &str| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_' || c >= 0x80;
        (1..=63).contains(&l.len()) && l.bytes().all(inner) && !l.starts_with('-') && !l.ends_with('-')
    };
    !s.is_empty() && s.len() <= 255 && s.trim_end_matches('.').split('.').all(label)
}

fn is_uri(s: &str) -> bool {
    let scheme = s.split_once(':').map_or("", |(scheme, _)| scheme);
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
    let printable = s.bytes().all(|c| c > b' ' && c != 0x7f);
    let absolute = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(good);
    printable && (absolute || s.starts_with('/'))
}

fn is_mac(s: &str) -> bool {
    let pairs: Vec<&str> = s.split([':', '-']).collect();
    matches!(pairs.len(), 6 | 8 | 20)
        && pairs.iter().all(|p| p.len() == 2 && u8::from_str_radix(p, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is;

    #[test]
    fn formats() {
        for (format, good, bad) in [
            ("date-time", "2020-01-02T03:04:05Z", "2020-01-02"),
            ("date", "2020-01-02", "2020-1-2"),
            ("ipv4", "1.2.3.4", "::1"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("byte", "aGk=", "a"),
            ("uuid", "f47ac10b-58cc-0372-8567-0e02b2c3d479", "x"),
            ("uuid4", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-0372-8567-0e02b2c3d479"),
            ("duration", "1h30m", "soon"),
            ("email", "a@b.c", "a"),
            ("hostname", "a.b-c.d", "-a"),
            ("uri", "https://x/y", "x y"),
            ("mac", "01:02:03:04:05:06", "01:02"),
            ("k8s-short-name", "a-b", "a.b"),
        ] {
            assert!(is(format, good), "{format} {good}");
            assert!(!is(format, bad), "{format} {bad}");
        }
        assert!(is("nobody-knows", "anything"));
    }
}
