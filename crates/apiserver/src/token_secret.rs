//! Secrets of type `kubernetes.io/service-account-token` hold a token that does not expire, for whoever asks for one by
//! making such a Secret (`pkg/controller/serviceaccount/tokens_controller.go`). Here the server fills them in as they
//! are written, since it has the key. The token is bound to its Secret and so ends with it, and the Secret is owned by
//! its account and so goes with that.

use crate::server::ApiServer;
use base64::Engine as _;
use meta::{Object, OwnerReference};

use serde_json::Value;

/// The type of such a Secret.
const TYPE: &str = "kubernetes.io/service-account-token";
/// Whose token it is to be, and which one of that name.
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

impl ApiServer {
    /// Fills in what a token Secret lacks. One whose account isn't there stays as it is.
    pub(crate) fn fill_token(&self, secret: &mut Object) {
        if secret.get(&["type"]).and_then(Value::as_str) != Some(TYPE) {
            return;
        }
        let namespace = secret.metadata.namespace.clone();
        let name = secret.metadata.annotations.get(ACCOUNT_NAME).cloned().unwrap_or_default();
        let Some(account) = self.objects().get("", "serviceaccounts", &namespace, &name) else { return };
        let uid = account.metadata.uid.clone();
        let meant = secret.metadata.annotations.get(ACCOUNT_UID);
        if meant.is_some_and(|meant| !meant.is_empty() && *meant != uid) {
            return;
        }
        secret.metadata.annotations.insert(ACCOUNT_UID.to_owned(), uid.clone());
        if !secret.metadata.owner_references.iter().any(|o| o.uid == uid) {
            let (api_version, kind) = ("v1".to_owned(), "ServiceAccount".to_owned());
            let owner = OwnerReference { api_version, kind, name, uid, ..OwnerReference::default() };
            secret.metadata.owner_references.push(owner);
        }
        let lacks = |key: &str| secret.get(&["data", key]).and_then(Value::as_str).is_none_or(str::is_empty);
        let (token, ca, place) = (lacks("token"), lacks("ca.crt"), lacks("namespace"));
        let text = |text: &str| Value::from(base64::engine::general_purpose::STANDARD.encode(text));
        if token {
            let issuer = self.authenticator.issuer();
            match issuer.secret_token(&account, secret, self.time()) {
                Ok(token) => secret.set(&["data", "token"], text(&token)),
                Err(e) => tracing::warn!("no token for the secret {namespace}/{}: {e}", secret.metadata.name),
            }
        }
        if ca {
            secret.set(&["data", "ca.crt"], text(&self.client_ca));
        }
        if place {
            secret.set(&["data", "namespace"], text(&namespace));
        }
    }
}
