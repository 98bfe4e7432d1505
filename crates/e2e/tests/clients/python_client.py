"""The Python client's own machinery against a cluster: argv[1] is the image of the pods.

Each function shows one part of the package and prints a line; the test looks at the lines. Nothing here is ours but
the calls: informer, watch, streams, dynamic client, create_from_yaml and leader election are the package's.
"""

import queue
import sys
import tempfile
import threading
import time
import urllib3

from kubernetes import client, config, dynamic, informer, utils, watch
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

IMAGE = sys.argv[1]
PATIENCE = 60
NAMESPACE = "python"


def labelled(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"of": "python"}), data=data)


def eventually(what, look):
    """The first true value of `look`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


def list_and_watch(core):
    """A watch goes on exactly where the list ended, and ends in 410 where the history is gone."""
    for n in range(5):
        core.create_namespaced_config_map(NAMESPACE, labelled(f"c{n}", n=str(n)))
    pages, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="of=python", limit=2, _continue=token)
        pages.append(len(page.items))
        token = page.metadata._continue or ""
    listed = core.list_namespaced_config_map(NAMESPACE, label_selector="of=python")
    core.patch_namespaced_config_map("c1", NAMESPACE, {"data": {"n": "patched"}})
    core.delete_namespaced_config_map("c2", NAMESPACE)
    seen, w = [], watch.Watch()
    since = listed.metadata.resource_version
    for event in w.stream(core.list_namespaced_config_map, NAMESPACE, label_selector="of=python",
                          resource_version=since, timeout_seconds=PATIENCE):
        seen.append(f"{event['type']} {event['object'].metadata.name}")
        if len(seen) == 2:
            w.stop()
    print("pages", pages, "watched", seen)
    try:
        for _ in watch.Watch().stream(core.list_namespaced_config_map, NAMESPACE, resource_version="not-a-number"):
            pass
    except client.exceptions.ApiException as e:
        print("bad revision", e.status)


def informed(core):
    """The package's informer keeps a cache."""
    events = queue.Queue()
    shared = informer.SharedInformer(core.list_namespaced_config_map, namespace=NAMESPACE, label_selector="of=python")
    for kind in (informer.ADDED, informer.MODIFIED, informer.DELETED):
        shared.add_event_handler(kind, lambda o, kind=kind: events.put((kind, o.metadata.name)))
    shared.start()
    first = sorted(events.get(timeout=PATIENCE) for _ in range(4))
    core.create_namespaced_config_map(NAMESPACE, labelled("late"))
    core.patch_namespaced_config_map("late", NAMESPACE, [{"op": "add", "path": "/data", "value": {"a": "b"}}])
    core.delete_namespaced_config_map("late", NAMESPACE)
    later = [events.get(timeout=PATIENCE)[0] for _ in range(3)]
    print("informed", [name for _, name in first], later, sorted(shared.cache.list_keys()))
    shared.stop()


def from_yaml(api):
    """create_from_yaml makes several kinds, and tells which exist already."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(MANIFEST.replace("IMAGE", IMAGE))
        f.flush()
        made = utils.create_from_yaml(api, f.name, namespace=NAMESPACE)
        print("made", [o.kind for group in made for o in group])
        try:
            utils.create_from_yaml(api, f.name, namespace=NAMESPACE)
        except utils.FailToCreateError as e:
            print("again", [x.reason for x in e.api_exceptions])


def rolled_out(apps):
    """A watch-driven wait for a Deployment."""
    w = watch.Watch()
    for event in w.stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=PATIENCE):
        if (event["object"].status.ready_replicas or 0) == 2:
            w.stop()
    apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 1}})
    eventually("scaled", lambda: apps.read_namespaced_deployment_status("web", NAMESPACE).status.replicas == 1)
    print("rolled out, scaled to", apps.read_namespaced_deployment_scale("web", NAMESPACE).status.replicas)


def one_pod(core):
    def look():
        pods = core.list_namespaced_pod(NAMESPACE, label_selector="app=web", field_selector="status.phase=Running")
        return [p for p in pods.items if not p.metadata.deletion_timestamp]
    eventually("one pod", lambda: len(look()) == 1)
    return look()[0].metadata.name


def streams(core, pod):
    """exec with input and exit code, logs that are followed, and a forwarded port."""
    whole = stream(core.connect_get_namespaced_pod_exec, pod, NAMESPACE, command=["echo", "hello"],
                   stdout=True, stderr=True, stdin=False, tty=False)
    ws = stream(core.connect_get_namespaced_pod_exec, pod, NAMESPACE, stdin=True, stdout=True, stderr=True, tty=False,
                command=["sh", "-c", "read line; echo got $line; echo oops >&2; exit 7"], _preload_content=False)
    ws.write_stdin("typed\n")
    ws.run_forever(timeout=PATIENCE)
    print("exec", whole.strip(), "|", ws.read_stdout().strip(), "|", ws.read_stderr().strip(), "|", ws.returncode)
    for line in watch.Watch().stream(core.read_namespaced_pod_log, pod, NAMESPACE):
        print("log", line)
        break
    forward = portforward(core.connect_get_namespaced_pod_portforward, pod, NAMESPACE, ports="8080")
    sock = forward.socket(8080)
    sock.setblocking(True)
    sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    got = b""
    while chunk := sock.recv(4096):
        got += chunk
    print("forwarded", got.split(b"\r\n\r\n", 1)[1].decode().strip(), forward.error(8080))


def dynamically(api):
    """The dynamic client discovers a custom kind, applies and watches it."""
    dyn = dynamic.DynamicClient(api)
    crds = dyn.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    crds.create(body=CRD)
    eventually("established", lambda: any(
        c.type == "Established" and c.status == "True" for c in crds.get(name=CRD["metadata"]["name"]).status.conditions or []))
    things = eventually("served", lambda: found(dyn))
    body = {"apiVersion": "python.example/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"size": 3}}
    things.create(body=body, namespace=NAMESPACE)
    applied = things.server_side_apply(namespace=NAMESPACE, name="one", body=body | {"spec": {"colour": "red"}},
                                       field_manager="painter")
    owners = sorted(m.manager for m in applied.metadata.managedFields)
    things.status.patch(name="one", namespace=NAMESPACE, body={"status": {"done": True}},
                        content_type="application/merge-patch+json")
    one = things.get(name="one", namespace=NAMESPACE)
    print("dynamic", one.spec.size, one.spec.colour, one.status.done, owners)
    for event in things.watch(namespace=NAMESPACE, timeout=PATIENCE):
        print("dynamic watch", event["type"], event["object"].metadata.name)
        break
    crds.delete(name=CRD["metadata"]["name"])


def found(dyn):
    try:
        dyn.resources.invalidate_cache()
        return dyn.resources.get(api_version="python.example/v1", kind="Thing")
    except (dynamic.exceptions.ResourceNotFoundError, urllib3.exceptions.HTTPError):
        return None


class Lost(Exception):
    """Ends an election, which the package lets run for ever."""


def elected():
    """Two candidates, one Lease: one leads."""
    leads = threading.Event()

    def lead():
        leads.set()
    for name in ("first", "second"):
        lock = LeaseLock("election", NAMESPACE, name)
        rules = electionconfig.Config(lock, lease_duration=17, renew_deadline=15, retry_period=1,
                                      onstarted_leading=lead, onstopped_leading=None)
        threading.Thread(target=leaderelection.LeaderElection(rules).run, daemon=True).start()
        leads.wait(PATIENCE)
    lease = client.CoordinationV1Api().read_namespaced_lease("election", NAMESPACE)
    print("leads", lease.spec.holder_identity)


def refused(core):
    """Errors carry a Status that the client reads."""
    for body in (client.V1Pod(metadata=client.V1ObjectMeta(name="UPPER"), spec=client.V1PodSpec(
            containers=[client.V1Container(name="a", image="b")])),):
        try:
            core.create_namespaced_pod(NAMESPACE, body)
        except client.exceptions.ApiException as e:
            print("refused", e.status, e.reason)
    try:
        core.delete_namespaced_config_map("nothing", NAMESPACE)
    except client.exceptions.ApiException as e:
        print("missing", e.status, e.reason)


MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: reader}
  rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec:
    replicas: 2
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec:
        terminationGracePeriodSeconds: 0
        containers:
        - name: web
          image: IMAGE
          command: [sh, -c, "echo started; mkdir /w; echo page > /w/index.html; httpd -f -p 8080 -h /w"]
          readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}
"""

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.python.example"},
    "spec": {"group": "python.example", "scope": "Namespaced",
             "names": {"plural": "things", "kind": "Thing", "singular": "thing"},
             "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                           "schema": {"openAPIV3Schema": {"type": "object",
                                                          "x-kubernetes-preserve-unknown-fields": True}}}]},
}


def main():
    config.load_kube_config()
    api = client.ApiClient()
    core = client.CoreV1Api()
    print("version", client.VersionApi().get_code().major)
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    list_and_watch(core)
    informed(core)
    refused(core)
    from_yaml(api)
    rolled_out(client.AppsV1Api())
    streams(core, one_pod(core))
    dynamically(api)
    elected()
    core.delete_namespace(NAMESPACE)
    eventually("namespace gone", lambda: NAMESPACE not in [n.metadata.name for n in core.list_namespace().items])
    print("done")


main()
