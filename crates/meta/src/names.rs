//! Which strings may be names, label keys, port names and so on, with upstream's messages
//! (`k8s.io/apimachinery/pkg/util/validation` and `pkg/api/validate/content`).
//!
//! Each check returns the list of what is wrong: empty means good. Callers put the texts into
//! [`crate::FieldError::invalid`] one by one.

/// Longest RFC 1123 or RFC 1035 label.
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS subdomain.
pub const DNS_SUBDOMAIN_MAX: usize = 253;
/// Longest label value, and longest name part of a label key.
pub const LABEL_VALUE_MAX: usize = 63;
/// Longest port name.
pub const PORT_NAME_MAX: usize = 15;

const LABEL_1123: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_1123: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn too_long(max: usize, unit: &str) -> String {
    format!("must be no more than {max} {unit}")
}

/// The sentence that names the rule, examples and regular expression, in upstream's form.
pub fn regex_error(msg: &str, re: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{msg} (regex used for validation is '{re}')");
    }
    let list: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{msg} (e.g. {}regex used for validation is '{re}')", list.join(" or "))
}

/// `first` and `last` class at the ends, `inner` class between; not empty.
fn shaped(s: &str, first: fn(u8) -> bool, inner: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    let b = s.as_bytes();
    let (Some(&head), Some(&tail)) = (b.first(), b.last()) else { return false };
    first(head) && last(tail) && b.iter().all(|&c| inner(c))
}

fn lower_alnum(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn label_inner(c: u8) -> bool {
    lower_alnum(c) || c == b'-'
}

fn is_label(s: &str) -> bool {
    shaped(s, lower_alnum, label_inner, lower_alnum)
}

fn is_subdomain(s: &str) -> bool {
    s.split('.').all(is_label)
}

fn subdomain(value: &str, unit: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(too_long(DNS_SUBDOMAIN_MAX, unit));
    }
    if !is_subdomain(value) {
        let msg = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        errors.push(regex_error(msg, SUBDOMAIN_1123, &["example.com"]));
    }
    errors
}

/// An RFC 1123 label, as names of namespaces and containers are.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(too_long(DNS_LABEL_MAX, "characters"));
    }
    if is_label(value) {
        return errors;
    }
    if is_subdomain(value) {
        errors.push("must not contain dots".to_owned());
    } else {
        let msg = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
        errors.push(regex_error(msg, LABEL_1123, &["my-name", "123-abc"]));
    }
    errors
}

/// An RFC 1123 subdomain, as most objects' names are.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    subdomain(value, "characters")
}

/// An RFC 1123 subdomain whose labels may hold `_` (node names in some selectors, DNS search paths).
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(too_long(DNS_SUBDOMAIN_MAX, "characters"));
    }
    let label = |s: &str| {
        let s = s.strip_prefix('_').unwrap_or(s);
        shaped(s, lower_alnum, |c| label_inner(c) || c == b'_', lower_alnum)
    };
    if !value.split('.').all(label) {
        let msg = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
        let re = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
        errors.push(regex_error(msg, re, &["example.com"]));
    }
    errors
}

/// `*.` and an RFC 1123 subdomain.
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(too_long(DNS_SUBDOMAIN_MAX, "characters"));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        let msg = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        errors.push(regex_error(msg, &format!(r"\*\.{SUBDOMAIN_1123}"), &["*.example.com"]));
    }
    errors
}

/// An RFC 1035 label, as names of services are.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(too_long(DNS_LABEL_MAX, "characters"));
    }
    if !shaped(value, |c| c.is_ascii_lowercase(), label_inner, lower_alnum) {
        let msg = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        errors.push(regex_error(msg, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    errors
}

fn is_key_name(s: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    shaped(s, |c| c.is_ascii_alphanumeric(), inner, |c| c.is_ascii_alphanumeric())
}

/// A label key: `name` or `example.com/name`. Annotation keys are checked in lower case by the caller.
pub fn qualified_name(value: &str) -> Vec<String> {
    let msg = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let rule = || regex_error(msg, LABEL_KEY, &["MyName", "my.name", "123-abc"]);
    let mut errors = Vec::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            let tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {} {tail}", rule())];
        }
        Some(("", name)) => {
            errors.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            errors.extend(subdomain(prefix, "bytes").iter().map(|e| format!("prefix part {e}")));
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_VALUE_MAX {
        errors.push(format!("name part {}", too_long(LABEL_VALUE_MAX, "bytes")));
    }
    if !is_key_name(name) {
        errors.push(format!("name part {}", rule()));
    }
    errors
}

/// A label value: empty, or like the name part of a key.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_VALUE_MAX {
        errors.push(too_long(LABEL_VALUE_MAX, "bytes"));
    }
    if !value.is_empty() && !is_key_name(value) {
        let msg = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        errors.push(regex_error(msg, &format!("({LABEL_KEY})?"), &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// A C identifier.
pub fn c_identifier(value: &str) -> Vec<String> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    if shaped(value, |c| c.is_ascii_alphabetic() || c == b'_', inner, inner) {
        return Vec::new();
    }
    let msg = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![regex_error(msg, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

fn in_range(ok: bool, lo: i64, hi: i64) -> Vec<String> {
    if ok { Vec::new() } else { vec![format!("must be between {lo} and {hi}, inclusive")] }
}

/// `min..=max`.
pub fn range(value: i64, min: i64, max: i64) -> Vec<String> {
    in_range((min..=max).contains(&value), min, max)
}

/// A TCP, UDP or SCTP port number.
pub fn port_number(port: i64) -> Vec<String> {
    range(port, 1, 65535)
}

/// A user or group ID.
pub fn user_id(id: i64) -> Vec<String> {
    range(id, 0, i64::from(i32::MAX))
}

/// An IANA service name, as ports of containers and services have.
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > PORT_NAME_MAX {
        errors.push(too_long(PORT_NAME_MAX, "characters"));
    }
    if value.is_empty() || !value.bytes().all(label_inner) {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|c| c.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// `40%`.
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return Vec::new();
    }
    let msg = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_error(msg, "[0-9]+%", &["1%", "93%"])]
}

/// Name of an HTTP header in a probe.
pub fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Vec::new();
    }
    let msg = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(msg, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

fn dots(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        v if v.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// Name of an environment variable under the strict rule.
pub fn env_var_name(value: &str) -> Vec<String> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    let mut errors = Vec::new();
    if !shaped(value, |c| c.is_ascii_alphabetic() || matches!(c, b'-' | b'.' | b'_'), inner, inner) {
        let msg = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit";
        let re = "[-._a-zA-Z][-._a-zA-Z0-9]*";
        errors.push(regex_error(msg, re, &["my.env-name", "MY_ENV.NAME", "MyEnvName1"]));
    }
    errors.extend(dots(value));
    errors
}

/// Name of an environment variable under the relaxed rule, which is the default since 1.32.
pub fn relaxed_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// Key of a ConfigMap or Secret.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(too_long(DNS_SUBDOMAIN_MAX, "characters"));
    }
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(good) {
        let msg = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(regex_error(msg, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    errors.extend(dots(value));
    errors
}

/// A name that can stand as one segment of a URL path, as RBAC objects' names are.
pub fn path_segment(value: &str) -> Vec<String> {
    match value {
        "." | ".." => vec![format!("may not be '{value}'")],
        v => {
            ["/", "%"].iter().filter(|c| v.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
        }
    }
}

/// An IP address in a field of today's strictness: parseable, no leading zeros, not IPv4 in IPv6, canonical.
pub fn ip(value: &str) -> Vec<String> {
    let mut errors = legacy_ip(value);
    if errors.is_empty()
        && let Ok(ip) = value.parse::<std::net::IpAddr>()
        && ip.to_string() != value
    {
        errors.push(format!("must be in canonical form ({:?})", ip.to_string()));
    }
    errors
}

/// An IP address in a field that predates the canonical-form rule (`StrictIPCIDRValidation` on).
pub fn legacy_ip(value: &str) -> Vec<String> {
    let text = match value.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            "must not be an IPv4-mapped IPv6 address"
        }
        Ok(_) => return Vec::new(),
        Err(_) if sloppy_v4(value).is_some() => "must not have leading 0s",
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    vec![text.to_owned()]
}

/// Four decimal octets, leading zeros allowed, as Go parsed them before 1.17.
fn sloppy_v4(value: &str) -> Option<std::net::Ipv4Addr> {
    let octet = |s: &str| {
        let digits = !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit());
        digits
            .then(|| s.trim_start_matches('0'))
            .and_then(|s| if s.is_empty() { Some(0) } else { s.parse().ok() })
    };
    let octets: Vec<u8> = value.split('.').map(octet).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(octets).ok().map(std::net::Ipv4Addr::from)
}

/// An address block such as `10.9.8.0/24`, strict and canonical.
pub fn cidr(value: &str) -> Vec<String> {
    let errors = legacy_cidr(value);
    if !errors.is_empty() {
        return errors;
    }
    let Some((addr, len)) = parse_cidr(value) else { return errors };
    let canonical = format!("{addr}/{len}");
    if canonical == value { errors } else { vec![format!("must be in canonical form ({canonical:?})")] }
}

/// An address block in a field that predates the canonical-form rule (`StrictIPCIDRValidation` on).
pub fn legacy_cidr(value: &str) -> Vec<String> {
    let text = match parse_cidr(value) {
        Some((std::net::IpAddr::V6(v6), _)) if v6.to_ipv4_mapped().is_some() => {
            "must not have an IPv4-mapped IPv6 address"
        }
        Some((addr, len)) if mask(addr, len) != addr => "must not have bits set beyond the prefix length",
        Some(_) => return Vec::new(),
        None if sloppy_cidr(value) => "must not have leading 0s in IP or prefix length",
        None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    };
    vec![text.to_owned()]
}

/// Splits `10.9.8.7/24` into its address and prefix length; none unless both are well formed.
pub fn parse_cidr(value: &str) -> Option<(std::net::IpAddr, u8)> {
    let (addr, len) = value.split_once('/')?;
    let addr: std::net::IpAddr = addr.parse().ok()?;
    let plain = len == "0" || (!len.starts_with('0') && len.bytes().all(|c| c.is_ascii_digit()));
    let len: u8 = if plain { len.parse().ok()? } else { return None };
    (len <= if addr.is_ipv4() { 32 } else { 128 }).then_some((addr, len))
}

fn sloppy_cidr(value: &str) -> bool {
    let Some((addr, len)) = value.split_once('/') else { return false };
    let v4 = sloppy_v4(addr).is_some();
    let bits = len.bytes().all(|c| c.is_ascii_digit()).then(|| len.parse::<u32>().ok()).flatten();
    bits.is_some_and(|n| (v4 && n <= 32) || (addr.parse::<std::net::Ipv6Addr>().is_ok() && n <= 128))
}

/// The first address of the block that `addr/len` lies in.
pub fn mask(addr: std::net::IpAddr, len: u8) -> std::net::IpAddr {
    match addr {
        std::net::IpAddr::V4(a) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            std::net::Ipv4Addr::from(u32::from(a) & keep).into()
        }
        std::net::IpAddr::V6(a) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(a) & keep).into()
        }
    }
}

/// A decimal integer with no sign but `-`, no leading zeros and no spaces (resource versions, replica counts in text).
pub fn decimal_integer(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["must be non-empty".to_owned()];
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let good = value == "0"
        || (digits.bytes().all(|c| c.is_ascii_digit()) && !digits.is_empty() && !digits.starts_with('0'));
    if good { Vec::new() } else { vec!["must be a valid decimal integer in canonical form".to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        for good in ["a", "ab", "a1", "a-1", "a--1--2--b", "0", "01", "1-a", &"a".repeat(63)] {
            assert!(dns1123_label(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "aBc", "-", "a-", "-a", "_", "a_b", ".", "a.b", " ", "a b", &"a".repeat(64)] {
            assert!(!dns1123_label(bad).is_empty(), "{bad}");
        }
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        for good in ["a.a", "a1.a", "0.1", "11.22.33.44.55", &"a".repeat(253)] {
            assert!(dns1123_subdomain(good).is_empty(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "A.a", "a@b", "a_b", &"a".repeat(254)] {
            assert!(!dns1123_subdomain(bad).is_empty(), "{bad}");
        }
        assert!(dns1035_label("a-1").is_empty());
        assert!(!dns1035_label("1-a").is_empty());
        assert!(wildcard_dns1123_subdomain("*.a.b").is_empty());
        assert!(!wildcard_dns1123_subdomain("*.").is_empty());
        assert!(dns1123_subdomain_with_underscore("_a.b_c").is_empty());
    }

    #[test]
    fn qualified_names() {
        for good in
            ["simple", "now-with-dashes", "1-starts", "1.2.3", "a/b", "1.2.3.4/5678", "Uppercase_Is_OK"]
        {
            assert!(qualified_name(good).is_empty(), "{good}");
        }
        for bad in ["nospecialchars%^=@", "a/b/c", "/x", "x/", "", &"x".repeat(64), "cantendwith-"] {
            assert!(!qualified_name(bad).is_empty(), "{bad}");
        }
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert!(label_value("").is_empty());
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    }

    #[test]
    fn the_small_ones() {
        assert!(port_name("http-1").is_empty());
        assert_eq!(port_name("1"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert!(relaxed_env_var_name("a b%").is_empty());
        assert!(!relaxed_env_var_name("a=b").is_empty());
        assert_eq!(config_map_key(".."), ["must not be '..'"]);
        assert_eq!(path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
        assert!(decimal_integer("-7").is_empty() && !decimal_integer("07").is_empty());
        assert_eq!(ip("010.0.0.1"), ["must not have leading 0s"]);
        assert_eq!(ip("FE80::1"), [r#"must be in canonical form ("fe80::1")"#]);
        assert_eq!(ip("::ffff:1.2.3.4"), ["must not be an IPv4-mapped IPv6 address"]);
        assert_eq!(ip("x"), ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
        assert_eq!(cidr("10.0.0.1/24"), ["must not have bits set beyond the prefix length"]);
        assert_eq!(cidr("10.0.0.0/024"), ["must not have leading 0s in IP or prefix length"]);
        assert!(cidr("10.0.0.0/8").is_empty() && cidr("::/0").is_empty() && cidr("0.0.0.0/0").is_empty());
    }
}
