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
    .assert_eq(&to_yaml(&merge(None, &entry).unwrap().0));
}

#[test]
fn keeps_what_is_there() {
    let pair = pair();
    let entry = Entry { name: "ironclad", server: "https://[::1]:6443", ca: "CA", client: &pair };
    let old = json!({"apiVersion": "v1", "kind": "Config", "current-context": "work", "preferences": {},
        "clusters": [{"name": "work", "cluster": {"server": "https://work"}}, {"name": "ironclad", "cluster": {"server": "https://[::1]:6443"}}],
        "contexts": null,
        "users": [{"name": "work", "user": {"token": "0123", "exec": {"args": ["get-token", "yes", "- x", ""], "env": null}}}]});
    let (merged, _) = merge(Some(old), &entry).unwrap();
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
    assert_eq!(merge(Some(merged.clone()), &entry).unwrap().0, merged);
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

#[test]
fn clusters_side_by_side_have_names_of_their_own() {
    let pair = pair();
    let entry = |server, ca| Entry { name: "ironclad", server, ca, client: &pair };
    let put = |old, server, ca| merge(Some(old), &entry(server, ca)).unwrap();
    let (one, name) = put(json!(null), "https://127.0.0.1:6443", "A");
    assert_eq!(name, "ironclad");
    let (two, name) = put(one, "https://127.0.0.1:6444", "B");
    assert_eq!(name, "ironclad-2");
    // Each finds its own again: on another port, and made anew on the same.
    let (three, name) = put(two, "https://127.0.0.1:7000", "B");
    assert_eq!(name, "ironclad-2");
    let (four, name) = put(three, "https://127.0.0.1:6443", "C");
    assert_eq!((name.as_str(), four["current-context"].as_str()), ("ironclad", Some("ironclad")));
    let servers: Vec<_> =
        four["clusters"].as_array().unwrap().iter().map(|c| &c["cluster"]["server"]).collect();
    assert_eq!(servers, ["https://127.0.0.1:6443", "https://127.0.0.1:7000"]);
    assert_eq!(four["contexts"][1]["context"], json!({"cluster": "ironclad-2", "user": "ironclad-2-admin"}));
}

#[test]
fn a_users_file_stays_the_users() {
    use std::os::unix::fs::{MetadataExt, chown};
    let dir = tempfile::tempdir().unwrap();
    let pair = pair();
    let entry = Entry { name: "ironclad", server: "https://x", ca: "CA", client: &pair };
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    // Where the test may not give files away, all of it is our own.
    let user = if chown(&home, Some(65_534), Some(65_534)).is_ok() {
        65_534
    } else {
        home.metadata().unwrap().uid()
    };
    let file = home.join(".kube/deep/config");
    write(&file, &entry).unwrap();
    write(&file, &Entry { name: "other", server: "https://y", ..entry }).unwrap();
    for made in [&file, &home.join(".kube"), &home.join(".kube/deep")] {
        assert_eq!(made.metadata().unwrap().uid(), user, "{}", made.display());
    }
    assert!(super::takes(&file).is_ok() && super::takes(&home.join("none")).is_ok());
    std::fs::write(&file, "kind: Pod").unwrap();
    assert!(super::takes(&file).is_err());
}
