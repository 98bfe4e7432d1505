//! What needs no node: the API under real kubectl.

use e2e::{Cluster, eventually};

#[test]
fn kubectl_sees_a_cluster() {
    let c = Cluster::control_plane();
    assert!(c.kubectl(&["version"]).ok().contains("Server Version: v1.37"));
    let resources = c.kubectl(&["api-resources"]).ok();
    for line in ["pods ", "deployments ", "customresourcedefinitions ", "networkpolicies "] {
        assert!(resources.contains(line), "{line} is not in\n{resources}");
    }
    let namespaces = c.kubectl(&["get", "namespaces", "-o", "name"]).ok();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(namespaces.contains(&format!("namespace/{name}\n")), "{name} is not in\n{namespaces}");
    }
    assert_eq!(c.kubectl(&["auth", "can-i", "create", "pods"]).ok().trim(), "yes");
}

#[test]
fn create_read_update_patch_delete() {
    let c = Cluster::control_plane();
    c.kubectl(&["create", "configmap", "a", "--from-literal=k=1"]).ok();
    assert_eq!(c.kubectl(&["get", "cm", "a", "-o", "jsonpath={.data.k}"]).ok(), "1");
    c.kubectl(&["patch", "cm", "a", "--type=merge", "-p", r#"{"data":{"k":"2"}}"#]).ok();
    c.kubectl(&["patch", "cm", "a", "--type=json", "-p", r#"[{"op":"add","path":"/data/j","value":"3"}]"#])
        .ok();
    c.kubectl(&["patch", "cm", "a", "-p", r#"{"metadata":{"labels":{"x":"y"}}}"#]).ok();
    let got = c.kubectl(&["get", "cm", "-l", "x=y", "-o", "json"]).json();
    assert_eq!(got["items"][0]["data"], serde_json::json!({"k": "2", "j": "3"}));
    c.kubectl(&["delete", "cm", "a"]).ok();
    assert!(c.kubectl(&["get", "cm", "a"]).fails().contains(r#"configmaps "a" not found"#));
}

#[test]
fn apply_client_and_server_side() {
    let c = Cluster::control_plane();
    let manifest = |n: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {n}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers: [{{name: c, image: 'x:1'}}]\n"
        )
    };
    assert!(c.apply(&manifest(1)).contains("deployment.apps/web created"));
    assert!(c.apply(&manifest(1)).contains("deployment.apps/web unchanged"));
    // As `kubectl` itself it may take over what client-side apply set; as somebody else it may not.
    let server = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let conflict = c.kubectl_with(&server, &manifest(3)).fails();
    assert!(
        conflict.contains(r#"conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#),
        "{conflict}"
    );
    c.kubectl_with(&["apply", "--server-side", "-f", "-"], &manifest(2)).ok();
    c.kubectl_with(&[&server[..], &["--force-conflicts"]].concat(), &manifest(3)).ok();
    assert_eq!(c.kubectl(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]).ok(), "3");
    eventually("replicas", || {
        let n = c.kubectl(&["get", "pods", "-l", "app=web", "-o", "name"]).ok().lines().count();
        if n == 3 { Ok(()) } else { Err(format!("{n} pods")) }
    });
}

#[test]
fn invalid_objects_get_upstreams_words() {
    let c = Cluster::control_plane();
    let bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}\nspec: {containers: []}\n";
    let said = c.kubectl_with(&["create", "-f", "-"], bad).fails();
    assert!(said.contains("metadata.name: Invalid value"), "{said}");
    assert!(said.contains("spec.containers: Required value"), "{said}");
    let unknown = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndta: {}\n";
    assert!(c.kubectl_with(&["create", "-f", "-"], unknown).fails().contains(r#"unknown field "dta""#));
    let size = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{a: {}}}\n",
        "x".repeat(1_100_000)
    );
    assert!(c.kubectl_with(&["create", "-f", "-"], &size).fails().contains("Too long"));
}

#[test]
fn nothing_acknowledged_is_lost() {
    let mut c = Cluster::control_plane();
    for round in 0..5 {
        let name = format!("c{round}");
        c.kubectl(&["create", "configmap", &name]).ok();
        c.kill();
        c.up();
        for earlier in 0..=round {
            c.kubectl(&["get", "configmap", &format!("c{earlier}")]).ok();
        }
    }
    assert_eq!(c.stop(), Some(0));
}

/// A request for a client's certificate.
fn signing_request(name: &str, user: &str, group: &str, signer: &str) -> String {
    let (_, request) = auth::pki::request(&auth::pki::Profile::client(user, Some(group))).expect("a request");
    format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\nspec:\n  \
         request: {request}\n  signerName: {signer}\n  expirationSeconds: 3600\n  usages: [client auth]\n"
    )
}

#[test]
fn certificates_are_approved_denied_and_issued() {
    const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
    let c = Cluster::control_plane();
    c.apply(&signing_request("ada", "ada", "dev", CLIENT));
    c.apply(&signing_request("eve", "eve", "dev", CLIENT));
    c.says(&[
        ("get csr ada", "Pending"),
        ("certificate approve ada", "certificatesigningrequest.certificates.k8s.io/ada approved"),
        ("certificate deny eve", "certificatesigningrequest.certificates.k8s.io/eve denied"),
        ("get csr eve", "Denied"),
        ("describe csr ada", "Requesting User:     kubernetes-admin"),
    ]);
    let path = ["get", "csr", "ada", "-o", "jsonpath={.status.certificate}"];
    let issued = eventually("the certificate", || {
        let got = c.kubectl(&path).out;
        if got.is_empty() { Err(c.run("get csr ada -o yaml").out) } else { Ok(got) }
    });
    c.says(&[("get csr ada", "Approved,Issued")]);
    c.refuses(&[("certificate approve eve", "eve")]);
    // The certificate is the user's.
    let file = c.file("issued.b64", &issued);
    let decoded = c.scratch().join("issued.crt").to_string_lossy().into_owned();
    e2e::Program::at("sh").run(&["-c", &format!("base64 -d {file} > {decoded}")]).ok();
    let text = std::fs::read_to_string(&decoded).expect("a certificate");
    assert_eq!(auth::pki::subject(&text), Some(("ada".to_owned(), vec!["dev".to_owned()])));
    let (from, to) = auth::pki::validity(&text).expect("a certificate");
    assert_eq!(to.as_second() - from.as_second(), 3600 + 300);
    let masters = c.kubectl_with(&["apply", "-f", "-"], &signing_request("m", "m", "system:masters", CLIENT));
    assert!(masters.fails().contains("signer with system:masters group is not allowed"));
    let broken = signing_request("b", "b", "dev", CLIENT).replace("request: LS0t", "request: AAAA");
    let broken = c.kubectl_with(&["apply", "-f", "-"], &broken).fails();
    assert!(broken.contains("PEM block type must be CERTIFICATE REQUEST"), "{broken}");
}
