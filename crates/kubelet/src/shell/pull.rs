//! Sees that an image is on the node (`pkg/kubelet/images/image_manager.go`).

use super::Context;
use super::pulled::sha256;
use crate::core::backoff::go_duration;
use crate::core::downward::go_quote;
use crate::core::images::{self, Credential, Keyring};
use crate::core::ops::{LOOK_ONLY, STILL_ABSENT};
use crate::core::pulled::{Access, SecretSource};
use crate::core::{Failure, Note, podspec};
use cri::{AuthConfig, CriError, ImageSpec, ImageStatusRequest, PullImageRequest};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::Instant;

/// Error names that runtimes put before their message (`cri-api/pkg/errors`).
const NAMED: &[(&str, &str)] = &[
    ("RegistryUnavailable", "image pull failed for {} because the registry is unavailable"),
    ("SignatureValidationFailed", "image pull failed for {} because the signature validation failed"),
];

fn failure(reason: &'static str, message: impl Into<String>) -> Failure {
    Failure { reason, message: message.into() }
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec { image: image.to_owned(), user_specified_image: image.to_owned(), ..ImageSpec::default() }
}

/// The runtime's reference of an image; none if it isn't there.
async fn present(ctx: &Context, image: &str) -> Result<Option<String>, CriError> {
    let request = ImageStatusRequest { image: Some(spec(image)), verbose: false };
    let answer = ctx.runtime.image_status(request).await?;
    let found = answer.image.filter(|i| !i.id.is_empty());
    found.iter().for_each(|i| ctx.remember_user(i));
    Ok(found.map(|i| i.id))
}

/// Sees that the image of a container is there, as the policy says. Tells what it does as events.
pub(crate) async fn ensure(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    container: &str,
    image: &str,
    policy: &str,
) -> Result<String, Failure> {
    let role = podspec::find_container(pod, container).map_or(podspec::Role::Regular, |c| c.1);
    let tell = |n: Note| ctx.teller.pod(pod, n.of(role, container));
    let quoted = go_quote(image);
    let full = images::with_default_tag(image).map_err(|e| {
        let message = format!("Failed to apply default image tag {quoted}: {e}");
        tell(Note::warning("InspectFailed", message.clone()));
        tell(Note::warning("Failed", "Error: InvalidImageName"));
        failure("InvalidImageName", message)
    })?;
    if policy != "Always" {
        let found = present(ctx, &full).await.map_err(|e| {
            let message = format!("Failed to inspect image {quoted}: {e}");
            tell(Note::warning("InspectFailed", message.clone()));
            tell(Note::warning("Failed", "Error: ImageInspectError"));
            failure("ImageInspectError", message)
        })?;
        let usable = match found {
            Some(id) if may_use(ctx, pod, &full, &id).await => Some(id),
            _ => None,
        };
        if let Some(id) = usable {
            let message =
                format!("Container image {quoted} already present on machine and can be accessed by the pod");
            tell(Note::normal("Pulled", message));
            return Ok(id);
        }
    }
    if policy == LOOK_ONLY {
        return Err(failure(STILL_ABSENT, String::new()));
    }
    if policy == "Never" {
        let message = format!("Container image {quoted} is not present with pull policy of Never");
        tell(Note::warning("ErrImageNeverPull", message.clone()));
        tell(Note::warning("Failed", "Error: ErrImageNeverPull"));
        return Err(failure("ErrImageNeverPull", message));
    }
    tell(Note::normal("Pulling", format!("Pulling image {quoted}")));
    let start = Instant::now();
    match pull(ctx, pod, &full).await {
        Ok((id, size)) => {
            let took = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
            let took = go_duration(SignedDuration::from_millis(took));
            let message = format!(
                "Successfully pulled image {quoted} in {took} ({took} including waiting). Image size: {size} bytes."
            );
            tell(Note::normal("Pulled", message));
            Ok(id)
        }
        Err(e) => {
            tell(Note::warning("Failed", format!("Failed to pull image {quoted}: {e}")));
            let f = explain(image, &e);
            tell(Note::warning("Failed", format!("Error: {}", f.reason)));
            Err(f)
        }
    }
}

/// Whether the pod may use an image that is there without asking the registry (`MustAttemptImagePull`).
async fn may_use(ctx: &Arc<Context>, pod: &Arc<Pod>, image: &str, id: &str) -> bool {
    let Some(record) = ctx.pulled.record(id, image) else { return true };
    let Ok(images::ImageName { repository, .. }) = images::parse(image) else { return false };
    match record.access(&repository) {
        Access::Granted => true,
        Access::AskRegistry => false,
        Access::WithSecret => {
            let presented = keyring(ctx, pod).await.lookup(image);
            let presented: Vec<_> = presented.into_iter().map(|c| c.source).collect();
            let Some(known) = record.knows(&repository, &presented) else { return false };
            if let Err(error) = ctx.pulled.learn(id, &repository, Some(known)) {
                tracing::warn!(%error, image, "who may use an image is not remembered");
            }
            true
        }
    }
}

fn explain(image: &str, e: &CriError) -> Failure {
    for (name, text) in NAMED {
        if let Some(rest) = e.message.strip_prefix(name) {
            return failure(name, text.replace("{}", image) + rest);
        }
    }
    failure("ErrImagePull", e.to_string())
}

/// The identifier and the size of an image just pulled.
async fn describe(ctx: &Context, image: &str, reference: String) -> (String, u64) {
    let request = ImageStatusRequest { image: Some(spec(image)), verbose: false };
    match ctx.runtime.image_status(request).await.ok().and_then(|a| a.image) {
        Some(i) if !i.id.is_empty() => {
            ctx.remember_user(&i);
            (i.id, i.size)
        }
        _ => (reference, 0),
    }
}

async fn keyring(ctx: &Arc<Context>, pod: &Arc<Pod>) -> Keyring {
    let mut ring = Keyring::default();
    let mut missing = Vec::new();
    for r in podspec::spec(pod).image_pull_secrets.iter().flatten() {
        match ctx.objects.secret(podspec::namespace(pod), &r.name).await {
            Ok(Some(s)) => ring.add_secret(&s, sha256),
            _ => missing.push(r.name.clone()),
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        ctx.teller.pod(pod, Note::warning("FailedToRetrieveImagePullSecret", message));
    }
    ring
}

/// Pulls, and remembers for whom; gives identifier and size.
async fn pull(ctx: &Arc<Context>, pod: &Arc<Pod>, image: &str) -> Result<(String, u64), CriError> {
    ctx.pulled
        .begin(image)
        .map_err(|e| CriError::internal(format!("failed to record image pull intent: {e}")))?;
    let pulled = pull_with_any(ctx, pod, image).await;
    let Ok((reference, source)) = pulled else {
        ctx.pulled.end(image);
        return pulled.map(|(reference, _)| (reference, 0));
    };
    let (id, size) = describe(ctx, image, reference).await;
    let repository = images::parse(image).map(|n| n.repository).unwrap_or_default();
    match ctx.pulled.learn(&id, &repository, source) {
        Ok(()) => ctx.pulled.end(image),
        // The intent stays, so that the next pod asks the registry.
        Err(error) => tracing::warn!(%error, image, "who pulled an image is not remembered"),
    }
    Ok((id, size))
}

/// Pulls with each of the credentials that fit, or with none; tells which of them served.
async fn pull_with_any(
    ctx: &Arc<Context>,
    pod: &Arc<Pod>,
    image: &str,
) -> Result<(String, Option<SecretSource>), CriError> {
    let ring = keyring(ctx, pod).await;
    let (sandbox_config, _) = crate::core::sandbox::config(pod, 0, &ctx.settings).unwrap_or_default();
    let try_with = |auth: Option<AuthConfig>| {
        let sandbox_config = Some(sandbox_config.clone());
        ctx.runtime.pull_image(PullImageRequest { image: Some(spec(image)), auth, sandbox_config })
    };
    let credentials = ring.lookup(image);
    if credentials.is_empty() {
        return Ok((try_with(None).await?.image_ref, None));
    }
    let mut last = CriError::internal("no credentials");
    for Credential { auth, source } in credentials {
        match try_with(Some(auth)).await {
            Ok(a) => return Ok((a.image_ref, Some(source))),
            Err(e) => last = e,
        }
    }
    Err(last)
}
