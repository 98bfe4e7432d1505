//! Names that the API gives a meaning: labels, annotations, taints, finalizers, namespaces
//! (`k8s.io/api/core/v1/well_known_*.go`, `k8s.io/kubernetes/pkg/controller`).

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* #[doc = concat!("`", $value, "`")] pub const $name: &str = $value;)*
    };
}

names! {
    // Namespaces and the objects that every cluster has.
    NAMESPACE_DEFAULT = "default";
    NAMESPACE_KUBE_SYSTEM = "kube-system";
    NAMESPACE_KUBE_PUBLIC = "kube-public";
    NAMESPACE_KUBE_NODE_LEASE = "kube-node-lease";
    SERVICE_ACCOUNT_DEFAULT = "default";
    CONFIG_MAP_ROOT_CA = "kube-root-ca.crt";

    // Labels.
    LABEL_HOSTNAME = "kubernetes.io/hostname";
    LABEL_OS = "kubernetes.io/os";
    LABEL_ARCH = "kubernetes.io/arch";
    LABEL_ZONE = "topology.kubernetes.io/zone";
    LABEL_REGION = "topology.kubernetes.io/region";
    LABEL_METADATA_NAME = "kubernetes.io/metadata.name";
    LABEL_INSTANCE_TYPE = "node.kubernetes.io/instance-type";
    LABEL_EXCLUDE_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers";
    LABEL_POD_TEMPLATE_HASH = "pod-template-hash";
    LABEL_CONTROLLER_REVISION_HASH = "controller-revision-hash";
    LABEL_POD_TEMPLATE_GENERATION = "pod-template-generation";
    LABEL_STATEFULSET_POD_NAME = "statefulset.kubernetes.io/pod-name";
    LABEL_POD_INDEX = "apps.kubernetes.io/pod-index";
    LABEL_JOB_NAME = "batch.kubernetes.io/job-name";
    LABEL_JOB_NAME_LEGACY = "job-name";
    LABEL_CONTROLLER_UID = "batch.kubernetes.io/controller-uid";
    LABEL_CONTROLLER_UID_LEGACY = "controller-uid";
    LABEL_JOB_INDEX = "batch.kubernetes.io/job-completion-index";
    LABEL_SERVICE_NAME = "kubernetes.io/service-name";
    LABEL_SERVICE_HEADLESS = "service.kubernetes.io/headless";
    LABEL_SERVICE_PROXY_NAME = "service.kubernetes.io/service-proxy-name";
    LABEL_ENDPOINT_SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
    LABEL_ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by";
    LABEL_ENDPOINT_SLICE_SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror";
    LABEL_RBAC_AGGREGATE_PREFIX = "rbac.authorization.k8s.io/aggregate-to-";

    // Annotations.
    ANNOTATION_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
    ANNOTATION_CHANGE_CAUSE = "kubernetes.io/change-cause";
    ANNOTATION_DEPLOYMENT_REVISION = "deployment.kubernetes.io/revision";
    ANNOTATION_DEPLOYMENT_REVISION_HISTORY = "deployment.kubernetes.io/revision-history";
    ANNOTATION_DEPLOYMENT_DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas";
    ANNOTATION_DEPLOYMENT_MAX_REPLICAS = "deployment.kubernetes.io/max-replicas";
    ANNOTATION_DEPRECATED_ROLLBACK_TO = "deprecated.deployment.rollback.rollbackTo";
    ANNOTATION_DAEMONSET_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation";
    ANNOTATION_JOB_INDEX = "batch.kubernetes.io/job-completion-index";
    ANNOTATION_CRONJOB_SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    ANNOTATION_POD_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
    ANNOTATION_ENDPOINTS_LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time";
    ANNOTATION_ENDPOINTS_OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity";
    ANNOTATION_TOLERATE_UNREADY = "service.alpha.kubernetes.io/tolerate-unready-endpoints";
    ANNOTATION_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode";
    ANNOTATION_DEFAULT_STORAGE_CLASS = "storageclass.kubernetes.io/is-default-class";
    ANNOTATION_STORAGE_CLASS_LEGACY = "volume.beta.kubernetes.io/storage-class";
    ANNOTATION_PV_BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller";
    ANNOTATION_PV_BIND_COMPLETED = "pv.kubernetes.io/bind-completed";
    ANNOTATION_PV_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by";
    ANNOTATION_STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner";
    ANNOTATION_STORAGE_PROVISIONER_BETA = "volume.beta.kubernetes.io/storage-provisioner";
    ANNOTATION_SELECTED_NODE = "volume.kubernetes.io/selected-node";
    ANNOTATION_MIRROR_POD = "kubernetes.io/config.mirror";
    ANNOTATION_STATIC_POD_SOURCE = "kubernetes.io/config.source";
    ANNOTATION_STATIC_POD_HASH = "kubernetes.io/config.hash";
    ANNOTATION_SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name";
    ANNOTATION_SERVICE_ACCOUNT_UID = "kubernetes.io/service-account.uid";
    ANNOTATION_RBAC_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate";

    // Taints.
    TAINT_NOT_READY = "node.kubernetes.io/not-ready";
    TAINT_UNREACHABLE = "node.kubernetes.io/unreachable";
    TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable";
    TAINT_MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure";
    TAINT_DISK_PRESSURE = "node.kubernetes.io/disk-pressure";
    TAINT_PID_PRESSURE = "node.kubernetes.io/pid-pressure";
    TAINT_NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable";
    TAINT_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service";

    // Finalizers.
    FINALIZER_KUBERNETES = "kubernetes";
    FINALIZER_ORPHAN = "orphan";
    FINALIZER_FOREGROUND = "foregroundDeletion";
    FINALIZER_JOB_TRACKING = "batch.kubernetes.io/job-tracking";
    FINALIZER_PVC_PROTECTION = "kubernetes.io/pvc-protection";
    FINALIZER_PV_PROTECTION = "kubernetes.io/pv-protection";
    FINALIZER_VAC_PROTECTION = "kubernetes.io/vac-protection";

    // Types of secrets, and other words of the API.
    SECRET_SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token";
    SECRET_DOCKER_CONFIG_JSON = "kubernetes.io/dockerconfigjson";
    ENDPOINT_SLICE_CONTROLLER = "endpointslice-controller.k8s.io";
    ENDPOINT_SLICE_MIRRORING_CONTROLLER = "endpointslicemirroring-controller.k8s.io";
    DEFAULT_SCHEDULER = "default-scheduler";
    CLUSTER_IP_NONE = "None";
}
