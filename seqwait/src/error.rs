//! Why a wait ended without its number.

use std::error::Error;
use std::fmt;

/// Why a wait ended before its number arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError<T> {
    /// It took too long.
    Timeout {
        /// The number waited for.
        wanted: T,
        /// The number that had been reached when the wait was given up.
        current: T,
    },
    /// The number will not arrive any more: [`SeqWait::shutdown`](crate::SeqWait::shutdown) was called.
    Shutdown {
        /// The number waited for.
        wanted: T,
        /// The number that had been reached.
        current: T,
    },
}

impl<T: fmt::Debug> fmt::Display for WaitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Timeout { wanted, current } => {
                write!(f, "{wanted:?} did not arrive in time: {current:?} is reached")
            }
            WaitError::Shutdown { wanted, current } => {
                write!(f, "{wanted:?} will not arrive: shut down at {current:?}")
            }
        }
    }
}

impl<T: fmt::Debug> Error for WaitError<T> {}
