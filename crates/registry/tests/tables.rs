//! What `kubectl get -o wide` shows of objects in various states.

use expect_test::{Expect, expect};
use meta::Object;

/// Half past one, an hour and a half after the objects were made.
const NOW: &str = "2025-01-01T01:30:00Z";

fn check(texts: &[&str], expected: Expect) {
    let mut out = String::new();
    for text in texts {
        let mut object =
            Object::from_value(meta::yaml::decode(text).expect("YAML").value).expect("an object");
        object.metadata.creation_timestamp = "2025-01-01T00:00:00Z".parse().ok();
        let gvk = object.gvk();
        let kind = registry::by_kind(&gvk.group, &gvk.version, &gvk.kind).expect("a kind of ours");
        if out.is_empty() {
            let names: Vec<&str> = kind.columns.iter().map(|c| c.name.as_ref()).collect();
            out = format!("{}\n", names.join(" | "));
        }
        let cell = |v: serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let cells: Vec<String> =
            kind.cells(&object, NOW.parse().expect("a time")).into_iter().map(cell).collect();
        out.push_str(&format!("{}\n", cells.join(" | ")));
    }
    expected.assert_eq(&out);
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, SLOT: y}\n";

fn pod(metadata: &str, spec: &str, status: &str) -> String {
    POD.replace("SLOT: y", if metadata.is_empty() { "uid: u" } else { metadata })
        + &format!("spec: {{{spec}}}\nstatus: {{{status}}}\n")
}

#[test]
fn pods() {
    let two = "nodeName: node, containers: [{name: a}, {name: b}]";
    let running = "phase: Running, podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]";
    let states = [
        pod("", two, "phase: Pending"),
        pod(
            "",
            two,
            "phase: Pending, conditions: [{type: PodScheduled, reason: SchedulingGated, status: 'False'}]",
        ),
        pod(
            "",
            two,
            &format!(
                "{running}, containerStatuses: [{{name: a, ready: true, state: {{running: {{}}}}}}, {{name: b, restartCount: 3, ready: true, state: {{running: {{}}}}, lastState: {{terminated: {{finishedAt: '2025-01-01T01:25:00Z'}}}}}}]"
            ),
        ),
        pod(
            "",
            two,
            "phase: Running, containerStatuses: [{name: a, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}}]",
        ),
        pod("", two, "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 3}}}]"),
        pod(
            "",
            two,
            "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 137, signal: 9}}}]",
        ),
        pod(
            "",
            two,
            "phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}]",
        ),
        pod("deletionTimestamp: '2025-01-01T01:29:00Z'", two, running),
    ];
    check_pods(
        &states,
        expect![[r#"
        Name | Ready | Status | Restarts | Age | IP | Node | Nominated Node | Readiness Gates
        x | 0/2 | Pending | 0 | 90m | <none> | node | <none> | <none>
        x | 0/2 | SchedulingGated | 0 | 90m | <none> | node | <none> | <none>
        x | 2/2 | Running | 3 (5m ago) | 90m | 10.0.0.1 | node | <none> | <none>
        x | 0/2 | CrashLoopBackOff | 2 | 90m | <none> | node | <none> | <none>
        x | 0/2 | ExitCode:3 | 0 | 90m | <none> | node | <none> | <none>
        x | 0/2 | Signal:9 | 0 | 90m | <none> | node | <none> | <none>
        x | 0/2 | Completed | 0 | 90m | <none> | node | <none> | <none>
        x | 0/2 | Terminating | 0 | 90m | 10.0.0.1 | node | <none> | <none>
    "#]],
    );
}

#[test]
fn pods_that_start() {
    let states = [
        pod(
            "",
            "initContainers: [{name: i}, {name: s, restartPolicy: Always}], containers: [{name: a}]",
            "phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}]",
        ),
        pod(
            "",
            "initContainers: [{name: i}], containers: [{name: a}]",
            "phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: ImagePullBackOff}}}]",
        ),
        pod(
            "",
            "initContainers: [{name: i}], containers: [{name: a}]",
            "phase: Failed, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 1, reason: Error}}}]",
        ),
        pod(
            "",
            "containers: [{name: a}], readinessGates: [{conditionType: a}, {conditionType: b}]",
            "phase: Evicted, reason: Evicted, conditions: [{type: a, status: 'True'}]",
        ),
    ];
    check_pods(
        &states,
        expect![[r#"
        Name | Ready | Status | Restarts | Age | IP | Node | Nominated Node | Readiness Gates
        x | 0/2 | Init:0/2 | 0 | 90m | <none> | <none> | <none> | <none>
        x | 0/1 | Init:ImagePullBackOff | 0 | 90m | <none> | <none> | <none> | <none>
        x | 0/1 | Init:Error | 0 | 90m | <none> | <none> | <none> | <none>
        x | 0/1 | Evicted | 0 | 90m | <none> | <none> | <none> | 1/2
    "#]],
    );
}

fn check_pods(states: &[String], expected: Expect) {
    let texts: Vec<&str> = states.iter().map(String::as_str).collect();
    check(&texts, expected);
}

#[test]
fn services() {
    check(
        &[
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: ClusterIP, clusterIPs: [10.0.0.1], ports: [{port: 80, protocol: TCP}, {port: 53, protocol: UDP}], selector: {b: c, a: b}}}",
            "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {type: NodePort, clusterIPs: [10.0.0.2], externalIPs: [1.2.3.4], ports: [{port: 80, nodePort: 30080, protocol: TCP}]}}",
            "{apiVersion: v1, kind: Service, metadata: {name: c}, spec: {type: LoadBalancer, clusterIPs: [10.0.0.3], ports: [{port: 80, protocol: TCP}]}}",
            "{apiVersion: v1, kind: Service, metadata: {name: d}, spec: {type: LoadBalancer, clusterIPs: [10.0.0.3]}, status: {loadBalancer: {ingress: [{ip: 5.6.7.8}, {hostname: a.b}]}}}",
            "{apiVersion: v1, kind: Service, metadata: {name: e}, spec: {type: ExternalName, externalName: example.com}}",
            "{apiVersion: v1, kind: Service, metadata: {name: f}, spec: {type: ClusterIP, clusterIPs: [None]}}",
        ],
        expect![[r#"
            Name | Type | Cluster-IP | External-IP | Port(s) | Age | Selector
            a | ClusterIP | 10.0.0.1 | <none> | 80/TCP,53/UDP | 90m | a=b,b=c
            b | NodePort | 10.0.0.2 | 1.2.3.4 | 80:30080/TCP | 90m | <none>
            c | LoadBalancer | 10.0.0.3 | <pending> | 80/TCP | 90m | <none>
            d | LoadBalancer | 10.0.0.3 | 5.6.7.8,a.b | <none> | 90m | <none>
            e | ExternalName | <none> | example.com | <none> | 90m | <none>
            f | ClusterIP | None | <none> | <none> | 90m | <none>
        "#]],
    );
}

#[test]
fn nodes() {
    check(
        &[
            "{apiVersion: v1, kind: Node, metadata: {name: a, labels: {node-role.kubernetes.io/control-plane: '', kubernetes.io/role: x}}, status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, address: 10.0.0.1}], nodeInfo: {kubeletVersion: v1.37.0, osImage: Debian, kernelVersion: '6.1', architecture: amd64, containerRuntimeVersion: ironclad://1}}}",
            "{apiVersion: v1, kind: Node, metadata: {name: b}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: Unknown}]}}",
            "{apiVersion: v1, kind: Node, metadata: {name: c}}",
        ],
        expect![[r#"
            Name | Status | Roles | Age | Version | Internal-IP | External-IP | OS-Image | Kernel-Version | Container-Runtime
            a | Ready | control-plane,x | 90m | v1.37.0 | 10.0.0.1 | <none> | Debian | 6.1 (amd64) | ironclad://1
            b | NotReady,SchedulingDisabled | <none> | 90m |  | <none> | <none> | <unknown> | <unknown> | <unknown>
            c | Unknown | <none> | 90m |  | <none> | <none> | <unknown> | <unknown> | <unknown>
        "#]],
    );
}

#[test]
fn workloads() {
    let template = "template: {spec: {containers: [{name: a, image: i}, {name: b, image: j}]}}";
    check(
        &[&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: a}}, spec: {{replicas: 3, selector: {{matchLabels: {{a: b}}, matchExpressions: [{{key: c, operator: In, values: [d, e]}}]}}, {template}}}, status: {{readyReplicas: 2, updatedReplicas: 1}}}}"
        )],
        expect![[r#"
            Name | Ready | Up-to-date | Available | Age | Containers | Images | Selector
            a | 2/3 | 1 | 0 | 90m | a,b | i,j | a=b,c in (d,e)
        "#]],
    );
    check(
        &[
            &format!(
                "{{apiVersion: batch/v1, kind: Job, metadata: {{name: a}}, spec: {{completions: 3, {template}}}, status: {{succeeded: 1, startTime: '2025-01-01T00:00:10Z'}}}}"
            ),
            "{apiVersion: batch/v1, kind: Job, metadata: {name: b}, spec: {parallelism: 2}, status: {conditions: [{type: Complete, status: 'True'}], startTime: '2025-01-01T00:00:10Z', completionTime: '2025-01-01T00:00:25Z'}}",
            "{apiVersion: batch/v1, kind: Job, metadata: {name: c}, spec: {suspend: true}, status: {conditions: [{type: Suspended, status: 'True'}]}}",
        ],
        expect![[r#"
            Name | Status | Completions | Duration | Age | Containers | Images | Selector
            a | Running | 1/3 | 89m | 90m | a,b | i,j | <none>
            b | Complete | 0/1 of 2 | 15s | 90m |  |  | <none>
            c | Suspended | 0/1 |  | 90m |  |  | <none>
        "#]],
    );
    check(
        &[
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: '* * * * *', suspend: false}, status: {active: [{}], lastScheduleTime: '2025-01-01T01:29:00Z'}}",
        ],
        expect![[r#"
            Name | Schedule | Timezone | Suspend | Active | Last Schedule | Age | Containers | Images | Selector
            a | * * * * * | <none> | False | 1 | 60s | 90m |  |  | <none>
        "#]],
    );
    check(
        &[
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {minReplicas: 1, maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}, {type: Pods, pods: {metric: {name: rps}, target: {averageValue: 10}}}, {type: External, external: {metric: {name: q}, target: {value: 5}}}]}, status: {currentReplicas: 2, currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 50}}}]}}",
        ],
        expect![[r#"
            Name | Reference | Targets | MinPods | MaxPods | Replicas | Age
            a | Deployment/web | cpu: 50%/80%, <unknown>/10 + 1 more... | 1 | 3 | 2 | 90m
        "#]],
    );
}

#[test]
fn others() {
    check(
        &[
            "{apiVersion: v1, kind: Event, metadata: {name: a.1}, involvedObject: {kind: Pod, name: a, fieldPath: 'spec.containers{a}'}, type: Normal, reason: Pulled, message: ' done ', source: {component: kubelet, host: node}, firstTimestamp: '2025-01-01T01:00:00Z', lastTimestamp: '2025-01-01T01:29:30Z', count: 4}",
            "{apiVersion: v1, kind: Event, metadata: {name: a.2}, involvedObject: {kind: Node}, eventTime: '2025-01-01T01:20:00.000000Z', reportingComponent: x, reportingInstance: y}",
        ],
        expect![[r#"
            Last Seen | Type | Reason | Object | Subobject | Source | Message | First Seen | Count | Name
            30s | Normal | Pulled | pod/a | spec.containers{a} | kubelet, node | done | 30m | 4 | a.1
            10m |  |  | node |  | x |  | 10m | 1 | a.2
        "#]],
    );
    check(
        &[
            "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {volumeName: v, storageClassName: s, volumeMode: Filesystem}, status: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, ReadWriteOnce]}}",
        ],
        expect![[r#"
            Name | Status | Volume | Capacity | Access Modes | StorageClass | VolumeAttributesClass | Age | VolumeMode
            a | Bound | v | 1Gi | RWO,RWX | s | <unset> | 90m | Filesystem
        "#]],
    );
    check(
        &[
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4, ports: [{port: 80}, {name: x}], endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4]}]}",
        ],
        expect![[r#"
            Name | AddressType | Ports | Endpoints | Age
            a | IPv4 | 80,x | 10.0.0.1,10.0.0.2,10.0.0.3 + 1 more... | 90m
        "#]],
    );
    check(
        &[
            "{apiVersion: v1, kind: ResourceQuota, metadata: {name: a}, status: {hard: {pods: '5', limits.cpu: '2'}, used: {pods: '1'}}}",
        ],
        expect![[r#"
            Name | Request | Limit | Age
            a | pods: 1/5 | limits.cpu: 0/2 | 90m
        "#]],
    );
    check(
        &[
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}, spec: {ingressClassName: c, tls: [{}], rules: [{host: a.b}, {}]}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}}",
        ],
        expect![[r#"
            Name | Class | Hosts | Address | Ports | Age
            a | c | a.b | 1.2.3.4 | 80, 443 | 90m
        "#]],
    );
    check(
        &[
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}, {kind: Group, name: g}, {kind: Group, name: h}, {kind: ServiceAccount, namespace: ns, name: s}]}",
        ],
        expect![[r#"
            Name | Role | Age | Users | Groups | ServiceAccounts
            a | Role/r | 90m | u | g, h | ns/s
        "#]],
    );
}
