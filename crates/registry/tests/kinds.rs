//! All kinds in one table: what clients find out by discovery, and docs/compatibility.md. Both are compared with what is
//! committed, and rewritten with `UPDATE_EXPECT=1 cargo test -p registry`.

use expect_test::expect_file;
use registry::{Action, Kind, Verbs};
use std::fmt::Write as _;

fn words(verbs: Verbs) -> String {
    match verbs {
        Verbs::ALL => "all".to_owned(),
        verbs => verbs.words().collect::<Vec<_>>().join(","),
    }
}

fn resource(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
    format!("{}{group}/{}", kind.resource, kind.version)
}

/// One paragraph for each kind.
fn inventory() -> String {
    let mut out = String::new();
    for kind in registry::kinds() {
        let scope = if kind.namespaced { "namespaced" } else { "cluster" };
        let _ = writeln!(out, "{} {} ({scope}): {}", resource(kind), kind.kind, words(kind.verbs));
        let names = [kind.short_names.join(","), kind.categories.join(",")].join(" ");
        if !names.trim().is_empty() {
            let _ = writeln!(out, "  names: {}", names.trim());
        }
        for sub in &kind.subresources {
            let _ = writeln!(out, "  /{}: {} {}", sub.name, sub.kind, words(sub.verbs));
        }
        let column = |c: &registry::Column| format!("{}{}", c.name, if c.priority > 0 { "*" } else { "" });
        let columns: Vec<String> = kind.columns.iter().map(column).collect();
        let _ = writeln!(out, "  columns: {}", columns.join(" | "));
        if !kind.fields.is_empty() {
            let fields: Vec<&str> = kind.fields.iter().map(|f| f.label.as_ref()).collect();
            let _ = writeln!(out, "  fields: {}", fields.join(" "));
        }
        let _ = writeln!(out, "  key: {}", kind.key("NAMESPACE", "NAME").as_deref().unwrap_or("-"));
    }
    out
}

#[test]
fn inventory_is_as_committed() {
    expect_file!["kinds.txt"].assert_eq(&inventory());
}

/// A row of the page for users.
fn row(kind: &Kind) -> String {
    let parts: Vec<&str> = kind.subresources.iter().map(|s| s.name.as_ref()).collect();
    let stored = if kind.stored.is_some() { "yes" } else { "answers only" };
    let scope = if kind.namespaced { "namespaced" } else { "cluster" };
    let group = if kind.group.is_empty() { "core" } else { &kind.group };
    format!("| {group} | {} | {} | {scope} | {stored} | {} |\n", kind.version, kind.kind, parts.join(", "))
}

#[test]
fn the_compatibility_page_is_as_committed() {
    let mut page = "# Compatibility\n\n\
        Made by `crates/registry/tests/kinds.rs` from the list of kinds; rewrite it with \
        `UPDATE_EXPECT=1 cargo test -p registry`.\n\n\
        Ironclad serves the API of Kubernetes 1.37: the kinds below, each in the versions that are generally \
        available. Subresources are listed where they are routed.\n\n\
        | group | version | kind | scope | stored | subresources |\n|---|---|---|---|---|---|\n"
        .to_owned();
    registry::kinds().iter().for_each(|kind| page.push_str(&row(kind)));
    expect_file!["../../../docs/compatibility.md"].assert_eq(&page);
}

#[test]
fn kinds_are_consistent() {
    for kind in registry::kinds() {
        let found = registry::by_resource(&kind.group, &kind.version, &kind.resource);
        assert!(found.is_some_and(|k| k.kind == kind.kind), "{}", kind.kind);
        assert_eq!(kind.key_prefix().is_some(), kind.verbs.contains(Verbs::WATCH), "{}", kind.kind);
        assert_eq!(kind.columns.iter().filter(|c| c.format == "name").count().min(1), 1, "{}", kind.kind);
        assert_eq!(kind.has_status(), kind.subresources.iter().any(|s| s.name == "status"));
        if kind.subresource("scale").is_some_and(|s| !matches!(s.action, Action::Scale(_))) {
            panic!("{} scales by itself", kind.kind);
        }
    }
}
