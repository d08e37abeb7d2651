//! Wait until a sequence number arrives.
//!
//! One side [`advance`](SeqWait::advance)s a number that only grows; others wait until it has reached a number of their own. A wait is a
//! blocking call ([`wait_for`](SeqWait::wait_for), [`wait_for_timeout`](SeqWait::wait_for_timeout)) or a future of any runtime
//! ([`arrival`](SeqWait::arrival)). The number may be of any type with a total order.
//!
//! Unlike with one condition variable for all, an advance wakes exactly those whose number has arrived, and nobody else: with thousands
//! of waiters for different numbers, a small step forward costs no more than the few whom it concerns.
//!
//! ```
//! use seqwait::{SeqWait, WaitError};
//! use std::time::Duration;
//!
//! let applied = SeqWait::new(0_u64);
//! std::thread::scope(|scope| {
//!     let reader = scope.spawn(|| applied.wait_for(20));
//!     assert_eq!(applied.advance(10), 0); // the old number comes back; the reader sleeps on
//!     assert_eq!(applied.advance(20), 10);
//!     assert_eq!(reader.join().unwrap(), Ok(()));
//! });
//!
//! // A step backwards changes nothing; what it means is for the caller to decide.
//! assert_eq!(applied.advance(5), 20);
//! assert_eq!(applied.load(), 20);
//!
//! let late = applied.wait_for_timeout(30, Duration::from_millis(1));
//! assert_eq!(late, Err(WaitError::Timeout { wanted: 30, current: 20 }));
//!
//! applied.shutdown();
//! assert_eq!(applied.wait_for(30), Err(WaitError::Shutdown { wanted: 30, current: 20 }));
//! ```
#![forbid(unsafe_code)]

mod arrival;
mod error;
mod queue;
mod seqwait;
mod slot;
mod sync;

pub use arrival::Arrival;
pub use error::WaitError;
pub use seqwait::SeqWait;
