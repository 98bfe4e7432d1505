use super::{ClaimProtection, Claims, DefaultClass, VolumeProtection, Volumes};
use crate::scene::Scene;
use expect_test::{Expect, expect};
use reconcile::Controller;
use serde_json::{Value, json};

fn claim(class: &str, extra: Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": "1Gi"}}});
    spec.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": spec, "status": {"phase": "Pending"}})
}

fn volume(name: &str, size: &str, extra: Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"], "capacity": {"storage": size},
        "storageClassName": "fast", "persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": "/x"}});
    spec.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec,
        "status": {"phase": "Available"}})
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": mode})
}

fn node() -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "host1"}}})
}

fn pod(node: &str, phase: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": phase},
        "spec": {"nodeName": node, "containers": [],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
}

fn check(controller: &dyn Controller, key: &str, objects: impl IntoIterator<Item = Value>, expect: Expect) {
    expect.assert_eq(&Scene::new(objects).show(controller, key));
}

fn claims() -> Claims {
    Claims { directory: "/volumes".into() }
}

#[test]
fn the_smallest_volume_that_suits_is_bound() {
    let offers = [
        volume("big", "9Gi", json!({})),
        volume("fits", "2Gi", json!({})),
        volume("small", "1Mi", json!({})),
    ];
    check(&claims(), "x/data", [claim("fast", json!({}))].into_iter().chain(offers), expect![[r#"
        update persistentvolumes fits {"metadata":{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"accessModes":["ReadWriteOnce","ReadWriteMany"],"capacity":{"storage":"2Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","resourceVersion":"1","uid":"data-uid"},"hostPath":{"path":"/x"},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"fast"}}
        update persistentvolumeclaims x/data {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"fast","volumeName":"fits"}}
        patch/status persistentvolumeclaims x/data {"metadata":{"uid":"data-uid"},"status":{"accessModes":["ReadWriteOnce","ReadWriteMany"],"capacity":{"storage":"2Gi"},"phase":"Bound"}}
    "#]]);
    check(&claims(), "x/data", [claim("", json!({}))], expect![[r#"
        event Normal FailedBinding PersistentVolumeClaim/data no persistent volumes available for this claim and no storage class is set
    "#]]);
    check(&claims(), "x/data", [claim("none", json!({}))], expect![[r#"
        event Warning ProvisioningFailed PersistentVolumeClaim/data storageclass.storage.k8s.io "none" not found
    "#]]);
}

#[test]
fn a_local_volume_is_made_where_the_first_pod_is() {
    let objects = || {
        [claim("local", json!({})), class("local", "ironclad.local/volume", "WaitForFirstConsumer"), node()]
    };
    check(&claims(), "x/data", objects(), expect![[r#"
        event Normal WaitForFirstConsumer PersistentVolumeClaim/data waiting for first consumer to be created before binding
    "#]]);
    check(&claims(), "x/data", objects().into_iter().chain([pod("n1", "Pending")]), expect![[r#"
        create persistentvolumes pvc-data-uid {"metadata":{"annotations":{"pv.kubernetes.io/provisioned-by":"ironclad.local/volume"},"finalizers":["kubernetes.io/pv-protection"]},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","resourceVersion":"1","uid":"data-uid"},"hostPath":{"path":"/volumes/pvc-data-uid","type":"DirectoryOrCreate"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["host1"]}]}]}},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"local"}}
          ok: Normal ProvisioningSucceeded PersistentVolumeClaim/data Successfully provisioned volume pvc-data-uid
          or: Warning ProvisioningFailed PersistentVolumeClaim/data failed to provision volume with StorageClass "local": {}
    "#]]);
}

#[test]
fn other_provisioners_are_told() {
    check(
        &claims(),
        "x/data",
        [claim("csi", json!({})), class("csi", "example.com/csi", "Immediate")],
        expect![[r#"
            patch persistentvolumeclaims x/data {"metadata":{"annotations":{"volume.beta.kubernetes.io/storage-provisioner":"example.com/csi","volume.kubernetes.io/storage-provisioner":"example.com/csi"}}}
            event Normal ExternalProvisioning PersistentVolumeClaim/data Waiting for a volume to be created either by the external provisioner 'example.com/csi' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
        "#]],
    );
}

#[test]
fn a_released_volume_of_ours_is_deleted() {
    let bound_to = json!({"claimRef": {"namespace": "x", "name": "data", "uid": "old"}});
    let mut ours = volume("pvc-1", "1Gi", bound_to);
    ours["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": "ironclad.local/volume"});
    ours["status"]["phase"] = "Bound".into();
    check(&Volumes, "pvc-1", [ours.clone()], expect![[r#"
        update/status persistentvolumes pvc-1 {"lastPhaseTransitionTime":"2026-01-01T00:00:00Z","phase":"Released"}
    "#]]);
    ours["status"]["phase"] = "Released".into();
    check(&Volumes, "pvc-1", [ours], expect![[r#"
        delete persistentvolumes pvc-1
          or: Warning VolumeFailedDelete PersistentVolume/pvc-1 {}
    "#]]);
}

#[test]
fn what_is_in_use_stays() {
    let mut going = claim("fast", json!({}));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    going["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    check(&ClaimProtection, "x/data", [going.clone(), pod("n1", "Running")], expect![[""]]);
    check(&ClaimProtection, "x/data", [going, pod("n1", "Succeeded")], expect![[r#"
        patch persistentvolumeclaims x/data {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"data-uid"}}
    "#]]);
    check(&ClaimProtection, "x/data", [claim("fast", json!({}))], expect![[r#"
        patch persistentvolumeclaims x/data {"metadata":{"finalizers":["kubernetes.io/pvc-protection"],"resourceVersion":"1","uid":"data-uid"}}
    "#]]);
    check(&VolumeProtection, "big", [volume("big", "9Gi", json!({}))], expect![[r#"
        patch persistentvolumes big {"metadata":{"finalizers":["kubernetes.io/pv-protection"],"resourceVersion":"1","uid":"big-uid"}}
    "#]]);
}

#[test]
fn a_new_cluster_has_a_default_class() {
    check(&DefaultClass, "local", [], expect![[r#"
        create storageclasses.storage.k8s.io local {"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"ironclad.local/volume","reclaimPolicy":"Delete","volumeBindingMode":"WaitForFirstConsumer"}
    "#]]);
    check(&DefaultClass, "local", [class("local", "x", "Immediate")], expect![[""]]);
}
