//! The lock round small state, never held across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nothing panics while it holds one of these.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
