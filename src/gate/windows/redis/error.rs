//! Says why Redis did not answer a request.

use redis::{ErrorKind, RedisError};

use crate::tls::TlsError;

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Redis was not asked: there is no connection, or the last answer came too late.
    #[error("Redis was not asked: it is unreachable, or was slow a moment ago")]
    Gone,
    /// The answer took too long.
    #[error("Redis did not answer in time")]
    Slow,
    /// The server or the network failed.
    #[error("Redis failed")]
    Failed(#[from] RedisError),
    /// The answer has a form that no script returns.
    #[error("Redis sent an answer of an unexpected form")]
    Nonsense,
    /// The server may evict windows, which would be a second allowance.
    #[error("Redis evicts keys when it is full ({0}): set its maxmemory-policy to noeviction")]
    Evicts(String),
    /// The configured certificates cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsError),
}

impl LinkError {
    /// Returns whether the error concerns one call only, such as a key that another version wrote, and
    /// says nothing about the server.
    pub(super) fn is_about_the_call(&self) -> bool {
        match self {
            Self::Nonsense => true,
            Self::Failed(error) => match error.code() {
                Some(code) => ["ERR", "WRONGTYPE"].contains(&code),
                None => error.kind() == ErrorKind::UnexpectedReturnType,
            },
            Self::Gone | Self::Slow | Self::Evicts(_) | Self::Roots(_) => false,
        }
    }
}

/// Returns an error and its cause in one line.
pub(super) fn chain(error: &LinkError) -> String {
    match error {
        LinkError::Failed(source) => format!("{error}: {source}"),
        other => other.to_string(),
    }
}
