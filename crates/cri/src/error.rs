//! What a call to a container runtime can fail with.

pub use tonic::Code;

/// An error as CRI carries it: a gRPC code for programs and a message for people.
///
/// Upstream's node agent decides by code alone in few places (`NotFound`, `Unimplemented`, `DeadlineExceeded`), see
/// `cri-client/pkg/remote_runtime.go`; everything else ends as an event with the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {code:?} desc = {message}")]
pub struct CriError {
    /// The gRPC status code.
    pub code: Code,
    /// What happened, why, and what to do about it.
    pub message: String,
}

impl CriError {
    /// An error of any code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The named sandbox, container or image does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The request can never succeed as it stands.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The runtime or its kernel refused.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Unknown, message)
    }

    /// Nobody answers at the runtime's socket.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// Whether the named thing does not exist (for stop and remove: the work is already done).
    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self::new(status.code(), status.message())
    }
}

impl From<CriError> for tonic::Status {
    fn from(error: CriError) -> Self {
        tonic::Status::new(error.code, error.message)
    }
}
