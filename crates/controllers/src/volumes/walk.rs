//! The life of a claim and its volume, with a small server that does what the plans write.

use super::VolumeBinder;
use crate::claim_protection::ClaimProtection;
use crate::scene::Scene;
use crate::volume_protection::VolumeProtection;
use expect_test::expect;
use reconcile::plan::Op;
use reconcile::{Controller, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rounds until everything must have come to rest.
const MAX_ROUNDS: usize = 20;

/// Objects by resource and key.
struct Server {
    objects: BTreeMap<(String, String), Value>,
    revision: u64,
    log: String,
}

impl Server {
    fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut server = Self { objects: BTreeMap::new(), revision: 1, log: String::new() };
        objects.into_iter().for_each(|o| server.put(o));
        server
    }

    fn put(&mut self, mut object: Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let gone = !object["metadata"]["deletionTimestamp"].is_null()
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if gone {
            self.objects.remove(&(kind, name));
        } else {
            self.objects.insert((kind, name), object);
        }
    }

    /// Changes an object by hand.
    fn edit(&mut self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let Some(mut object) = self.objects.get(&(kind.to_owned(), name.to_owned())).cloned() else {
            panic!("no {kind} {name}");
        };
        change(&mut object);
        self.put(object);
    }

    fn write(&mut self, write: &Write) {
        let key = (write.resource.kind.to_string(), write.name.clone());
        let old = self.objects.get(&key).cloned();
        let mut new: Value = serde_json::from_slice(&write.body).unwrap_or_default();
        let old_version = old.as_ref().map(|o| o["metadata"]["resourceVersion"].clone());
        self.log.push_str(&format!("{write}\n"));
        match (&write.op, old) {
            (Op::Create, None) => {
                new["metadata"]["uid"] = format!("{}-uid", write.name).into();
                self.put(new);
            }
            (Op::Update(sub), Some(mut old)) => {
                assert_eq!(
                    old_version.as_ref(),
                    Some(&new["metadata"]["resourceVersion"]),
                    "{write}: a conflict"
                );
                if *sub == "status" {
                    old["status"] = new["status"].take();
                    return self.put(old);
                }
                new["status"] = old["status"].take();
                self.put(new);
            }
            (Op::Delete(_), Some(mut old)) => {
                old["metadata"]["deletionTimestamp"] = "2025-12-31T00:00:00Z".into();
                self.put(old);
            }
            (op, old) => panic!("{write}: {op:?} of {old:?}"),
        }
    }

    /// Lets the controllers work until nothing changes, and tells what they did.
    fn settle(&mut self) -> String {
        let binder = VolumeBinder { volumes_dir: "/volumes".into() };
        self.log.clear();
        for _ in 0..MAX_ROUNDS {
            let before = self.revision;
            let keys: Vec<(String, String)> = self.objects.keys().cloned().collect();
            for (kind, name) in keys {
                let (key, controllers): (String, [&dyn Controller; 2]) = match kind.as_str() {
                    "PersistentVolume" => (name, [&binder, &VolumeProtection]),
                    "PersistentVolumeClaim" => (format!("x/{name}"), [&binder, &ClaimProtection]),
                    _ => continue,
                };
                for controller in controllers {
                    let mut scene = Scene::new(self.objects.values().cloned());
                    scene.caught_up(self.revision);
                    let plan = scene.plan(controller, &key);
                    plan.writes.iter().for_each(|w| self.write(w));
                }
            }
            if self.revision == before {
                return self.log.clone();
            }
        }
        panic!("no rest:\n{}", self.log);
    }
}

fn cluster(policy: &str) -> Server {
    Server::new([
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}),
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
            "provisioner": "ironclad.local/hostpath", "reclaimPolicy": policy,
            "volumeBindingMode": "WaitForFirstConsumer"}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "x", "uid": "data-uid"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}}),
    ])
}

fn delete(object: &mut Value) {
    object["metadata"]["deletionTimestamp"] = "2025-12-31T00:00:00Z".into();
}

#[test]
fn a_claim_is_served_and_its_data_go_with_it() {
    let mut server = cluster("Delete");
    expect![[r#"
        update persistentvolumeclaims x/data
    "#]]
    .assert_eq(&server.settle());
    server.edit("PersistentVolumeClaim", "data", |c| {
        c["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = "n1".into();
    });
    expect![[r#"
        update persistentvolumeclaims x/data
        create persistentvolumes pvc-data-uid
        update persistentvolumes pvc-data-uid
        update/status persistentvolumes pvc-data-uid
        update persistentvolumeclaims x/data
        update/status persistentvolumeclaims x/data
    "#]]
    .assert_eq(&server.settle());
    server.edit("PersistentVolumeClaim", "data", delete);
    expect![[r#"
        update persistentvolumeclaims x/data
        update/status persistentvolumes pvc-data-uid
        delete persistentvolumes pvc-data-uid
        update persistentvolumes pvc-data-uid
    "#]]
    .assert_eq(&server.settle());
    let volume = server.objects.get(&("PersistentVolume".into(), "pvc-data-uid".into()));
    let finalizers = volume.map(|v| v["metadata"]["finalizers"].to_string());
    assert_eq!(finalizers.as_deref(), Some(r#"["ironclad.local/volume-data"]"#), "its node's turn");
}

#[test]
fn a_retained_volume_stays_until_it_is_freed_by_hand() {
    let mut server = cluster("Retain");
    server.edit("PersistentVolumeClaim", "data", |c| {
        c["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = "n1".into();
    });
    server.settle();
    server.edit("PersistentVolumeClaim", "data", delete);
    expect![[r#"
        update persistentvolumeclaims x/data
        update/status persistentvolumes pvc-data-uid
    "#]]
    .assert_eq(&server.settle());
    server.edit("PersistentVolume", "pvc-data-uid", |v| v["spec"]["claimRef"] = Value::Null);
    expect![[r#"
        update/status persistentvolumes pvc-data-uid
    "#]]
    .assert_eq(&server.settle());
    server.put(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "again", "namespace": "x", "uid": "again-uid"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local", "volumeName": "pvc-data-uid",
            "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}}));
    expect![[r#"
        update persistentvolumes pvc-data-uid
        update persistentvolumeclaims x/again
        update/status persistentvolumes pvc-data-uid
        update persistentvolumeclaims x/again
        update/status persistentvolumeclaims x/again
    "#]]
    .assert_eq(&server.settle());
}
