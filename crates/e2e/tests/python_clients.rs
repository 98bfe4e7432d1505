//! Programs that were not written for us: the Python client's informer, streams, dynamic client and leader election,
//! and an operator on kopf.

use e2e::{BUSYBOX, Background, Cluster, eventually};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python_client.py");
const OPERATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/kopf_operator.py");
const KINDS: &str = include_str!("clients/kopf.yaml");

/// What the script tells when everything is as it is with upstream.
const TOLD: &str = "\
version 1
pages [2, 2, 1] watched ['MODIFIED c1', 'DELETED c2']
bad revision 400
informed ['c0', 'c1', 'c3', 'c4'] ['ADDED', 'MODIFIED', 'DELETED'] ['python/c0', 'python/c1', 'python/c3', 'python/c4']
refused 422 Unprocessable Entity
missing 404 Not Found
made ['Service', 'Role', 'Deployment']
again ['Conflict', 'Conflict', 'Conflict']
rolled out, scaled to 1
exec hello | got typed | oops | 7
log started
forwarded page None
dynamic 3 red True ['OpenAPI-Generator', 'painter']
dynamic watch ADDED one
leads first
done
";

#[test]
fn the_python_client() {
    let c = Cluster::with_node();
    c.import_busybox();
    assert_eq!(c.python().run(&[CLIENT, BUSYBOX]).ok(), TOLD);
}

/// A field of the Bell.
fn bell(c: &Cluster, path: &str) -> String {
    c.run(&format!("get bell big -o jsonpath={path}")).out
}

fn told(c: &Cluster, path: &str, expected: &str) {
    eventually(&format!("{path} is {expected}"), || match bell(c, path) {
        said if said == expected => Ok(()),
        said => Err(said),
    });
}

#[test]
fn an_operator_on_kopf() {
    let c = Cluster::control_plane();
    c.apply(KINDS);
    c.says(&[("wait --for=condition=Established crd --all --timeout=30s", "condition met")]);
    c.apply("{apiVersion: kopf.dev/v1, kind: ClusterKopfPeering, metadata: {name: bells}}");
    let operator =
        Background::start(&c.python(), &["-m", "kopf", "run", OPERATOR, "--all-namespaces"], c.scratch());
    operator.says("Initial authentication has finished");
    c.apply("{apiVersion: kopf.example/v1, kind: Bell, metadata: {name: big}, spec: {tone: C}}");
    told(&c, "{.status.create.child}", "big-tone");
    c.says(&[
        ("get cm big-tone -o jsonpath={.data.tone}{.metadata.ownerReferences[0].kind}", "CBell"),
        (r#"patch bell big --type=merge -p '{"spec":{"tone":"D"}}'"#, "patched"),
    ]);
    told(&c, "{.status.changed}", "C to D");
    eventually("the timer ticks", || match bell(&c, "{.status.ticks}").parse::<u32>() {
        Ok(3..) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // The finalizer holds the Bell until the operator's handler has run; then its child is collected.
    c.says(&[
        ("delete bell big --timeout=60s", "deleted"),
        ("get cm -o name", "configmap/big-was-taken-down"),
    ]);
    c.says(&[("wait --for=delete cm/big-tone --timeout=60s", "")]);
    operator.says("seen DELETED big-tone");
    let peers = c.run("get clusterkopfpeering bells -o jsonpath={.status}").ok();
    assert!(peers.contains("lastseen"), "{peers}");
    let events = c.run("events --for bell/big").ok();
    assert!(events.contains("from C to D"), "{events}");
}
