//! YAML out of JSON values, as `kubectl -o yaml` writes it (sigs.k8s.io/yaml): block style, keys sorted, and quotes only
//! where a plain scalar would be read as something else.

use serde_json::Value;

/// The document for a value.
pub(crate) fn to_yaml(v: &Value) -> String {
    let mut out = String::new();
    match v {
        Value::Object(m) if !m.is_empty() => map(m, 0, &mut out),
        Value::Array(a) if !a.is_empty() => list(a, 0, &mut out),
        other => {
            scalar(other, &mut out);
            out.push('\n');
        }
    }
    out
}

fn map(m: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    for (i, (key, v)) in m.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        text(key, out);
        out.push(':');
        entry(v, indent, out);
    }
}

/// What stands behind `key:`. Lists in maps are not indented further, as Go's YAML has it.
fn entry(v: &Value, indent: usize, out: &mut String) {
    match v {
        Value::Object(m) if !m.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            map(m, indent + 2, out);
        }
        Value::Array(a) if !a.is_empty() => {
            out.push('\n');
            pad(indent, out);
            list(a, indent, out);
        }
        other => {
            out.push(' ');
            scalar(other, out);
            out.push('\n');
        }
    }
}

fn list(a: &[Value], indent: usize, out: &mut String) {
    for (i, v) in a.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match v {
            Value::Object(m) if !m.is_empty() => map(m, indent + 2, out),
            Value::Array(inner) if !inner.is_empty() => list(inner, indent + 2, out),
            other => {
                scalar(other, out);
                out.push('\n');
            }
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(v: &Value, out: &mut String) {
    match v {
        Value::String(s) => text(s, out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        other => out.push_str(&other.to_string()),
    }
}

/// A string, in double quotes (JSON's are YAML's) unless it is certainly read back as the same string.
fn text(s: &str, out: &mut String) {
    if is_plain(s) {
        out.push_str(s);
    } else {
        out.push_str(&Value::from(s).to_string());
    }
}

fn is_plain(s: &str) -> bool {
    let safe_first = s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let safe = s.chars().all(|c| c.is_ascii_alphanumeric() || " /_.-+=@:()".contains(c));
    let word = matches!(
        s.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    safe_first && safe && !word && !s.contains(": ") && !s.ends_with([':', ' '])
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn writes_what_is_read_back_the_same() {
        let v = serde_json::json!({"a": {"b": [1, "1", {"c": "no", "d": []}], "e": {}}, "f: ": "x: y", "g": "l1\nl2",
            "h": null, "i": [[1, 2], ["z"]], "t": "2020-01-01T00:00:00Z"});
        expect![[r#"
            a:
              b:
              - 1
              - "1"
              - c: "no"
                d: []
              e: {}
            "f: ": "x: y"
            g: "l1\nl2"
            h: null
            i:
            - - 1
              - 2
            - - z
            t: "2020-01-01T00:00:00Z"
        "#]]
        .assert_eq(&super::to_yaml(&v));
    }
}
