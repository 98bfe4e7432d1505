//! Publishes the cluster's certificate authority in every namespace, for pods to trust the API server
//! (`pkg/controller/certificates/rootcacertpublisher`).

use crate::serviceaccount::is_active;
use api::core::v1::{ConfigMap, Namespace};
use api::{MetaExt, ObjectMeta, names};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::BTreeMap;

const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as \
     the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
     Kubernetes clusters.",
);

/// The controller, with the PEM to publish.
pub(crate) struct RootCaPublisher {
    pub(crate) pem: String,
}

impl Controller for RootCaPublisher {
    fn name(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_map = Watch::each::<ConfigMap>(|_, map, keys| {
            if map.name() == names::CONFIG_MAP_ROOT_CA {
                keys.push(Key::new("", map.namespace()));
            }
        });
        vec![Watch::own::<Namespace>(), of_map]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(namespace) = cx.view.at::<Namespace>(cx.key).filter(|ns| is_active(ns)) else {
            return Plan::done();
        };
        if self.pem.is_empty() {
            return Plan::done();
        }
        let current = cx.view.get::<ConfigMap>(namespace.name(), names::CONFIG_MAP_ROOT_CA);
        let mut wanted = current.cloned().unwrap_or_else(|| ConfigMap {
            metadata: ObjectMeta {
                name: Some(names::CONFIG_MAP_ROOT_CA.to_owned()),
                namespace: namespace.metadata.name.clone(),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        });
        wanted.data = Some(BTreeMap::from([("ca.crt".to_owned(), self.pem.clone())]));
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        annotations.insert(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
        match current {
            Some(current) if *current == wanted => Plan::done(),
            Some(_) => Plan::one(Write::update(&wanted)),
            None => Plan::one(Write::create(&wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::json;

    #[test]
    fn the_bundle_is_published_and_put_right() {
        let controller = RootCaPublisher { pem: "PEM".into() };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
        let mut scene = Scene::new([namespace]);
        assert!(
            scene
                .show(&controller, "x")
                .starts_with("create configmaps x/kube-root-ca.crt {\"data\":{\"ca.crt\":\"PEM\"}")
        );
        scene.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"},
            "data": {"ca.crt": "other"}}));
        assert!(scene.show(&controller, "x").starts_with("update configmaps x/kube-root-ca.crt"));
    }
}
