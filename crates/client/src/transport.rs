//! The one door to the API server.

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// The longest answer that is read whole: several times the largest list page.
pub const MAX_ANSWER_BYTES: usize = 512 << 20;

/// A streaming body.
pub type Body = UnsyncBoxBody<Bytes, TransportError>;

/// No answer came, or not a whole one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// Whether the request may have reached the server.
    pub sent: bool,
    /// What happened.
    pub message: String,
}

impl TransportError {
    /// The request never left.
    pub fn unsent(why: impl std::fmt::Display) -> Self {
        Self { sent: false, message: why.to_string() }
    }

    /// The request may have been carried out.
    pub fn broken(why: impl std::fmt::Display) -> Self {
        Self { sent: true, message: why.to_string() }
    }
}

/// Carries requests to an API server, in process or over HTTP. Whose requests they are is the transport's
/// matter: it is made with an identity ([`meta::UserInfo`] in process, a certificate or token over HTTP).
pub trait Transport: Send + Sync + 'static {
    /// Carries out one request. Paths are absolute without scheme and host.
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>>;
}

/// A body that is there already.
pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Reads a body to its end, up to `max` bytes.
pub async fn collect(mut body: Body, max: usize) -> Result<Bytes, TransportError> {
    let mut all = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let held = all.len() + first.as_ref().map_or(0, Bytes::len);
        if held + data.len() > max {
            return Err(TransportError::broken(format!("the answer is longer than {max} bytes")));
        }
        match (first.take(), all.is_empty()) {
            (None, true) => first = Some(data),
            (start, _) => {
                all.extend_from_slice(&start.unwrap_or_default());
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}
