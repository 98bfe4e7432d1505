use super::{Entry, merge, to_yaml, write};
use crate::pki::Pair;
use expect_test::expect;
use serde_json::json;

fn pair() -> Pair {
    Pair { cert: "CERT".into(), key: "KEY".into() }
}

#[test]
fn writes_a_new_file() {
    let pair = pair();
    let entry = Entry { name: "ironclad", server: "https://127.0.0.1:6443", ca: "CA", client: &pair };
    expect![[r#"
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority-data: Q0E=
            server: https://127.0.0.1:6443
          name: ironclad
        contexts:
        - context:
            cluster: ironclad
            user: ironclad-admin
          name: ironclad
        current-context: ironclad
        kind: Config
        users:
        - name: ironclad-admin
          user:
            client-certificate-data: Q0VSVA==
            client-key-data: S0VZ
    "#]]
    .assert_eq(&to_yaml(&merge(None, &entry).unwrap()));
}

#[test]
fn keeps_what_is_there() {
    let pair = pair();
    let entry = Entry { name: "ironclad", server: "https://[::1]:6443", ca: "CA", client: &pair };
    let old = json!({"apiVersion": "v1", "kind": "Config", "current-context": "work", "preferences": {},
        "clusters": [{"name": "work", "cluster": {"server": "https://work"}}, {"name": "ironclad", "cluster": {"server": "old"}}],
        "contexts": null,
        "users": [{"name": "work", "user": {"token": "0123", "exec": {"args": ["get-token", "yes", "- x", ""], "env": null}}}]});
    let merged = merge(Some(old), &entry).unwrap();
    expect![[r#"
        apiVersion: v1
        clusters:
        - cluster:
            server: https://work
          name: work
        - cluster:
            certificate-authority-data: Q0E=
            server: "https://[::1]:6443"
          name: ironclad
        contexts:
        - context:
            cluster: ironclad
            user: ironclad-admin
          name: ironclad
        current-context: work
        kind: Config
        preferences: {}
        users:
        - name: work
          user:
            exec:
              args:
              - get-token
              - "yes"
              - "- x"
              - ""
              env: null
            token: "0123"
        - name: ironclad-admin
          user:
            client-certificate-data: Q0VSVA==
            client-key-data: S0VZ
    "#]]
    .assert_eq(&to_yaml(&merged));
    assert_eq!(merge(Some(merged.clone()), &entry).unwrap(), merged);
}

#[test]
fn leaves_other_files_alone() {
    let pair = pair();
    let entry = Entry { name: "ironclad", server: "https://x", ca: "CA", client: &pair };
    let refused = |v| merge(Some(v), &entry).unwrap_err().to_string();
    expect!["the existing file is not a kubeconfig (its kind is not Config): it was left as it is; name another file"]
        .assert_eq(&refused(json!({"kind": "Pod"})));
    expect![
        "the existing file is not a kubeconfig (it is not a map): it was left as it is; name another file"
    ]
    .assert_eq(&refused(json!(["x"])));
    expect!["the existing file is not a kubeconfig (users): it was left as it is; name another file"]
        .assert_eq(&refused(json!({"users": "x"})));
}

#[test]
fn files_are_merged_in_one_step() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let pair = pair();
    let entry = Entry { name: "ironclad", server: "https://x", ca: "CA", client: &pair };
    let file = dir.path().join("config");
    write(&file, &entry).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (inode, text) = (std::fs::metadata(&file).unwrap().ino(), std::fs::read_to_string(&file).unwrap());
    write(&file, &entry).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode, "nothing changed");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    write(&link, &Entry { name: "other", ..entry }).unwrap();
    assert!(link.is_symlink());
    let both = std::fs::read_to_string(&file).unwrap();
    assert!(both.contains("- name: other") && both.contains("current-context: ironclad"), "{both}");
    assert_eq!(meta::yaml::decode(&text).unwrap().value["current-context"], "ironclad");
    std::fs::write(&file, "a: [").unwrap();
    let refused =
        write(&file, &Entry { name: "x", server: "https://x", ca: "CA", client: &pair }).unwrap_err();
    assert!(refused.to_string().contains("it was left as it is"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a: [");
}
