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
    /// The server or the network failed, or the answer has another form than that of the script.
    #[error("Redis failed: {0}")]
    Failed(RedisError),
    /// The server may evict windows, which would be a second allowance.
    #[error("Redis evicts keys when it is full ({0}): set its maxmemory-policy to noeviction")]
    Evicts(String),
    /// The configured certificates cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsError),
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        Self::Failed(error)
    }
}

impl LinkError {
    /// Returns whether the error concerns one call only, such as a key that another version wrote, and
    /// says nothing about the server.
    pub(super) fn is_about_the_call(&self) -> bool {
        let Self::Failed(error) = self else {
            return false;
        };
        match error.code() {
            Some(code) => ["ERR", "WRONGTYPE"].contains(&code),
            None => error.kind() == ErrorKind::UnexpectedReturnType,
        }
    }
}
