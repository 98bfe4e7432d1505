//! Verifying a service-account token and what it is bound to (`pkg/serviceaccount/{jwt,claims}.go`).

use super::jwt::Unverified;
use super::{Claims, Issuer, ObjectRef};
use crate::Lookup;
use meta::{Object, Time};

/// Clocks of issuers and verifiers may differ by this much (go-jose's DefaultLeeway).
const LEEWAY_SECONDS: i64 = 60;

/// What a token turned out to be.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Not a token of this issuer: others may know it.
    NotOurs,
    /// Ours, but not valid, with the reason.
    Invalid(String),
    /// Valid, with the audiences that the caller and the token share.
    Valid(Box<Claims>, Vec<String>),
}

impl Issuer {
    /// Verifies a token for one of `audiences` (the server's own if there are none).
    pub(crate) fn verify(
        &self,
        token: &str,
        audiences: &[String],
        lookup: &dyn Lookup,
        now: Time,
    ) -> Verdict {
        let Some(unverified) = Unverified::parse(token) else { return Verdict::NotOurs };
        if unverified.claimed_issuer().as_deref() != Some(self.issuer.as_str()) {
            return Verdict::NotOurs;
        }
        let checked = unverified.verify(self.keys()).map_err(str::to_owned).and_then(|payload| {
            let claims: Claims = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
            let shared = self.shared_audiences(&claims, audiences)?;
            check_times(&claims, now)?;
            check_bound_objects(&claims, lookup, now)?;
            Ok((claims, shared))
        });
        match checked {
            Ok((claims, shared)) => Verdict::Valid(Box::new(claims), shared),
            Err(why) => Verdict::Invalid(why),
        }
    }

    fn shared_audiences(&self, claims: &Claims, wanted: &[String]) -> Result<Vec<String>, String> {
        let wanted = if wanted.is_empty() { &self.audiences } else { wanted };
        let shared: Vec<String> = claims.aud.iter().filter(|a| wanted.contains(a)).cloned().collect();
        if shared.is_empty() {
            let quoted = crate::authorize::quoted;
            let (has, want) = (quoted(&claims.aud), quoted(wanted));
            return Err(format!("token audiences {has} is invalid for the target audiences {want}"));
        }
        Ok(shared)
    }
}

fn check_times(claims: &Claims, now: Time) -> Result<(), String> {
    let now = now.as_second();
    if now - LEEWAY_SECONDS > claims.exp {
        return Err("service account token has expired".into());
    }
    if now + LEEWAY_SECONDS < claims.nbf {
        return Err("service account token is not valid yet".into());
    }
    if now + LEEWAY_SECONDS < claims.iat {
        return Err("service account token is issued in the future".into());
    }
    Ok(())
}

/// Whether deletion was asked for, and the leeway is over.
fn is_gone(object: &Object, now: Time) -> bool {
    object.metadata.deletion_timestamp.is_some_and(|t| t.as_second() < now.as_second() - LEEWAY_SECONDS)
}

fn check_bound_objects(claims: &Claims, lookup: &dyn Lookup, now: Time) -> Result<(), String> {
    let k = &claims.kubernetes;
    let (ns, sa) = (k.namespace.as_str(), &k.serviceaccount);
    let account = lookup.get("", "serviceaccounts", ns, &sa.name);
    let account = account.ok_or_else(|| format!("serviceaccounts {:?} not found", sa.name))?;
    if account.metadata.uid != sa.uid {
        let found = &account.metadata.uid;
        return Err(format!("service account UID ({found}) does not match claim ({})", sa.uid));
    }
    if is_gone(&account, now) {
        return Err(format!("service account {ns}/{} has been deleted", sa.name));
    }
    let still = |word: &str, claim: &str, resource: &str, ns: &str, r: &ObjectRef| {
        let object = lookup.get("", resource, ns, &r.name);
        let object = object.ok_or("service account token has been invalidated")?;
        if object.metadata.uid != r.uid {
            let found = &object.metadata.uid;
            return Err(format!(
                "{word} UID ({found}) does not match service account {claim} ref claim ({})",
                r.uid
            ));
        }
        if is_gone(&object, now) { Err("service account token has been invalidated".into()) } else { Ok(()) }
    };
    if let Some(secret) = &k.secret {
        still("secret", "secret", "secrets", ns, secret)?;
    }
    match (&k.pod, &k.node) {
        // The node of a pod-bound token is only information.
        (Some(pod), _) => still("pod", "pod", "pods", ns, pod),
        (None, Some(node)) => still("node", "node", "nodes", "", node),
        (None, None) => Ok(()),
    }
}
