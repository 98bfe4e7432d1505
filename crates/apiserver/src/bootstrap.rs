//! What every cluster has: namespaces, roles, priorities, and the service under which pods find the server. Made good at
//! each start (`pkg/controlplane`, `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, `pkg/registry/rbac/rest`).

use crate::catalog::Served;
use crate::codec;
use crate::flow;
use crate::server::ApiServer;
use crate::write::unstored;
use meta::{Object, Status, Time};
use registry::Context;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use store::{Expect, Pending, Txn, TxnError, Write};

/// A role or binding with this annotation at `true` gets back what was taken from it.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

impl ApiServer {
    /// Writes what is missing. All of it is one batch, so that a start costs one sync.
    pub(crate) fn bootstrap(&self) -> Result<(), Status> {
        let mut pending = Vec::new();
        for object in registry::bootstrap_objects() {
            self.ensure(&object, &mut pending)?;
        }
        for object in self.own_objects() {
            self.ensure(&object, &mut pending)?;
        }
        for write in pending {
            match write.wait() {
                Ok(_) | Err(TxnError::Conflict { .. }) => {}
                Err(e) => return Err(unstored(&e)),
            }
        }
        self.services.load(&self.objects());
        Ok(())
    }

    /// Puts back what the server needs and somebody deleted or changed: its service, and where it leads.
    pub(crate) async fn maintain(&self) {
        let mut pending = Vec::new();
        for object in self.own_objects() {
            if let Err(e) = self.ensure(&object, &mut pending) {
                tracing::warn!(name = object.metadata.name, "could not be put back: {e}");
            }
        }
        if let Err(e) = self.judge_flow_schemas(&mut pending) {
            tracing::warn!("flow schemas could not be judged: {e}");
        }
        if pending.is_empty() {
            return;
        }
        for write in pending {
            // Who was faster wrote it; the next turn looks again.
            let _ = write.await;
        }
        self.services.load(&self.objects());
    }

    /// Notes on flow schemas whether the priority level is there that they name.
    fn judge_flow_schemas(&self, pending: &mut Vec<Pending>) -> Result<(), Status> {
        let catalog = self.catalog();
        let version = format!("{}/v1", flow::GROUP);
        let Some(served) = catalog.by_kind(&version, "FlowSchema") else { return Ok(()) };
        for entry in self.objects().entries(flow::GROUP, "flowschemas", "") {
            let schema = codec::decode(served, &entry)?;
            let level = schema.str(&["spec", "priorityLevelConfiguration", "name"]);
            let level = self.objects().get(flow::GROUP, "prioritylevelconfigurations", "", level);
            let Some(judged) = flow::judged(&schema, level.is_some(), self.time()) else { continue };
            let (key, write) = (entry.key.to_string(), Write::Put(codec::encode(served, &judged)?));
            pending.push(self.store.begin(Txn { key, expect: Expect::Revision(entry.revision), write }));
        }
        Ok(())
    }

    fn ensure(&self, wanted: &Object, pending: &mut Vec<Pending>) -> Result<(), Status> {
        let catalog = self.catalog();
        let Some(served) = catalog.by_kind(&wanted.api_version, &wanted.kind) else { return Ok(()) };
        let m = &wanted.metadata;
        let key = served.kind.key(&m.namespace, &m.name).ok_or_else(Status::no_such_path)?;
        let (expect, object) = match self.store.get(&key) {
            None => (Expect::Absent, self.fresh(served, wanted)),
            Some(entry) => {
                let old = codec::decode(served, &entry)?;
                let new = repaired(&old, wanted);
                if new == old {
                    return Ok(());
                }
                (Expect::Revision(entry.revision), new)
            }
        };
        let write = Write::Put(codec::encode(served, &object)?);
        pending.push(self.store.begin(Txn { key, expect, write }));
        Ok(())
    }

    fn fresh(&self, served: &Arc<Served>, wanted: &Object) -> Object {
        let now = self.clock.now();
        let mut new = wanted.clone();
        new.metadata.uid = self.uids.uid();
        new.metadata.creation_timestamp = Some(Time::new(now));
        if let Some(model) = &served.model {
            let mut value = new.to_value();
            model.default(&mut value);
            new = Object::from_value(value).unwrap_or(new);
        }
        served.kind.default(&mut new);
        served.kind.prepare_for_create(&mut new, &Context::at(now));
        if new.kind == "APIService" {
            let text = "Local APIServices are always available";
            new.set(
                &["status", "conditions"],
                json!([{"type": "Available", "status": "True", "reason": "Local",
                "message": text, "lastTransitionTime": Time::new(now).to_string()}]),
            );
        }
        new
    }

    /// The service `kubernetes`, where it leads, and what servers beside this one need to know.
    fn own_objects(&self) -> Vec<Object> {
        let address = self.advertise.ip().to_string();
        let port = self.advertise.port();
        let family = if matches!(self.advertise.ip(), IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
        let ip = self.services.first().to_string();
        let labels = json!({"component": "apiserver", "provider": "kubernetes"});
        let slice = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
        let named = json!({"kubernetes.io/service-name": "kubernetes"});
        let ca = json!({
            "client-ca-file": self.client_ca,
            "requestheader-allowed-names": "[\"front-proxy-client\"]",
            "requestheader-client-ca-file": self.client_ca,
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        });
        let all = [
            json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
                "spec": {"clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP", "sessionAffinity": "None",
                    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
                    "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
                "status": {"loadBalancer": {}}}),
            json!({"apiVersion": "v1", "kind": "Endpoints",
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": slice},
                "subsets": [{"addresses": [{"ip": address}],
                    "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": named},
                "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
                "spec": {"cidrs": [self.services.cidr()]}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": ca,
                "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"}}),
        ];
        all.into_iter().filter_map(|v| Object::from_value(v).ok()).collect()
    }
}

/// What is there, with what is missing put back. People's own additions stay.
fn repaired(old: &Object, wanted: &Object) -> Object {
    let mut new = old.clone();
    match wanted.kind.as_str() {
        "ClusterRole" | "Role" | "ClusterRoleBinding" | "RoleBinding"
            if old.metadata.annotations.get(AUTO_UPDATE).is_none_or(|wish| wish != "false") =>
        {
            for (k, v) in &wanted.metadata.labels {
                new.metadata.labels.entry(k.clone()).or_insert_with(|| v.clone());
            }
            add_missing(&mut new, wanted, "rules");
            add_missing(&mut new, wanted, "subjects");
        }
        "Endpoints" | "EndpointSlice" | "ConfigMap" => {
            for (key, v) in &wanted.body {
                new.body.insert(key.clone(), v.clone());
            }
        }
        "Service" => {
            if let Some(ports) = wanted.get(&["spec", "ports"]) {
                new.set(&["spec", "ports"], ports.clone());
            }
        }
        _ => {}
    }
    new
}

fn add_missing(new: &mut Object, wanted: &Object, field: &str) {
    let Some(Value::Array(wanted)) = wanted.body.get(field) else { return };
    let mut have = new.body.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let before = have.len();
    have.extend(wanted.iter().filter(|w| !have.contains(w)).cloned().collect::<Vec<_>>());
    if have.len() != before {
        new.body.insert(field.to_owned(), have.into());
    }
}
