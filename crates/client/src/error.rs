//! What can go wrong with a call.

use crate::transport::TransportError;
use meta::{Reason, Status};

/// Why a call has no good answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a failure.
    #[error("{0}")]
    Api(Status),
    /// No answer came, or not a whole one.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An answer came that is not what was asked for.
    #[error("cannot read the server's answer: {0}")]
    Decode(String),
}

impl Error {
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Api(status) => Some(status.reason),
            Self::Transport(_) | Self::Decode(_) => None,
        }
    }

    /// The object isn't there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 404)
    }

    /// The object was written by somebody else in between.
    pub fn is_conflict(&self) -> bool {
        self.reason() == Some(Reason::Conflict)
    }

    /// An object of that name is there.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some(Reason::AlreadyExists)
    }

    /// The revision asked for is gone: list anew.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 410)
    }

    /// The server refused what was written, and would again.
    pub fn is_final(&self) -> bool {
        matches!(self.reason(), Some(Reason::Invalid | Reason::Forbidden | Reason::BadRequest))
    }

    /// Whether the write may have been carried out all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Api(status) => status.code >= 500,
            Self::Transport(e) => e.sent,
            Self::Decode(_) => true,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Api(status)
    }
}
