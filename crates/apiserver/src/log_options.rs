//! What may be asked of a log (`ValidatePodLogOptions` in `pkg/apis/core/validation`).

use meta::Status;
use meta::field::{FieldError, FieldPath};

/// Streams that can be asked for (KEP-3288).
const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];
/// Numbers with the least that they may be, and how that is said.
const NUMBERS: [(&str, i64, &str); 3] = [
    ("tailLines", 0, "must be greater than or equal to 0"),
    ("limitBytes", 1, "must be greater than 0"),
    ("sinceSeconds", 1, "must be greater than 0"),
];

/// Fails with everything that is wrong with the query of a pod's log.
pub(crate) fn check(pod: &str, pairs: &[(String, String)]) -> Result<(), Status> {
    let value = |name: &str| pairs.iter().find(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v.as_str());
    let mut faults = Vec::new();
    for (name, least, rule) in NUMBERS {
        let Some(text) = value(name) else { continue };
        let number: i64 = text.parse().map_err(|_| {
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })?;
        if number < least {
            faults.push(FieldError::invalid(&FieldPath::new(name), number, rule));
        }
    }
    let none = FieldPath::new("");
    if value("sinceSeconds").is_some() && value("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        faults.push(FieldError::forbidden(&none, why));
    }
    if let Some(stream) = value("stream") {
        if !STREAMS.contains(&stream) {
            faults.push(FieldError::not_supported(&FieldPath::new("stream"), stream, &STREAMS));
        }
        if stream != "All" && value("tailLines").is_some() {
            let why = "`tailLines` and specific `stream` are mutually exclusive for now";
            faults.push(FieldError::forbidden(&none, why));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", pod, &faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn told(query: &[(&str, &str)]) -> String {
        let pairs: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match check("p", &pairs) {
            Ok(()) => "fine".into(),
            Err(status) => format!("{} {}", status.code, status.message),
        }
    }

    #[test]
    fn numbers_times_and_streams() {
        assert_eq!(told(&[("tailLines", "0"), ("limitBytes", "1"), ("sinceSeconds", "1")]), "fine");
        assert_eq!(
            told(&[("stream", "Stderr"), ("sinceTime", "2026-01-01T00:00:00Z"), ("tailLines", "")]),
            "fine"
        );
        let all = [
            told(&[("tailLines", "-2"), ("limitBytes", "0"), ("sinceSeconds", "0")]),
            told(&[("sinceSeconds", "1"), ("sinceTime", "2026-01-01T00:00:00Z")]),
            told(&[("stream", "X"), ("tailLines", "1")]),
            told(&[("tailLines", "many")]),
        ];
        expect![[r#"
            422 PodLogOptions "p" is invalid: [tailLines: Invalid value: -2: must be greater than or equal to 0, limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]
            422 PodLogOptions "p" is invalid: <nil>: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified
            422 PodLogOptions "p" is invalid: [stream: Unsupported value: "X": supported values: "All", "Stderr", "Stdout", <nil>: Forbidden: `tailLines` and specific `stream` are mutually exclusive for now]
            400 strconv.ParseInt: parsing "many": invalid syntax"#]].assert_eq(&all.join("\n"));
    }
}
