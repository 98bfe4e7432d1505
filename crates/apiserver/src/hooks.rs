//! What a few kinds need beside their strategy, because it concerns the server and not the object alone.

use crate::catalog::Served;
use crate::server::ApiServer;
use meta::{Object, Time};

fn is(served: &Served, group: &str, resource: &str) -> bool {
    served.kind.group == group && served.kind.resource == resource
}

/// The group of CustomResourceDefinitions.
pub(crate) const CRD_GROUP: &str = "apiextensions.k8s.io";
/// Their resource.
pub(crate) const CRDS: &str = "customresourcedefinitions";

impl ApiServer {
    /// Behind the strategy, before validation.
    pub(crate) fn prepare(&self, served: &Served, new: &mut Object, old: Option<&Object>) {
        if is(served, CRD_GROUP, CRDS) {
            self.prepare_definition(new, old);
        }
        if is(served, "", "secrets") {
            self.fill_token(new);
        }
        if served.custom.is_some() && served.kind.has_status() && old.is_none() {
            new.body.remove("status");
        }
    }

    /// A deletion begins.
    pub(crate) fn mark_deleting(&self, served: &Served, new: &mut Object, now: Time) {
        if is(served, "", "namespaces") {
            new.metadata.deletion_timestamp.get_or_insert(now);
            new.set(&["status", "phase"], "Terminating".into());
        }
        if is(served, CRD_GROUP, CRDS) {
            crate::custom::mark_terminating(new, now);
        }
    }

    /// An object was created or changed.
    pub(crate) async fn after_write(&self, served: &Served, _new: &Object) {
        if is(served, CRD_GROUP, CRDS) {
            self.load_custom();
        }
    }

    /// An object is gone.
    pub(crate) async fn after_delete(&self, served: &Served, old: &Object) {
        if is(served, "", "services") {
            self.services.free(&registry::service::held(old));
        }
        if is(served, CRD_GROUP, CRDS) {
            self.load_custom();
        }
    }
}
