//! The binary's own words, without a cluster.

use std::process::{Command, Output};

fn ironclad(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ironclad")).args(args).output().unwrap()
}

#[test]
fn version_and_completion() {
    let version = String::from_utf8(ironclad(&["version"]).stdout).unwrap();
    assert!(version.contains("Kubernetes API v1.37"), "{version}");
    let bash = String::from_utf8(ironclad(&["completion", "bash"]).stdout).unwrap();
    assert!(bash.contains("_ironclad"));
}

#[test]
fn what_is_not_there_is_said_in_one_sentence() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("none").to_string_lossy().into_owned();
    for command in [["down", "--data-dir", &dir], ["kubeconfig", "--data-dir", &dir]] {
        let out = ironclad(&command);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.starts_with("ironclad: there is no cluster in "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!tmp.path().join("none").exists());
}
