//! Why a registry gave us nothing: what to tell people, and whether asking again can help.

use crate::Error;

/// No answer, or no good one.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// HTTP status; 0 where there was no answer.
    pub(super) status: u16,
    /// For people.
    pub(super) message: String,
    /// Whether it is worth another attempt.
    pub(super) again: bool,
    /// Whether whoever answered doesn't speak HTTP here (or didn't speak at all).
    pub(super) not_http: bool,
}

impl Refusal {
    /// Asking again won't help.
    pub(super) fn last(message: impl Into<String>) -> Self {
        Self { status: 0, message: message.into(), again: false, not_http: false }
    }

    /// Asking again may help.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { again: true, ..Self::last(message) }
    }

    /// An answer with a status that says no.
    pub(super) fn status(status: http::StatusCode, message: impl Into<String>) -> Self {
        Self { status: status.as_u16(), again: super::http::passing(status), ..Self::last(message) }
    }

    /// The same with what was being done in front.
    pub(super) fn doing(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<Refusal> for Error {
    fn from(r: Refusal) -> Self {
        Self::Registry { status: r.status, message: r.message }
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        let status = if let Error::Registry { status, .. } = &e { *status } else { 0 };
        Self { status, ..Self::last(e.to_string()) }
    }
}
