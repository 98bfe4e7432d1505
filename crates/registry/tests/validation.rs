//! What people write by hand and get wrong, and what the server says to it. The cases are the files in `validation/`: a
//! manifest, after `~~~~` the changed manifest if it is about an update (after `~~~~status` if it is about that part),
//! after `----` what is said, faults first; `====` ends a case. The answers are rewritten with `UPDATE_EXPECT=1 cargo test -p registry`.

use expect_test::{ExpectFile, expect_file};
use meta::Object;
use registry::{Action, Context, Kind};

fn read(text: &str) -> (&'static Kind, Object) {
    let value = meta::yaml::decode(text).expect("YAML").value;
    let mut object = Object::from_value(value).expect("an object");
    let gvk = object.gvk();
    let kind = registry::by_kind(&gvk.group, &gvk.version, &gvk.kind).expect("a kind of ours");
    if kind.namespaced {
        object.metadata.namespace = "default".to_owned();
    }
    object.metadata.uid = "d223b639".to_owned();
    kind.default(&mut object);
    (kind, object)
}

/// Splits a case into manifest, changed part of the object, and changed manifest.
fn split(input: &str) -> (&str, Option<(&str, &str)>) {
    let Some((old, rest)) = input.split_once("~~~~") else { return (input, None) };
    (old, rest.split_once('\n'))
}

/// Faults and warnings of a new object, or of a change, one a line.
fn said(text: &str, changed: Option<(&str, &str)>) -> String {
    let context = Context::at(jiff::Timestamp::UNIX_EPOCH);
    let (kind, mut object) = read(text);
    if changed.is_none_or(|(part, _)| part.is_empty()) {
        kind.prepare_for_create(&mut object, &context);
    }
    let (faults, warnings) = match changed {
        None => {
            let faults = [kind.validate_name(&object), kind.validate(&object)].concat();
            (faults, (kind.strategy.warnings)(&object, None))
        }
        Some((part, changed)) => {
            let (_, mut new) = read(changed);
            let named = kind.subresources.iter().find(|s| s.name == part);
            let update = named.and_then(|s| match s.action {
                Action::Update(update) => Some(update),
                _ => None,
            });
            assert_eq!(update.is_some(), !part.is_empty(), "no part {part}");
            kind.prepare_for_update(update, &mut new, &object, &context);
            let faults = kind.validate_update(update, &new, &object);
            let warnings =
                if part.is_empty() { (kind.strategy.warnings)(&new, Some(&object)) } else { Vec::new() };
            (faults, warnings)
        }
    };
    let mut lines: Vec<String> = faults.iter().map(|f| format!("{f}\n")).collect();
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines.into_iter().chain(warnings.iter().map(|w| format!("Warning: {w}\n"))).collect()
}

fn check(file: &ExpectFile) {
    let mut out = String::new();
    for case in file.data().split("====\n").filter(|case| !case.trim().is_empty()) {
        let (input, _) = case.split_once("----\n").expect("a case has an answer");
        let (old, changed) = split(input);
        out.push_str(&format!("{input}----\n{}====\n", said(old, changed)));
    }
    file.assert_eq(&out);
}

#[test]
fn faults_are_told_in_upstreams_words() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validation");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{folder} holds the cases");
    files.iter().for_each(|path| check(&expect_file![path]));
}
