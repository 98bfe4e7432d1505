//! Tokens that a node may ask for: bound to one of its pods, for audiences that the pod names.

use super::node_of;
use crate::json::{items, spec, strings, text};
use crate::{Operation, Request, View};
use meta::{Attributes, Object, Status};
use serde_json::Value;

pub(super) fn check(r: &Request, node: &str, view: &dyn View) -> Result<(), Status> {
    let Some(request) = r.object.as_ref().filter(|_| r.operation == Operation::Create) else { return Ok(()) };
    let bound = |key| request.str(&["spec", "boundObjectRef", key]);
    let (name, uid) = (bound("name"), bound("uid"));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || name.is_empty() {
        return Err(r.forbidden("node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(r.forbidden("node requested token with a pod binding without a uid"));
    }
    let pod = view.get("", "pods", &r.namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    if uid != pod.metadata.uid {
        return Err(r.forbidden(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might \
             have been deleted and then recreated"
        )));
    }
    if node_of(&pod) != node {
        return Err(r.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    check_audience(r, request, &pod, view)
}

fn check_audience(r: &Request, request: &Object, pod: &Object, view: &dyn View) -> Result<(), Status> {
    let audiences: Vec<&str> = strings(spec(request), &["audiences"]).collect();
    let audience = match audiences.as_slice() {
        [] => "",
        [one] => one,
        _ => return Err(r.forbidden("node may only request 0 or 1 audiences")),
    };
    let named = items(spec(pod), &["volumes"]).iter().any(|v| volume_names(v, pod, audience, view));
    let attributes = Attributes {
        version: "v1".to_owned(),
        resource: audience.to_owned(),
        ..Attributes::resource(&r.user, "request-serviceaccounts-token-audience", "", "")
            .namespace(&r.namespace)
            .name(&r.name)
    };
    if named || view.authorize(&attributes) {
        return Ok(());
    }
    Err(r.forbidden(format!(
        "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this \
         audience",
        r.user.name
    )))
}

/// Whether the volume, or the driver behind it, asks for a token for the audience.
fn volume_names(volume: &Value, pod: &Object, audience: &str, view: &dyn View) -> bool {
    let direct = items(volume, &["projected", "sources"]).iter().any(|s| {
        s.get("serviceAccountToken").is_some_and(|t| t.is_object() && text(t, &["audience"]) == audience)
    });
    if direct {
        return true;
    }
    let driver =
        match (text(volume, &["csi", "driver"]), text(volume, &["persistentVolumeClaim", "claimName"])) {
            ("", "") if volume.get("ephemeral").is_some_and(|e| !e.is_null()) => {
                let claim = format!("{}-{}", pod.metadata.name, text(volume, &["name"]));
                driver_of_claim(&pod.metadata.namespace, &claim, view)
            }
            ("", "") => None,
            ("", claim) => driver_of_claim(&pod.metadata.namespace, claim, view),
            (driver, _) => Some(driver.to_owned()),
        };
    let driver = driver.and_then(|name| view.get("storage.k8s.io", "csidrivers", "", &name));
    driver.is_some_and(|driver| {
        items(spec(&driver), &["tokenRequests"]).iter().any(|t| text(t, &["audience"]) == audience)
    })
}

fn driver_of_claim(namespace: &str, name: &str, view: &dyn View) -> Option<String> {
    let claim = view.get("", "persistentvolumeclaims", namespace, name)?;
    let volume = view.get("", "persistentvolumes", "", text(spec(&claim), &["volumeName"]))?;
    let driver = text(spec(&volume), &["csi", "driver"]);
    (!driver.is_empty()).then(|| driver.to_owned())
}
