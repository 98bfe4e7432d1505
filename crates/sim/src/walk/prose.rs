//! The words between the values.

pub(super) const TITLE: &str = "\
# From kubectl apply to a running pod

This page follows one Deployment of three replicas through every room of the house, to the moment at which
`kubectl rollout status` says that it is done. Every value below was printed by a run: the production API server, store,
controllers, scheduler and node core in the simulated world, with a fixed seed and nothing breaking
(`crates/sim/src/walk.rs`). A test compares this page with a new run; `UPDATE_EXPECT=1 cargo test --package sim --test
walk` writes it anew.

A number in front of a colon is a *revision*: the place of a write in the one log that all state of the cluster is. The
page counts from 841.
";

pub(super) const REQUEST: &str = "
kubectl has read the manifest, has seen with a GET that no such Deployment exists, and POSTs it. The TLS shell
(`crates/apiserver/src/shell.rs`) turns bytes and a client certificate into a request and a user; from
there on a request is a function of functions (`crates/apiserver/src/server.rs`): parse, authenticate, authorize, take a
place in the flow control, then read, watch or write. Each stage returns a type of its own, so that leaving one out does
not compile.";

pub(super) const REVISION: &str = "
A write is decoded, defaulted, admitted (mutating plugins, then validating ones), validated, and committed. All of that
works on one dynamic `Object`, for built-in and custom kinds alike. Below is what was committed: what the user left out
is there now, from `revisionHistoryLimit` to `dnsPolicy`. (`managedFields` are left out here.) The commit is durable
before it is answered; commits that arrive together share one sync of the disk.";

pub(super) const BYTES: &str = "
The revision was encoded once. A GET, a LIST and every watcher get the same bytes: the event that wakes the controllers
holds the buffer that a read returns, and nothing is encoded a second time.";

pub(super) const DEPLOYMENT: &str = "
Controllers never see the store. They watch through the API like anybody, with a service account of their own, and keep
caches: prefixes of the log. A controller is a pure function, `plan(view, key, now) -> Plan`
(`crates/controllers/src/deployment`); it can't fail and does no I/O. This is the first plan that asks for anything, and
how far the caches were of which it was made.";

pub(super) const REPLICASET: &str = "
The runner (`crates/reconcile`) carried that out. The new ReplicaSet became a revision, reached the next cache, and
brought up its key. Its plan asks for three pods, whose names are left to the server. Neighbouring creations go out
together, few at first: one, then two, then four, so that a plan that can't succeed doesn't fail a thousand times.";

pub(super) const BARRIER: &str = "
A pod that was just created is not in the cache yet, and a plan made now would create it again. So the runner doesn't
plan a key before its caches have reached the revisions of that key's own writes: \"have you seen my write?\" is
`cache.revision >= write.revision`. The next plan for the same key was made from caches that hold all of them, and asks
for nothing but a status.";

pub(super) const SCHEDULER: &str = "
The scheduler (`crates/scheduler`) watches pods that have no node. `schedule(snapshot, pod) -> Decision` asks every rule
about every node and scores what is left. From the decision on the pod counts on its node, also before the server knows;
the binding is told in the background, as one small write to a subresource.";

pub(super) const NODE: &str = "
The node agent (`crates/kubelet`) watches the pods of its node. Its core is a state machine without clock or sockets:
`next_ops` looks at the pod that is wanted, at what was observed, and at the time, and says what to do next and which
status to show. The shell does it and comes back with what came of it. On a real node the runtime answers, over CRI and a
local socket: pull, mount, namespaces, overlay, cgroup, an address. These are all ops of the first pod, in order.";

pub(super) const STATUS: &str = "
What the agent observes becomes the status, again by a write like any other. Here are all revisions of the first pod:
its phase, its address, and the conditions that are true.";

pub(super) const SLICE: &str = "
A pod that is ready belongs behind its Service. The endpoint slice controller collects the ready ones in EndpointSlices;
this is its last plan.";

pub(super) const RULES: &str = "
The service proxy of each node (`crates/network`) makes of all Services and EndpointSlices one value, a rule set, and
hands the kernel what has changed as one transaction. Packets to the Service's address find an endpoint in a flat map;
there are no chains for each Service.";

pub(super) const ROLLOUT: &str = "
Ready pods make the ReplicaSet count them, and its status makes the Deployment count. kubectl watches the Deployment and
says this of each state of it. The last line is the end of the walk.";

pub(super) const LOG: &str = "
Everything above as the log has it: each line one revision, in the one order in which everybody saw it. (Events, leases and
node heartbeats are left out.)";

pub(super) const END: &str = "
## Where to go on reading

`crates/apiserver/src/server.rs` (a request), `crates/store/src/engine.rs` (a commit), `crates/reconcile/src/engine.rs`
(when a key is planned), `crates/controllers` (the plans), `crates/scheduler/src/decide.rs` (a decision),
`crates/kubelet/src/core/machine.rs` (a pod on a node), `crates/network/src/rules.rs` (the rule set).
";
