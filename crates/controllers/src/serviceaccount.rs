//! Gives every namespace the service account `default` (`pkg/controller/serviceaccount`).

use api::core::v1::{Namespace, ServiceAccount};
use api::{MetaExt, ObjectMeta, names};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};

/// The controller.
pub(crate) struct ServiceAccounts;

impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_account = Watch::each::<ServiceAccount>(|_, sa, keys| {
            if sa.name() == names::SERVICE_ACCOUNT_DEFAULT {
                keys.push(Key::new("", sa.namespace()));
            }
        });
        vec![Watch::own::<Namespace>(), of_account]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(namespace) = cx.view.at::<Namespace>(cx.key).filter(|ns| is_active(ns)) else {
            return Plan::done();
        };
        let name = names::SERVICE_ACCOUNT_DEFAULT;
        if cx.view.get::<ServiceAccount>(namespace.name(), name).is_some() {
            return Plan::done();
        }
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.metadata.name.clone(),
            ..ObjectMeta::default()
        };
        Plan::one(Write::create(&ServiceAccount { metadata, ..ServiceAccount::default() }))
    }
}

/// Whether a namespace takes new objects.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|s| s.phase.as_deref());
    !namespace.is_deleting() && phase != Some("Terminating")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::json;

    #[test]
    fn an_active_namespace_gets_its_account() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
        let mut scene = Scene::new([namespace]);
        assert_eq!(scene.show(&ServiceAccounts, "x"), "create serviceaccounts x/default {\"metadata\":{}}\n");
        scene.put(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}));
        assert_eq!(scene.show(&ServiceAccounts, "x"), "");
    }
}
