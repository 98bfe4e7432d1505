//! What of kubectl needs no node: every generator, every way of changing an object, and what the API tells of itself.

use e2e::Cluster;

const KUSTOMIZE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/kustomize");
const CRD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chart/crds/greetings.yaml");

fn generators(c: &Cluster) {
    // A pair that fits: the one that kubectl itself shows to the server.
    let part = |field: &str| {
        let template =
            format!("go-template={{{{index (index .users 0).user \"client-{field}-data\" | base64decode}}}}");
        c.kubectl(&["config", "view", "--raw", "-o", &template]).ok()
    };
    let (key, cert) = (c.file("key.pem", &part("key")), c.file("cert.pem", &part("certificate")));
    c.says(&[
        ("create namespace made", "namespace/made created"),
        ("create deployment web --image=x:1 --replicas=2 --port=80", "deployment.apps/web created"),
        ("create job once --image=x:1 -- true", "job.batch/once created"),
        (
            "create cronjob nightly --image=x:1 --schedule='0 3 * * *' -- true",
            "cronjob.batch/nightly created",
        ),
        ("create job by-hand --from=cronjob/nightly", "job.batch/by-hand created"),
        ("create secret generic plain --from-literal=a=b", "secret/plain created"),
        (
            "create secret docker-registry pull --docker-server=x --docker-username=u --docker-password=p",
            "secret/pull created",
        ),
        (&format!("create secret tls pair --cert={cert} --key={key}"), "secret/pair created"),
        (&format!("create configmap conf --from-literal=a=b --from-file={cert}"), "configmap/conf created"),
        (
            "create role reader --verb=get,list --resource=pods",
            "role.rbac.authorization.k8s.io/reader created",
        ),
        ("create rolebinding jane --role=reader --user=jane", "created"),
        ("create clusterrole nodes --verb=get --resource=nodes", "created"),
        ("create clusterrolebinding jane --clusterrole=nodes --user=jane", "created"),
        ("create quota limit --hard=configmaps=5", "resourcequota/limit created"),
        ("create service clusterip one --tcp=80:8080", "service/one created"),
        ("create service nodeport two --tcp=80:8080", "service/two created"),
        ("create service loadbalancer three --tcp=80", "service/three created"),
        ("create service externalname four --external-name=example.com", "service/four created"),
        ("create ingress front --rule=a.example/path=one:80 --default-backend=one:80", "created"),
        ("create pdb keep --selector=app=web --min-available=1", "poddisruptionbudget.policy/keep created"),
        ("create priorityclass high --value=100", "priorityclass.scheduling.k8s.io/high created"),
        ("create serviceaccount robot", "serviceaccount/robot created"),
        ("autoscale deployment web --min=1 --max=3 --cpu=50%", "autoscaled"),
        ("expose deployment web --port=80 --name=five", "service/five exposed"),
        ("run dry --image=x:1 --dry-run=server -o yaml", "terminationGracePeriodSeconds: 30"),
        ("get secret pull -o jsonpath={.type}", "kubernetes.io/dockerconfigjson"),
        ("get job by-hand -o jsonpath={.metadata.ownerReferences[0].name}", "nightly"),
    ]);
    c.refuses(&[
        ("create deployment web --image=x", r#"deployments.apps "web" already exists"#),
        ("create configmap x -n absent", r#"namespaces "absent" not found"#),
        ("create service nodeport six --tcp=80 --node-port=1", "provided port is not in the valid range"),
        ("get nosuch", r#"the server doesn't have a resource type "nosuch""#),
        ("get pod nosuch", r#"pods "nosuch" not found"#),
    ]);
}

fn describes(c: &Cluster) {
    c.says(&[
        ("describe deployment web", "2 desired"),
        ("describe rs", "Controlled By:  Deployment/web"),
        ("describe job by-hand", "Controlled By:"),
        ("describe cronjob nightly", "Schedule:                      0 3 * * *"),
        ("describe service two", "NodePort:"),
        ("describe ingress front", "a.example"),
        ("describe configmap conf", "cert.pem:"),
        ("describe secret plain", "a:  1 bytes"),
        ("describe hpa web", "Max replicas:"),
        ("describe pdb keep", "Min available:  1"),
        ("describe role reader", "[get list]"),
        ("describe rolebinding jane", "User  jane"),
        ("describe clusterrole nodes", "nodes"),
        ("describe serviceaccount robot", "Name:                robot"),
        ("describe quota limit", "configmaps"),
        ("describe priorityclass high", "Value:             100"),
        ("describe namespace default", "Status:       Active"),
    ]);
}

fn gets(c: &Cluster) {
    c.says(&[
        ("get all -A", "service/kubernetes"),
        ("get deploy web -o wide", "SELECTOR"),
        ("get deploy web -o yaml", "progressDeadlineSeconds: 600"),
        ("get deploy web -o jsonpath={.spec.strategy.rollingUpdate.maxSurge}", "25%"),
        ("get svc -o custom-columns=N:.metadata.name,T:.spec.type", "four         ExternalName"),
        ("get svc --sort-by=.metadata.name -o name", "service/five\nservice/four\nservice/kubernetes"),
        ("get svc -l app=one --show-labels", "app=one"),
        ("get cm,secret -o name", "secret/plain"),
        ("get events.events.k8s.io", "ScalingReplicaSet"),
        ("events", "ScalingReplicaSet"),
        ("get ns --chunk-size=1 -o name", "namespace/kube-system"),
        ("get ns --field-selector=metadata.name=default -o name", "namespace/default"),
        ("get deploy web -o go-template={{.metadata.name}}", "web"),
        ("get --raw /readyz?verbose", "readyz check passed"),
        ("get --raw /version", "v1.37"),
        ("cluster-info", "Kubernetes control plane"),
        ("api-versions", "networking.k8s.io/v1"),
        ("api-resources --namespaced=false --verbs=list -o name", "storageclasses.storage.k8s.io"),
        ("config view --minify", "certificate-authority-data"),
    ]);
    let watch = c.background("get configmap --watch --output-watch-events -o name");
    watch.says("configmap/conf");
    c.says(&[("label configmap conf seen=yes", "labeled"), ("annotate cm conf why='a test'", "annotated")]);
    c.says(&[("create configmap late", "created"), ("delete configmap late", "deleted")]);
    watch.says("configmap/late");
    c.refuses(&[("label configmap conf seen=no", "already has a value (yes), and --overwrite is false")]);
    c.says(&[("label cm conf seen=no --overwrite", "labeled"), ("label cm conf seen-", "unlabeled")]);
}

fn changes(c: &Cluster) {
    let conf = c.run("get cm conf -o yaml").ok();
    let file = c.file("conf.yaml", &conf.replace("a: b", "a: c"));
    c.says(&[(&format!("replace -f {file}"), "configmap/conf replaced")]);
    c.refuses(&[(&format!("replace -f {file}"), "the object has been modified; please apply your changes")]);
    c.says(&[
        (&format!("replace --force -f {file}"), "configmap/conf replaced"),
        ("get cm conf -o jsonpath={.data.a}", "c"),
        (r#"patch cm conf -p '{"data":{"m":"1"}}'"#, "patched"),
        (r#"patch cm conf --type=merge -p '{"data":{"m":null,"n":"2"}}'"#, "patched"),
        (r#"patch cm conf --type=json -p '[{"op":"move","from":"/data/n","path":"/data/o"}]'"#, "patched"),
        ("get cm conf -o jsonpath={.data.m}{.data.n}{.data.o}", "2"),
        (r#"patch deploy web --subresource=scale --type=merge -p '{"spec":{"replicas":1}}'"#, "patched"),
        ("scale deploy web --replicas=0 --current-replicas=1", "scaled"),
        ("set image deploy/web x=y:2", "image updated"),
        ("set env deploy/web A=1", "env updated"),
        ("set resources deploy/web --limits=memory=64Mi", "resource requirements updated"),
        ("rollout history deploy/web", "REVISION"),
    ]);
    c.refuses(&[
        (r#"patch cm conf --type=json -p '[{"op":"test","path":"/data/o","value":"9"}]'"#, "test failed"),
        ("scale deploy web --replicas=2 --current-replicas=7", "Expected replicas to be 7, was 0"),
        (r#"patch deploy web -p '{"spec":{"replicas":-1}}'"#, "must be greater than or equal to 0"),
    ]);
    let editor = |script: &str| c.kubectl_program().env("KUBE_EDITOR", script);
    assert!(editor("sed -i s/o:.*/o:\\ edited/").run(&["edit", "cm", "conf"]).ok().contains("edited"));
    assert!(editor("true").run(&["edit", "cm", "conf"]).err.contains("Edit cancelled, no changes made"));
    let bad = editor("sed -i s/schedule:.*/schedule:\\ never/").run(&["edit", "cronjob", "nightly"]).fails();
    assert!(bad.contains(r#"cronjobs.batch "nightly" is invalid"#), "{bad}");
    c.says(&[("get cm conf -o jsonpath={.data.o}", "edited")]);
}

fn applies(c: &Cluster) {
    assert!(c.run(&format!("diff -k {KUSTOMIZE}")).code == 1, "what isn't there differs");
    c.says(&[
        (&format!("apply -k {KUSTOMIZE}"), "deployment.apps/kz-app created"),
        (&format!("apply -k {KUSTOMIZE}"), "deployment.apps/kz-app unchanged"),
        (&format!("diff -k {KUSTOMIZE}"), ""),
        ("scale deploy kz-app --replicas=3", "scaled"),
    ]);
    let diff = c.run(&format!("diff -k {KUSTOMIZE}"));
    assert!(
        diff.code == 1 && diff.out.contains("-  replicas: 3\n+  replicas: 1"),
        "{}{}",
        diff.out,
        diff.err
    );
    c.refuses(&[
        (&format!("apply --server-side -k {KUSTOMIZE} --field-manager=other"), "conflict"),
        (
            &format!(
                "apply -f {}",
                c.file("foo.yaml", "{apiVersion: foo/v1, kind: Bar, metadata: {name: x}}")
            ),
            r#"no matches for kind "Bar" in version "foo/v1""#,
        ),
        (
            &format!(
                "apply -f {}",
                c.file(
                    "pod.yaml",
                    "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: c}]}}"
                )
            ),
            "spec.containers[0].image: Required value",
        ),
    ]);
    c.says(&[
        (
            &format!("apply --server-side --force-conflicts -k {KUSTOMIZE}"),
            "deployment.apps/kz-app serverside-applied",
        ),
        ("get deploy kz-app -o jsonpath={.spec.replicas}", "1"),
        (&format!("delete -k {KUSTOMIZE}"), "deleted"),
        (&format!("apply -f {CRD}"), "created"),
        (
            "wait --for=condition=Established crd/greetings.example.ironclad.local --timeout=30s",
            "condition met",
        ),
    ]);
    let greeting = |spec: &str| {
        let text = format!(
            "{{apiVersion: example.ironclad.local/v1, kind: Greeting, metadata: {{name: hi}}, spec: {spec}}}"
        );
        c.kubectl_with(&["apply", "-f", "-"], &text)
    };
    greeting("{text: hello}").ok();
    for (spec, complaint) in [
        ("{text: hello, times: 99}", "should be less than or equal to 10"),
        ("{text: hello, foo: 1}", r#"unknown field "spec.foo""#),
    ] {
        let said = greeting(spec).fails();
        assert!(said.contains(complaint), "{said}");
    }
    c.says(&[
        ("get greetings -o jsonpath={.items[0].spec.times}", "1"),
        ("explain greeting.spec", "times\t<integer>"),
        ("describe greeting hi", "Text:   hello"),
        (r#"patch gr hi --subresource=status --type=merge -p '{"status":{"said":1}}'"#, "patched"),
        (&format!("delete -f {CRD}"), "deleted"),
    ]);
}

/// What an ApplySet and `--prune` no longer find in their manifests goes.
fn prunes(c: &Cluster) {
    let map = |name: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{of: set}}}}}}\n---\n")
    };
    let both = c.file("both.yaml", &(map("first") + &map("second")));
    let one = c.file("one.yaml", &map("first"));
    let apply = |file: &str| {
        let set = ["apply", "-f", file, "--prune", "--applyset=configmaps/parent", "-n", "default"];
        c.kubectl_program().env("KUBECTL_APPLYSET", "true").run(&set).ok()
    };
    assert!(apply(&both).contains("configmap/second created"));
    let pruned = apply(&one);
    assert!(
        pruned.contains("configmap/first unchanged") && pruned.contains("configmap/second pruned"),
        "{pruned}"
    );
    c.says(&[
        (&format!("apply -f {}", c.file("third.yaml", &map("third"))), "configmap/third created"),
        (
            &format!("apply -f {one} --prune -l of=set --prune-allowlist=core/v1/ConfigMap"),
            "configmap/third pruned",
        ),
        ("delete configmap first parent", "deleted"),
    ]);
}

fn asks(c: &Cluster) {
    c.says(&[
        ("explain pod", "Pod is a collection of containers"),
        ("explain deploy.spec.strategy", "enum: Recreate, RollingUpdate"),
        ("explain pod.spec --recursive", "preferredDuringSchedulingIgnoredDuringExecution"),
        ("explain hpa --api-version=autoscaling/v1", "VERSION:    v1"),
        ("explain deploy.spec --output=plaintext-openapiv2", "progressDeadlineSeconds\t<integer>"),
        ("get componentstatuses", "scheduler            Healthy   ok"),
        ("auth can-i --list", "*.*"),
        ("auth can-i list pods --as=jane", "yes"),
        ("auth can-i --list --as=jane", "[get list]"),
        ("auth whoami", "kubernetes-admin"),
        ("auth whoami --as=jane --as-group=g", "[g system:authenticated]"),
    ]);
    let warned = c.run("get endpoints").err;
    assert!(warned.contains("Warning: v1 Endpoints is deprecated in v1.33+"), "{warned}");
    c.refuses(&[
        ("explain pod.spec.nope", r#"field "nope" does not exist"#),
        ("get secrets --as=jane", r#"User "jane" cannot list resource "secrets" in API group """#),
        ("top pods", "Metrics API not available"),
        ("wait --for=jsonpath={.data.o}=never cm/conf --timeout=1s", "timed out waiting for the condition"),
    ]);
    let token = c.run("create token robot --duration=10m").ok();
    let server = c.run("config view --minify -o jsonpath={.clusters[0].cluster.server}").ok();
    let who = format!(
        "auth whoami --kubeconfig=/dev/null --insecure-skip-tls-verify --server={server} --token={}",
        token.trim()
    );
    c.says(&[(&who, "system:serviceaccount:default:robot")]);
    let proxy = c.background("proxy --port=0");
    let page = e2e::http_get(&proxy.address(), "/api/v1/namespaces/default").unwrap_or_default();
    assert!(page.contains(r#""kind""#) && page.contains("Namespace"), "{page}");
}

fn deletes(c: &Cluster) {
    c.says(&[
        ("delete deployment web --cascade=orphan", "deleted"),
        ("get rs -l app=web -o name", "replicaset.apps/web-"),
        ("delete rs -l app=web --cascade=foreground", "deleted"),
        ("delete cronjob nightly", "deleted"),
        ("wait --for=delete job/by-hand --timeout=30s", ""),
        ("delete svc one two three four five", "deleted"),
        ("delete pdb,ingress,hpa --all", "deleted"),
        ("delete namespace made", "deleted"),
        ("delete configmap conf --ignore-not-found", "deleted"),
        ("delete configmap conf --ignore-not-found", ""),
    ]);
    c.refuses(&[("delete configmap conf", r#"configmaps "conf" not found"#)]);
}

#[test]
fn every_everyday_command() {
    let c = Cluster::control_plane();
    generators(&c);
    describes(&c);
    gets(&c);
    changes(&c);
    applies(&c);
    prunes(&c);
    asks(&c);
    deletes(&c);
}
