//! One-time tokens for requests that were accepted over CRI and wait for their stream.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use cri::{AttachRequest, Code, CriError, PortForwardRequest};

use crate::core::{ExecRequest, lock};

/// How long a token waits (upstream's `cacheTTL`).
const LIFETIME: Duration = Duration::from_secs(60);
/// How many wait at one time (upstream's `maxInFlight`).
const LIMIT: usize = 1000;

/// An accepted request.
#[derive(Debug, Clone)]
pub(crate) enum Streamed {
    Exec { request: ExecRequest, stdout: bool, stderr: bool },
    Attach(AttachRequest),
    PortForward(PortForwardRequest),
}

/// Requests that wait for their stream.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, (Streamed, Instant)>>);

impl Tokens {
    /// Keeps a request; gives its token.
    pub(crate) fn insert(&self, request: Streamed) -> Result<String, CriError> {
        use ring::rand::SecureRandom;
        let mut bytes = [0; 24];
        ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| CriError::internal("no randomness"))?;
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let mut waiting = lock(&self.0);
        waiting.retain(|_, (_, since)| since.elapsed() < LIFETIME);
        if waiting.len() >= LIMIT {
            return Err(CriError::new(
                Code::ResourceExhausted,
                "maximum number of in-flight requests exceeded",
            ));
        }
        waiting.insert(token.clone(), (request, Instant::now()));
        Ok(token)
    }

    /// Takes the request that a token stands for; works once.
    pub(crate) fn take(&self, token: &str) -> Option<Streamed> {
        let (request, since) = lock(&self.0).remove(token)?;
        (since.elapsed() < LIFETIME).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_works_once() {
        let tokens = Tokens::default();
        let token = tokens.insert(Streamed::Attach(AttachRequest::default())).expect("a token");
        assert!(tokens.take("other").is_none());
        assert!(tokens.take(&token).is_some());
        assert!(tokens.take(&token).is_none());
    }
}
