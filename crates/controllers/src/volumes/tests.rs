//! Claims and volumes, step by step.

use super::VolumeBinder;
use crate::scene::Scene;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn binder() -> VolumeBinder {
    VolumeBinder { volumes_dir: "/var/lib/ironclad/volumes".into() }
}

/// Puts `more` over `base`, map by map.
fn with(mut base: Value, more: Value) -> Value {
    if let Value::Object(more) = more {
        for (key, value) in more {
            let slot = &mut base[&key];
            *slot = if slot.is_object() && value.is_object() { with(slot.take(), value) } else { value };
        }
    }
    base
}

fn claim(more: Value) -> Value {
    let base = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"}});
    with(base, more)
}

fn volume(name: &str, size: &str, more: Value) -> Value {
    let base = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "capacity": {"storage": size},
            "persistentVolumeReclaimPolicy": "Retain"},
        "status": {"phase": "Available"}});
    with(base, more)
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": mode})
}

fn bound_to(uid: &str) -> Value {
    json!({"spec": {"claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": "x",
        "name": "data", "uid": uid}}})
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"kubernetes.io/hostname": format!("host-{name}")}}})
}

fn check(key: &str, objects: impl IntoIterator<Item = Value>, expect: Expect) {
    expect.assert_eq(&Scene::new(objects).show(&binder(), key));
}

#[test]
fn the_smallest_that_suits_is_taken() {
    let other_class = volume("other", "1Gi", json!({"spec": {"storageClassName": "slow"}}));
    let more_modes =
        volume("shared", "1Gi", json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}}));
    let taken = volume("taken", "1Gi", bound_to("somebody"));
    let block = volume("block", "1Gi", json!({"spec": {"volumeMode": "Block"}}));
    check(
        "x/data",
        [
            claim(json!({})),
            volume("big", "100Gi", json!({})),
            volume("fits", "2Gi", json!({})),
            volume("small", "512Mi", json!({})),
            other_class,
            more_modes,
            taken,
            block,
        ],
        expect![[r#"
            update persistentvolumes fits {"metadata":{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","resourceVersion":"1","uid":"data-uid"},"persistentVolumeReclaimPolicy":"Retain","storageClassName":"fast"}}
        "#]],
    );
}

#[test]
fn a_binding_goes_step_by_step() {
    let reference = bound_to("data-uid");
    check(
        "x/data",
        [claim(json!({})), volume("v", "2Gi", reference.clone())],
        expect![[r#"
        update/status persistentvolumes v {"phase":"Bound"}
        update persistentvolumeclaims x/data {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"fast","volumeName":"v"}}
    "#]],
    );
    let named = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"}});
    let bound = with(reference, json!({"status": {"phase": "Bound"}}));
    let objects = [claim(named.clone()), volume("v", "2Gi", bound.clone())];
    check(
        "x/data",
        objects.clone(),
        expect![[r#"
        update/status persistentvolumeclaims x/data {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"phase":"Bound"}
    "#]],
    );
    check("v", objects, expect![[""]]);
    let done = json!({"status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "2Gi"}}});
    check("x/data", [claim(with(named, done)), volume("v", "2Gi", bound)], expect![[""]]);
}

#[test]
fn a_reserved_volume_goes_to_its_claim_alone() {
    let mut reserved = bound_to("");
    reserved["spec"]["claimRef"]["uid"] = Value::Null;
    check(
        "x/data",
        [claim(json!({})), volume("a", "1Gi", json!({})), volume("mine", "5Gi", reserved.clone())],
        expect![[r#"
            update persistentvolumes mine {"metadata":{},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"5Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","resourceVersion":"1","uid":"data-uid"},"persistentVolumeReclaimPolicy":"Retain","storageClassName":"fast"}}
        "#]],
    );
    check("mine", [claim(json!({})), volume("mine", "5Gi", reserved)], expect![[""]]);
}

#[test]
fn a_named_volume_must_suit() {
    let asks = |more: Value| claim(with(json!({"spec": {"volumeName": "v"}}), more));
    check("x/data", [asks(json!({}))], expect![[""]]);
    check(
        "x/data",
        [asks(json!({})), volume("v", "1Mi", json!({}))],
        expect![[r#"
        event Warning VolumeMismatch PersistentVolumeClaim/data Cannot bind to requested volume "v": requested PV is too small
        again in 300 s
    "#]],
    );
    check(
        "x/data",
        [asks(json!({})), volume("v", "1Gi", bound_to("other"))],
        expect![[r#"
        event Warning FailedBinding PersistentVolumeClaim/data volume "v" already bound to a different claim.
        again in 300 s
    "#]],
    );
    check(
        "x/data",
        [asks(json!({})), volume("v", "1Gi", json!({}))],
        expect![[r#"
        update persistentvolumes v {"metadata":{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","resourceVersion":"1","uid":"data-uid"},"persistentVolumeReclaimPolicy":"Retain","storageClassName":"fast"}}
    "#]],
    );
}

#[test]
fn a_lost_volume_is_told() {
    let bound = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"}, "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}}});
    check(
        "x/data",
        [claim(bound.clone())],
        expect![[r#"
        update/status persistentvolumeclaims x/data {"phase":"Lost"}
          ok: Warning ClaimLost PersistentVolumeClaim/data Bound claim has lost its PersistentVolume. Data on the volume is lost!
    "#]],
    );
    check(
        "x/data",
        [claim(bound), volume("v", "2Gi", bound_to("other"))],
        expect![[r#"
        update/status persistentvolumeclaims x/data {"phase":"Lost"}
          ok: Warning ClaimMisbound PersistentVolumeClaim/data Two claims are bound to the same volume, this one is bound incorrectly
    "#]],
    );
}

#[test]
fn a_delayed_claim_waits_for_a_pod() {
    let local = class("fast", "ironclad.local/hostpath", "WaitForFirstConsumer");
    check(
        "x/data",
        [claim(json!({})), local.clone(), volume("v", "1Gi", json!({}))],
        expect![[r#"
        event Normal WaitForFirstConsumer PersistentVolumeClaim/data waiting for first consumer to be created before binding
        again in 300 s
    "#]],
    );
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
    };
    check(
        "x/data",
        [claim(json!({})), local.clone(), pod("a")],
        expect![[r#"
        event Normal WaitForPodScheduled PersistentVolumeClaim/data waiting for pod a to be scheduled
        again in 300 s
    "#]],
    );
    check(
        "x/data",
        [claim(json!({})), local, pod("a"), pod("b")],
        expect![[r#"
        event Normal WaitForPodScheduled PersistentVolumeClaim/data waiting for pods a,b to be scheduled
        again in 300 s
    "#]],
    );
}

#[test]
fn a_volume_is_made_on_the_chosen_node() {
    let local = class("fast", "ironclad.local/hostpath", "WaitForFirstConsumer");
    let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}});
    check(
        "x/data",
        [claim(chosen.clone()), local.clone(), node("n1"), node("n2")],
        expect![[r#"
        update persistentvolumeclaims x/data {"metadata":{"annotations":{"volume.beta.kubernetes.io/storage-provisioner":"ironclad.local/hostpath","volume.kubernetes.io/selected-node":"n1","volume.kubernetes.io/storage-provisioner":"ironclad.local/hostpath"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"fast"}}
        create persistentvolumes pvc-data-uid {"metadata":{"annotations":{"ironclad.local/node":"n1","pv.kubernetes.io/bound-by-controller":"yes","pv.kubernetes.io/provisioned-by":"ironclad.local/hostpath"},"finalizers":["ironclad.local/volume-data"]},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","resourceVersion":"1","uid":"data-uid"},"hostPath":{"path":"/var/lib/ironclad/volumes/pvc-data-uid","type":"DirectoryOrCreate"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["host-n1"]}]}]}},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"fast"}}
          ok: Normal ProvisioningSucceeded PersistentVolumeClaim/data Successfully provisioned volume {} using ironclad.local/hostpath
          or: Warning ProvisioningFailed PersistentVolumeClaim/data Error creating provisioned PV object for claim x/data: {}. Deleting the volume.
    "#]],
    );
    check(
        "x/data",
        [claim(chosen.clone()), local.clone()],
        expect![[r#"
        update persistentvolumeclaims x/data {"metadata":{"annotations":{}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"fast"}}
        event Warning ProvisioningFailed PersistentVolumeClaim/data Failed to get target node: node "n1" not found
        again in 5 s
    "#]],
    );
    let block = with(chosen, json!({"spec": {"volumeMode": "Block"}}));
    check(
        "x/data",
        [claim(block), local, node("n1")],
        expect![[r#"
        event Warning ProvisioningFailed PersistentVolumeClaim/data Failed to provision volume with StorageClass "fast": ironclad.local/hostpath does not support block volume provisioning
        again in 300 s
    "#]],
    );
    let immediate = class("fast", "ironclad.local/hostpath", "Immediate");
    check(
        "x/data",
        [claim(json!({})), immediate, node("n1"), node("n2")],
        expect![[r#"
        event Warning ProvisioningFailed PersistentVolumeClaim/data Failed to provision volume with StorageClass "fast": no node was selected for it, and there is not exactly one node; set volumeBindingMode: WaitForFirstConsumer on the class
        again in 5 s
    "#]],
    );
}

#[test]
fn others_provision_their_own() {
    check(
        "x/data",
        [claim(json!({})), class("fast", "csi.example.com", "Immediate")],
        expect![[r#"
        update persistentvolumeclaims x/data {"metadata":{"annotations":{"volume.beta.kubernetes.io/storage-provisioner":"csi.example.com","volume.kubernetes.io/storage-provisioner":"csi.example.com"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"fast"}}
        event Normal ExternalProvisioning PersistentVolumeClaim/data Waiting for a volume to be created either by the external provisioner 'csi.example.com' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
        again in 300 s
    "#]],
    );
    check(
        "x/data",
        [claim(json!({})), class("fast", "kubernetes.io/no-provisioner", "Immediate")],
        expect![[r#"
            event Warning ProvisioningFailed PersistentVolumeClaim/data no volume plugin matched name: kubernetes.io/no-provisioner
            again in 300 s
        "#]],
    );
    check(
        "x/data",
        [claim(json!({}))],
        expect![[r#"
        event Warning ProvisioningFailed PersistentVolumeClaim/data storageclass.storage.k8s.io "fast" not found
        again in 300 s
    "#]],
    );
}

#[test]
fn a_claim_without_class_gets_the_default_one() {
    let mut default = class("standard", "ironclad.local/hostpath", "WaitForFirstConsumer");
    default["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let no_class = claim(json!({"spec": {"storageClassName": null}}));
    check(
        "x/data",
        [no_class.clone(), default.clone()],
        expect![[r#"
        update persistentvolumeclaims x/data {"metadata":{},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"standard"}}
    "#]],
    );
    check(
        "x/data",
        [no_class],
        expect![[r#"
        event Normal FailedBinding PersistentVolumeClaim/data no persistent volumes available for this claim and no storage class is set
        again in 300 s
    "#]],
    );
    check(
        "x/data",
        [claim(json!({"spec": {"storageClassName": ""}})), default],
        expect![[r#"
        event Normal FailedBinding PersistentVolumeClaim/data no persistent volumes available for this claim and no storage class is set
        again in 300 s
    "#]],
    );
}

#[test]
fn what_becomes_of_a_released_volume() {
    let of = |policy: &str, phase: &str, provisioner: &str| {
        let mut v = volume("v", "1Gi", bound_to("gone-uid"));
        v["spec"]["persistentVolumeReclaimPolicy"] = policy.into();
        v["status"]["phase"] = phase.into();
        if !provisioner.is_empty() {
            v["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": provisioner});
        }
        v
    };
    let ours = "ironclad.local/hostpath";
    check(
        "v",
        [of("Retain", "Bound", "")],
        expect![[r#"
        update/status persistentvolumes v {"phase":"Released"}
    "#]],
    );
    check("v", [of("Retain", "Released", "")], expect![[""]]);
    check(
        "v",
        [of("Delete", "Released", ours)],
        expect![[r#"
        delete persistentvolumes v
    "#]],
    );
    check("v", [of("Delete", "Released", "csi.example.com")], expect![[""]]);
    check(
        "v",
        [of("Delete", "Released", "")],
        expect![[r#"
        update/status persistentvolumes v {"message":"error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched","phase":"Failed"}
          ok: Warning VolumeFailedDelete PersistentVolume/v error getting deleter volume plugin for volume "v": no deletable volume plugin matched
    "#]],
    );
    check(
        "v",
        [of("Recycle", "Released", "")],
        expect![[r#"
        update/status persistentvolumes v {"message":"No recycler plugin found for the volume!","phase":"Failed"}
          ok: Warning VolumeFailedRecycle PersistentVolume/v No recycler plugin found for the volume!
    "#]],
    );
    // A new claim of the same name is another one.
    check(
        "v",
        [of("Retain", "Bound", ours), claim(json!({}))],
        expect![[r#"
        update/status persistentvolumes v {"phase":"Released"}
    "#]],
    );
    // The claim may only be late: its cache is older than the volume.
    let mut young = of("Delete", "Bound", ours);
    young["metadata"]["resourceVersion"] = "9".into();
    check(
        "v",
        [young],
        expect![[r#"
        again in 5 s
    "#]],
    );
}

#[test]
fn a_volume_whose_claim_went_elsewhere_is_freed() {
    let elsewhere = claim(json!({"spec": {"volumeName": "w"}}));
    let mut ours = volume("v", "1Gi", bound_to("data-uid"));
    ours["status"]["phase"] = "Bound".into();
    let theirs = ours.clone();
    ours["metadata"]["annotations"] = json!({"pv.kubernetes.io/bound-by-controller": "yes"});
    check(
        "v",
        [elsewhere.clone(), ours],
        expect![[r#"
        update persistentvolumes v {"metadata":{"annotations":{}},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"persistentVolumeReclaimPolicy":"Retain","storageClassName":"fast"}}
    "#]],
    );
    check(
        "v",
        [elsewhere, theirs],
        expect![[r#"
        update persistentvolumes v {"metadata":{},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x"},"persistentVolumeReclaimPolicy":"Retain","storageClassName":"fast"}}
    "#]],
    );
}

#[test]
fn a_volume_of_a_lost_node_is_let_go() {
    let mut v = volume("v", "1Gi", bound_to("gone-uid"));
    v["metadata"]["annotations"] = json!({"ironclad.local/node": "n1",
        "pv.kubernetes.io/provisioned-by": "ironclad.local/hostpath"});
    v["metadata"]["finalizers"] = json!(["ironclad.local/volume-data"]);
    v["metadata"]["deletionTimestamp"] = "2025-12-31T23:59:00Z".into();
    v["spec"]["persistentVolumeReclaimPolicy"] = "Delete".into();
    v["status"]["phase"] = "Released".into();
    check("v", [v.clone(), node("n1")], expect![[""]]);
    let mut other = node("n1");
    other["metadata"]["annotations"] = json!({"ironclad.local/volumes-removed": "u,w"});
    check("v", [v.clone(), other.clone()], expect![[""]]);
    // Lost with the node, or removed by it: the same.
    other["metadata"]["annotations"]["ironclad.local/volumes-removed"] = "u,v".into();
    assert_eq!(
        Scene::new([v.clone(), other]).show(&binder(), "v"),
        Scene::new([v.clone()]).show(&binder(), "v")
    );
    check(
        "v",
        [v],
        expect![[r#"
        update persistentvolumes v {"metadata":{"annotations":{"ironclad.local/node":"n1","pv.kubernetes.io/provisioned-by":"ironclad.local/hostpath"},"deletionTimestamp":"2025-12-31T23:59:00Z","finalizers":[]},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"x","uid":"gone-uid"},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"fast"}}
    "#]],
    );
}
