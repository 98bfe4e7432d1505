//! What can go wrong with an image.

use std::fmt;
use std::path::Path;

/// Why an image could not be had, kept or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is no image name; the text says why.
    #[error("{0}")]
    Reference(String),
    /// There is no such image here.
    #[error("image {0:?} is not on this node")]
    NotFound(String),
    /// The content is not what it claims to be, or breaks a limit.
    #[error("{0}")]
    Content(String),
    /// The registry said no; the text is its own as far as it gave one.
    #[error("{message}")]
    Registry {
        /// HTTP status; 0 where there was no answer.
        status: u16,
        /// For people.
        message: String,
    },
    /// The file system said no.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// The kernel's word.
        error: std::io::Error,
    },
}

impl Error {
    /// Content that is not what it should be.
    pub(crate) fn content(why: impl fmt::Display) -> Self {
        Self::Content(why.to_string())
    }

    /// An I/O error at a path.
    pub(crate) fn at(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let what = path.display().to_string();
        move |error| Self::Io { what: what.clone(), error }
    }

    /// An I/O error while doing something.
    pub(crate) fn doing(what: &str) -> impl Fn(std::io::Error) -> Self {
        let what = what.to_owned();
        move |error| Self::Io { what: what.clone(), error }
    }
}
