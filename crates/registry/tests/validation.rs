//! What people write by hand and get wrong, and what the server says to it. The cases are the files in `validation/`: a
//! manifest, after `~~~~` the changed manifest if it is about an update, after `----` what is said, faults first; `====`
//! ends a case. The answers are rewritten with `UPDATE_EXPECT=1 cargo test -p registry`.

use expect_test::{ExpectFile, expect_file};
use meta::Object;
use registry::{Context, Kind};

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

/// Faults and warnings of a new object, or of a change, one a line.
fn said(text: &str, changed: Option<&str>) -> String {
    let context = Context::at(jiff::Timestamp::UNIX_EPOCH);
    let (kind, mut object) = read(text);
    kind.prepare_for_create(&mut object, &context);
    let (faults, warnings) = match changed {
        None => {
            let faults = [kind.validate_name(&object), kind.validate(&object)].concat();
            (faults, (kind.strategy.warnings)(&object, None))
        }
        Some(changed) => {
            let (_, mut new) = read(changed);
            kind.prepare_for_update(None, &mut new, &object, &context);
            let faults = kind.validate_update(None, &new, &object);
            (faults, (kind.strategy.warnings)(&new, Some(&object)))
        }
    };
    let faults = faults.iter().map(|f| format!("{f}\n"));
    faults.chain(warnings.iter().map(|w| format!("Warning: {w}\n"))).collect()
}

fn check(file: &ExpectFile) {
    let mut out = String::new();
    for case in file.data().split("====\n").filter(|case| !case.trim().is_empty()) {
        let (input, _) = case.split_once("----\n").expect("a case has an answer");
        let answer = match input.split_once("~~~~\n") {
            Some((old, new)) => said(old, Some(new)),
            None => said(input, None),
        };
        out.push_str(&format!("{input}----\n{answer}====\n"));
    }
    file.assert_eq(&out);
}

#[test]
fn pods() {
    check(&expect_file!["validation/pods.txt"]);
}

#[test]
fn workloads() {
    check(&expect_file!["validation/workloads.txt"]);
}

#[test]
fn networks() {
    check(&expect_file!["validation/networks.txt"]);
}

#[test]
fn policy() {
    check(&expect_file!["validation/policy.txt"]);
}

#[test]
fn storage() {
    check(&expect_file!["validation/storage.txt"]);
}

#[test]
fn definitions() {
    check(&expect_file!["validation/definitions.txt"]);
}

#[test]
fn warnings() {
    check(&expect_file!["validation/warnings.txt"]);
}
