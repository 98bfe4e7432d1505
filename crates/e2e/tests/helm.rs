//! A chart with what charts commonly carry, through its whole life under real Helm.

use e2e::{Cluster, eventually};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chart");
/// Waiting as users do; long, since test machines are busy.
const WAIT: &[&str] = &["--wait", "--timeout", "120s", "-n", "books"];

fn helm(c: &Cluster, args: &[&str]) -> String {
    c.helm(&[args, WAIT].concat()).ok()
}

fn installs(c: &Cluster) {
    let said = helm(c, &["install", "gb", CHART, "--create-namespace"]);
    assert!(said.contains("STATUS: deployed") && said.contains("gb is version 1."), "{said}");
    c.says(&[
        ("get deploy gb-web -n books -o jsonpath={.status.availableReplicas}", "1"),
        ("get sts gb-store -n books -o jsonpath={.status.readyReplicas}", "2"),
        ("get job gb-seed-1 -n books -o jsonpath={.status.succeeded}", "2"),
        ("get job gb-pre-install -n books -o jsonpath={.status.succeeded}", "1"),
        ("get job gb-post-install -n books -o jsonpath={.status.succeeded}", "1"),
        ("get pvc -n books -o jsonpath={.items[*].status.phase}", "Bound Bound Bound"),
        ("get gr -n books", "hello 1"),
        ("get greeting gb -n books -o jsonpath={.spec.times}", "1"),
        ("explain greeting.spec.text", "The words."),
        ("exec gb-store-0 -n books -- cat /data/names", "gb-store-0"),
        ("auth can-i list pods -n books --as=system:serviceaccount:books:gb", "yes"),
    ]);
    let listed = c.helm(&["list", "-n", "books"]).ok();
    assert!(listed.contains("deployed") && listed.contains("guestbook-0.1.0"), "{listed}");
    let again = c.helm(&["install", "gb", CHART, "-n", "books"]).fails();
    assert!(again.contains("cannot reuse a name that is still in use"), "{again}");
}

fn upgrades_and_rolls_back(c: &Cluster) {
    let said = helm(c, &["upgrade", "gb", CHART, "--set", "version=2", "--set", "replicas=2"]);
    assert!(said.contains("REVISION: 2") && said.contains("gb is version 2."), "{said}");
    c.says(&[
        ("get job gb-post-upgrade -n books -o jsonpath={.status.succeeded}", "1"),
        ("get deploy gb-web -n books -o jsonpath={.status.availableReplicas}", "2"),
        ("get gr -n books", "hello 2"),
    ]);
    let tested = c.helm(&["test", "gb", "-n", "books", "--logs"]).ok();
    assert!(tested.contains("Phase:          Succeeded") && tested.contains("version: 2"), "{tested}");
    let bad = c.helm(&["upgrade", "gb", CHART, "-n", "books", "--set", "version="]).code;
    assert_eq!(bad, 0, "an empty version is a greeting of one word");
    let said = c.helm(&["upgrade", "gb", CHART, "-n", "books", "--set", "replicas=-1"]).fails();
    assert!(said.contains("must be greater than or equal to 0"), "{said}");
    assert!(helm(c, &["rollback", "gb", "1"]).contains("Rollback was a success"));
    c.says(&[
        ("get deploy gb-web -n books -o jsonpath={.status.availableReplicas}", "1"),
        ("get gr -n books", "hello 1"),
        ("get cm gb-settings -n books -o jsonpath={.data.version}", "1"),
    ]);
}

fn tells(c: &Cluster) {
    for (args, expected) in [
        (&["history", "gb"][..], "Rollback to 1"),
        (&["status", "gb"], "gb-store-1"),
        (&["get", "manifest", "gb"], "kind: StatefulSet"),
        (&["get", "hooks", "gb"], "helm.sh/hook: pre-install"),
        (&["get", "values", "gb", "--all"], "version: \"1\""),
        (&["get", "notes", "gb"], "gb is version 1."),
        (&["upgrade", "gb", CHART, "--dry-run=server", "--set", "version=9"], "gb is version 9."),
    ] {
        let said = c.helm(&[args, &["-n", "books"]].concat()).ok();
        assert!(said.contains(expected), "helm {} does not say {expected:?}:\n{said}", args.join(" "));
    }
    c.says(&[("get gr -n books", "hello 1")]);
}

#[test]
fn a_chart_lives() {
    let c = Cluster::with_node();
    c.import_busybox();
    installs(&c);
    upgrades_and_rolls_back(&c);
    tells(&c);
    assert!(helm(&c, &["uninstall", "gb"]).contains("uninstalled"));
    c.says(&[
        ("get deploy,sts,svc,gr,cronjob,sa -n books -o name", "serviceaccount/default"),
        ("get crd -o name", "greetings.example.ironclad.local"),
        ("get job gb-pre-delete -n books -o jsonpath={.status.succeeded}", "1"),
        // The claims of a StatefulSet's template stay, as upstream's do.
        ("get pvc -n books -o name", "data-gb-store-0"),
        ("delete namespace books", "deleted"),
    ]);
    eventually("the claims' volumes are gone", || {
        let left = c.run("get pv -o name").ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
