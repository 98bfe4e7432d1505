//! Families of metrics as text (Prometheus text format 0.0.4).

use std::fmt::Write;

/// The content type.
pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One family: name, kind and help, then each line as labels and value.
pub(crate) fn family(out: &mut String, (name, kind, help): (&str, &str, &str), lines: Vec<String>) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for l in lines {
        let _ = writeln!(out, "{name}{l}");
    }
}

/// Labels in braces, in the order given; the values with their quotes and breaks escaped.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> String {
    let quoted = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let all: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}=\"{}\"", quoted(v))).collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_text() {
        let mut out = String::new();
        let line = format!("{} 1", labels(&[("pod", "a"), ("reason", "say \"x\"\n")]));
        family(&mut out, ("n_total", "counter", "Help."), vec![line]);
        assert_eq!(
            out,
            "# HELP n_total Help.\n# TYPE n_total counter\nn_total{pod=\"a\",reason=\"say \\\"x\\\"\\n\"} 1\n"
        );
    }
}
