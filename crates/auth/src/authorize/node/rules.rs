//! What every node may do, whatever its pods (`bootstrappolicy.NodeRules`), less the resources that
//! [`super::authorize`] decides by relation.

use crate::authorize::rbac::PolicyRule;
use std::sync::OnceLock;

const READ: &[&str] = &["get", "list", "watch"];

/// The fixed rules.
pub(super) fn rules() -> &'static [PolicyRule] {
    static RULES: OnceLock<Vec<PolicyRule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let rule = PolicyRule::resources;
        vec![
            rule(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
            rule(
                &["create"],
                &["authorization.k8s.io"],
                &["subjectaccessreviews", "localsubjectaccessreviews"],
            ),
            rule(READ, &[""], &["services"]),
            rule(&["create", "update", "patch"], &["", "events.k8s.io"], &["events"]),
            rule(&["get"], &[""], &["endpoints"]),
            rule(
                &["create", "get", "list", "watch"],
                &["certificates.k8s.io"],
                &["certificatesigningrequests"],
            ),
            rule(READ, &["storage.k8s.io"], &["csidrivers"]),
            rule(READ, &["node.k8s.io"], &["runtimeclasses"]),
            rule(READ, &["certificates.k8s.io"], &["clustertrustbundles"]),
        ]
    })
}
