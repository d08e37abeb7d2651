//! The primitives that everything else is built of: of the standard library, or of loom, which tries all interleavings.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use std::sync::PoisonError;

/// Locks, also after a panic: the only foreign code that runs under a lock of this crate compares numbers or clones a waker, and the
/// data are sound between any two of its steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
