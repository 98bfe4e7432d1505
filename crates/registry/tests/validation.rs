//! What people write by hand and get wrong, and what upstream says to it.

use expect_test::{Expect, expect};
use meta::Object;
use registry::{Context, Kind};

fn read(text: &str) -> (&'static Kind, Object) {
    let value = meta::yaml::decode(text).expect("YAML").value;
    let mut object = Object::from_value(value).expect("an object");
    let gvk = object.gvk();
    let kind = registry::by_kind(&gvk.group, &gvk.version, &gvk.kind).expect("a kind of ours");
    if kind.namespaced {
        object.metadata.namespace = "default".to_owned();
    }
    object.metadata.uid = "d223b639".to_owned();
    kind.default(&mut object);
    (kind, object)
}

/// The faults of a new object, one a line.
fn check(text: &str, expected: Expect) {
    let (kind, mut object) = read(text);
    kind.prepare_for_create(&mut object, &Context::at(jiff::Timestamp::UNIX_EPOCH));
    let faults = [kind.validate_name(&object), kind.validate(&object)].concat();
    expected.assert_eq(&lines(&faults));
}

/// The faults of a change.
fn check_update(old: &str, new: &str, expected: Expect) {
    let context = Context::at(jiff::Timestamp::UNIX_EPOCH);
    let ((kind, mut old), (_, mut new)) = (read(old), read(new));
    kind.prepare_for_create(&mut old, &context);
    kind.prepare_for_update(None, &mut new, &old, &context);
    expected.assert_eq(&lines(&kind.validate_update(None, &new, &old)));
}

fn lines(faults: &[meta::FieldError]) -> String {
    faults.iter().map(|f| format!("{f}\n")).collect()
}

#[test]
fn pods() {
    check(
        "{apiVersion: v1, kind: Pod, metadata: {name: x}}",
        expect![[r#"
        spec.containers: Required value
    "#]],
    );
    check(
        "
apiVersion: v1
kind: Pod
metadata:
  name: Bad_Name
  labels: {'a b': c, ok: 'not ok!'}
  annotations: {'/x': 'v'}
spec:
  restartPolicy: Sometimes
  dnsPolicy: None
  nodeSelector: {x: 'v w'}
  hostname: UPPER
  activeDeadlineSeconds: 0
  priorityClassName: Bad!
  containers:
  - name: a_b
    imagePullPolicy: Maybe
    ports:
    - {containerPort: 0}
    - {containerPort: 80, name: Http}
    - {containerPort: 70000, protocol: HTTP, hostPort: 80}
    - {containerPort: 81, hostPort: 80}
    - {containerPort: 82, hostPort: 80}
    env:
    - {name: 'A=B'}
    - {name: B, value: x, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: C, valueFrom: {fieldRef: {fieldPath: spec.nothing}}}
    - {name: D, valueFrom: {secretKeyRef: {name: s}}}
    - {name: E, valueFrom: {}}
    - {name: F, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}
    envFrom:
    - {}
    volumeMounts:
    - {name: nothing, mountPath: /x}
    - {name: data, mountPath: /x, subPath: ../up}
    resources:
      limits: {cpu: '1', memory: -1Gi, gpu: '1'}
      requests: {cpu: '2', example.com/gpu: '1'}
    livenessProbe: {successThreshold: 2, periodSeconds: -1}
    readinessProbe: {httpGet: {port: 0, scheme: FTP}, exec: {command: []}}
    lifecycle: {preStop: {sleep: {seconds: 60}}}
    securityContext: {runAsUser: -1, privileged: true, allowPrivilegeEscalation: false, seccompProfile: {type: Own}}
    terminationMessagePolicy: Never
  - {name: a, image: ' spaced '}
  - {name: a, image: x}
  initContainers:
  - {name: i, image: x, livenessProbe: {exec: {command: [x]}}}
  volumes:
  - {name: data, emptyDir: {}, hostPath: {path: /x}}
  - {name: data2, configMap: {defaultMode: 1000}}
  - {name: data2, hostPath: {path: ../x, type: What}}
  tolerations:
  - {key: 'a b', operator: Exists, value: x}
  - {operator: Equal}
  - {key: x, tolerationSeconds: 5, effect: NoSchedule}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 101, preference: {matchExpressions: [{key: x, operator: Near}]}}
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {labelSelector: {matchLabels: {a: b}}}
  topologySpreadConstraints:
  - {maxSkew: 0, topologyKey: zone, whenUnsatisfiable: Never, labelSelector: {matchLabels: {a: b}}}
",
        expect![[r#"
            metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.labels: Invalid value: "not ok!": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.annotations: Invalid value: "/x": prefix part must be non-empty
            spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
            spec.volumes[1].configMap.name: Required value
            spec.volumes[1].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[2].hostPath.path: Invalid value: "../x": must not contain '..'
            spec.volumes[2].hostPath.type: Unsupported value: "What": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
            spec.containers[0].name: Invalid value: "a_b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.containers[0].image: Required value
            spec.containers[0].terminationMessagePolicy: Unsupported value: "Never": supported values: "File", "FallbackToLogsOnError"
            spec.containers[0].ports[0].containerPort: Required value
            spec.containers[0].ports[1].name: Invalid value: "Http": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].ports[2].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.containers[0].ports[2].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"
            spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nothing": error converting fieldPath: field label not supported: spec.nothing
            spec.containers[0].env[3].valueFrom.secretKeyRef.key: Required value
            spec.containers[0].env[4].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
            spec.containers[0].env[5].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
            spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            spec.containers[0].volumeMounts[0].name: Not found: "nothing"
            spec.containers[0].volumeMounts[1].name: Not found: "data"
            spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique
            spec.containers[0].volumeMounts.subPath: Invalid value: "../up": must not contain '..'
            spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"
            spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
            spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers
            spec.containers[0].resources.limits[memory]: Invalid value: "-1Gi": must be greater than or equal to 0
            spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
            spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers
            spec.containers[0].resources.requests[memory]: Invalid value: "-1Gi": must be greater than or equal to 0
            spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec.containers[0].securityContext.seccompProfile.type: Unsupported value: "Own": supported values: "Localhost", "RuntimeDefault", "Unconfined"
            spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true,"runAsUser":-1,"seccompProfile":{"type":"Own"}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)
            spec.containers[0].livenessProbe: Required value: must specify a handler type
            spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            spec.containers[0].readinessProbe.exec.command: Required value
            spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type
            spec.containers[1].image: Invalid value: " spaced ": must not have leading or trailing whitespace
            spec.containers[2].name: Duplicate value: "a"
            spec.containers[0].ports[4].hostPort: Duplicate value: "TCP//80"
            spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
            spec.nodeSelector: Invalid value: "v w": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term
            spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100
            spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
            spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than 0
            spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"
            spec.priorityClassName: Invalid value: "Bad!": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
            spec.hostname: Invalid value: "UPPER": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.tolerations[0].key: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.tolerations[0].operator: Invalid value: "x": value must be empty when `operator` is 'Exists'
            spec.tolerations[1].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec.tolerations[2].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
        "#]],
    );
}

#[test]
fn pod_updates() {
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: x}
spec:
  nodeName: node-a
  containers: [{name: a, image: x:1}]
";
    check_update(pod, &pod.replace("x:1", "x:2"), expect![""]);
    check_update(
        pod,
        &pod.replace("node-a", "node-b"),
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
          nodeName: "node-a" -> "node-b"
    "#]],
    );
    check_update(
        pod,
        &pod.replace("[{name: a", "[{name: b, image: y}, {name: a"),
        expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
    check_update(
        pod,
        &pod.replace("image: x:1", "image: x:1, command: [sh]"),
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
          containers[0].command: null -> ["sh"]
    "#]],
    );
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
";

#[test]
fn workloads() {
    check(DEPLOYMENT, expect![""]);
    check(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}",
        expect![[r#"
        spec.selector: Required value
        spec.template.spec.containers: Required value
    "#]],
    );
    check(
        &DEPLOYMENT.replace("labels: {app: web}", "labels: {app: other}"),
        expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`
    "#]],
    );
    check(
        &DEPLOYMENT.replace(
            "spec:\n  sel",
            "spec:\n  replicas: -1\n  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}\n  sel",
        ),
        expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0
        "#]],
    );
    check(
        &DEPLOYMENT.replace("spec: {con", "spec: {restartPolicy: Never, activeDeadlineSeconds: 5, con"),
        expect![[r#"
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported
        "#]],
    );
    check_update(
        DEPLOYMENT,
        &DEPLOYMENT.replace("app: web", "app: two"),
        expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"app":"two"}}: field is immutable
    "#]],
    );
    let set = DEPLOYMENT.replace("Deployment", "StatefulSet");
    check(&set, expect![""]);
    check_update(
        &set,
        &set.replace("spec:\n  sel", "spec:\n  serviceName: other\n  sel"),
        expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
    check(
        "
apiVersion: batch/v1
kind: Job
metadata: {name: x}
spec:
  completionMode: Indexed
  backoffLimit: -1
  parallelism: 2
  template:
    spec: {containers: [{name: web, image: web}]}
",
        expect![[r#"
            spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
            spec.completions: Required value: when completion mode is Indexed
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    check(
        "
apiVersion: batch/v1
kind: CronJob
metadata: {name: a-name-that-is-much-too-long-for-the-jobs-that-come-of-it}
spec:
  schedule: '* 25 * * MON'
  timeZone: Mars/../x
  concurrencyPolicy: Perhaps
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: web, image: web}]}}}}
",
        expect![[r#"
            spec.schedule: Invalid value: "* 25 * * MON": end of range (25) above maximum (23): 25
            spec.timeZone: Invalid value: "Mars/../x": unknown time zone Mars/../x
            spec.concurrencyPolicy: Unsupported value: "Perhaps": supported values: "Allow", "Forbid", "Replace"
            metadata.name: Invalid value: "a-name-that-is-much-too-long-for-the-jobs-that-come-of-it": must be no more than 52 characters
        "#]],
    );
}

#[test]
fn services_and_networks() {
    check(
        "
apiVersion: v1
kind: Service
metadata: {name: Web}
spec:
  type: ClusterIP
  clusterIP: 10.0.0.300
  externalTrafficPolicy: Local
  sessionAffinity: Always
  ports:
  - {port: 0}
  - {port: 80, name: http, nodePort: 30000}
  - {port: 80, name: http, targetPort: 'bad port'}
",
        expect![[r#"
            metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.ports[0].name: Required value
            spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
            spec.ports[2].name: Duplicate value: "http"
            spec.ports[2].targetPort: Invalid value: "bad port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.ports[2]: Duplicate value: {"port":80,"protocol":"TCP"}
            spec.sessionAffinity: Unsupported value: "Always": supported values: "ClientIP", "None"
            spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
        "#]],
    );
    check(
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: ExternalName, externalName: -x}}",
        expect![[r#"
        spec.externalName: Invalid value: "-x": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    let service = "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}";
    check_update(
        service,
        &service.replace("0.0.1", "0.0.2"),
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set
    "#]],
    );
    check(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: x}
spec:
  rules:
  - host: 10.0.0.1
    http:
      paths:
      - {path: x, backend: {service: {name: a, port: {number: 80}}}}
      - {path: x, pathType: Prefix, backend: {service: {name: a, port: {number: 80, name: b}}}}
      - {path: /, pathType: Prefix, backend: {}}
  - host: '*.*.example.com'
",
        expect![[r#"
            spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified
            spec.rules[0].http.paths[1].path: Invalid value: "x": must be an absolute path
            spec.rules[0].http.paths[1].backend: Invalid value: "": cannot set both port name & port number
            spec.rules[0].http.paths[2].backend: Invalid value: "": resource or service backend is required
            spec.rules[1].host: Invalid value: "*.*.example.com": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
    check(
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: x}, spec: {}}",
        expect![[r#"
        spec: Invalid value: null: either `defaultBackend` or `rules` must be specified
    "#]],
    );
    check(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: x}
spec:
  podSelector: {matchExpressions: [{key: a, operator: In}]}
  ingress:
  - ports: [{port: 90, endPort: 80}, {endPort: 5}, {protocol: ICMP}]
    from: [{}, {ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16, x]}, podSelector: {}}]
  policyTypes: [Ingress, Both]
",
        expect![[r#"
            spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.ingress[0].ports[0].endPort: Invalid value: 90: must be greater than or equal to `port`
            spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified
            spec.ingress[0].ports[2].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
            spec.ingress[0].from[0]: Required value: must specify a peer
            spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
            spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
            spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.policyTypes[1]: Unsupported value: "Both": supported values: "Ingress", "Egress"
        "#]],
    );
}

#[test]
fn configuration_and_policy() {
    check(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {'a b': c}, binaryData: {x: '!'}}",
        expect![[r#"
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        binaryData[x]: Invalid value: "<contents redacted>": illegal base64 data
    "#]],
    );
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, immutable: true, data: {a: b}}";
    check_update(
        map,
        &map.replace("a: b", "a: c"),
        expect![[r#"
        data: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
    check(
        "{apiVersion: v1, kind: Secret, metadata: {name: x}, type: kubernetes.io/tls, stringData: {a: b}}",
        expect![[r#"
        data[tls.crt]: Required value
        data[tls.key]: Required value
    "#]],
    );
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: x}, type: a/b}";
    check_update(
        secret,
        &secret.replace("a/b", "a/c"),
        expect![[r#"
        type: Invalid value: "a/c": field is immutable
    "#]],
    );
    check(
        "{apiVersion: v1, kind: Namespace, metadata: {name: A.b}}",
        expect![[r#"
        metadata.name: Invalid value: "A.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    check(
        "{apiVersion: v1, kind: ResourceQuota, metadata: {name: x}, spec: {hard: {pods: 1500m, gpus: 1, cpu: -1}, scopes: [Odd]}}",
        expect![[r#"
        spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.hard[gpus]: Invalid value: "gpus": must be a standard resource type or fully qualified
        spec.hard[gpus]: Invalid value: "gpus": must be a standard resource for quota
        spec.hard[pods]: Invalid value: "1500m": must be an integer
        spec.scopes: Invalid value: ["Odd"]: unsupported scope
    "#]],
    );
    check(
        "
apiVersion: v1
kind: LimitRange
metadata: {name: x}
spec:
  limits:
  - {type: Container, min: {cpu: 2}, max: {cpu: 1}, defaultRequest: {cpu: 2}}
  - {type: Pod, default: {cpu: 1}}
  - {type: Odd}
",
        expect![[r#"
            spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than default limit value 1
            spec.limits[0].default[cpu]: Invalid value: "1": min value 2 is greater than default value 1
            spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
            spec.limits[2].type: Invalid value: "Odd": must be a standard limit type or fully qualified
        "#]],
    );
    check(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: 'a:b'}, rules: [{verbs: []}, {verbs: [get], nonResourceURLs: [/x]}]}",
        expect![[r#"
            rules[0].verbs: Required value: verbs must contain at least one value
            rules[0].apiGroups: Required value: resource rules must supply at least one api group
            rules[0].resources: Required value: resource rules must supply at least one resource
            rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
        "#]],
    );
    check(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: x}
roleRef: {kind: Role, name: ''}
subjects: [{kind: ServiceAccount, name: x}, {kind: Robot, name: y}]
",
        expect![[r#"
            roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
            roleRef.name: Required value
            subjects[0].namespace: Required value
            subjects[1].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
        "#]],
    );
    check(
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: x}, spec: {minAvailable: 101%, maxUnavailable: -1}}",
        expect![[r#"
        spec: Invalid value: {"maxUnavailable":-1,"minAvailable":"101%"}: minAvailable and maxUnavailable cannot be both set
        spec.minAvailable: Invalid value: "101%": must not be greater than 100%
        spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check(
        "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: system-mine}, value: 5}",
        expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class
    "#]],
    );
    check(
        "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: mine}, value: 2000000000}",
        expect![[r#"
        value: Forbidden: maximum allowed value of a user defined priority is 1000000000
    "#]],
    );
    check(
        "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: x}
spec:
  minReplicas: 0
  scaleTargetRef: {kind: ''}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization}}}, {type: Pods}]
  behavior: {scaleUp: {policies: []}}
",
        expect![[r#"
            spec.minReplicas: Invalid value: 0: must be greater than or equal to 1
            spec.maxReplicas: Required value: must be set and greater than 0
            spec.scaleTargetRef.kind: Required value
            spec.scaleTargetRef.name: Required value
            spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
            spec.metrics[1].pods: Required value: must populate information for the given metric source
            spec.behavior.scaleUp.policies: Required value: must specify at least one Policy
        "#]],
    );
}

#[test]
fn storage() {
    check(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: x}, spec: {accessModes: [Everyone]}}",
        expect![[r#"
        spec.accessModes: Unsupported value: "Everyone": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.resources[storage]: Required value
    "#]],
    );
    let claim = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: x}
spec: {accessModes: [ReadWriteOnce], volumeName: v, storageClassName: s, resources: {requests: {storage: 2Gi}}}
";
    check_update(
        claim,
        &claim.replace("2Gi", "1Gi"),
        expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
    "#]],
    );
    check(
        "{apiVersion: v1, kind: PersistentVolume, metadata: {name: x}, spec: {capacity: {storage: 0}, local: {path: /x}}}",
        expect![[r#"
        spec.accessModes: Required value
        spec.capacity[storage]: Invalid value: "0": must be greater than zero
        spec.nodeAffinity: Required value: Local volume requires node affinity
    "#]],
    );
    check(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: x}, reclaimPolicy: Keep}",
        expect![[r#"
        provisioner: Required value
        reclaimPolicy: Unsupported value: "Keep": supported values: "Delete", "Retain"
    "#]],
    );
}

#[test]
fn custom_resource_definitions() {
    check(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  scope: Global
  names: {plural: Foos, kind: Foo}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {properties: {spec: {properties: {a: {type: text}}}, l: {type: array, items: {}}}}}
    additionalPrinterColumns: [{name: A, type: text, jsonPath: spec.a}]
    subresources: {scale: {specReplicasPath: .status.x, statusReplicasPath: ''}}
  - {name: v1, served: true, storage: true}
",
        expect![[r#"
            metadata.name: Invalid value: "foos.example.com": must be spec.names.plural+"."+spec.group
            spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced"
            spec.versions[1].schema.openAPIV3Schema: Required value
            spec.versions[0].schema.openAPIV3Schema.properties[l].items.type: Required value: must not be empty for specified array items
            spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields
            spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root
            spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[a].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string"
            spec.versions[0].subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec
            spec.versions[0].subresources.scale.statusReplicasPath: Required value
            spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string
            spec.versions[0].additionalPrinterColumns[0].JSONPath: Invalid value: "spec.a": must be a simple json path starting with .
            spec.versions: Invalid value: [{"additionalPrinterColumns":[{"jsonPath":"spec.a","name":"A","type":"text"}],"name":"v1","schema":{"openAPIV3Schema":{"properties":{"l":{"items":{},"type":"array"},"spec":{"properties":{"a":{"type":"text"}}}}}},"served":true,"storage":true,"subresources":{"scale":{"specReplicasPath":".status.x","statusReplicasPath":""}}},{"name":"v1","served":true,"storage":true}]: must contain unique version names
            spec.versions: Invalid value: [{"additionalPrinterColumns":[{"jsonPath":"spec.a","name":"A","type":"text"}],"name":"v1","schema":{"openAPIV3Schema":{"properties":{"l":{"items":{},"type":"array"},"spec":{"properties":{"a":{"type":"text"}}}}}},"served":true,"storage":true,"subresources":{"scale":{"specReplicasPath":".status.x","statusReplicasPath":""}}},{"name":"v1","served":true,"storage":true}]: must have exactly one version marked as storage version
            spec.names.plural: Invalid value: "Foos": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
        "#]],
    );
}

#[test]
fn warnings() {
    let (kind, pod) = read(
        "
apiVersion: v1
kind: Pod
metadata: {name: a.b}
spec:
  nodeSelector: {beta.kubernetes.io/os: linux}
  terminationGracePeriodSeconds: -1
  containers:
  - name: a
    image: x
    ports: [{containerPort: 80, name: p}]
    env: [{name: A, value: b}, {name: A, value: c}, {name: A, value: '$(A) more'}]
    resources: {limits: {memory: 100m}}
  - {name: b, image: x, ports: [{containerPort: 80, name: p}]}
  volumes: [{name: g, gitRepo: {repository: x}}]
",
    );
    expect![[r#"
        metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
        spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
        spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+
        spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer
        spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer
        spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
        spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]
        spec.containers[1].ports[0]: duplicate port name "p" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]
        spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"#]].assert_eq(&(kind.strategy.warnings)(&pod, None).join("\n"));
    let (kind, deployment) =
        read(&DEPLOYMENT.replace("spec: {con", "spec: {imagePullSecrets: [{name: a}, {name: a}], con"));
    expect![[r#"spec.template.spec.imagePullSecrets[1].name: duplicate name "a""#]]
        .assert_eq(&(kind.strategy.warnings)(&deployment, None).join("\n"));
    assert_eq!((kind.strategy.warnings)(&deployment, Some(&deployment)), Vec::<String>::new());
}
