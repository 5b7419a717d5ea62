//! What a pool knows of its database's functions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::functions::Functions;

/// The functions that leave state behind.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// There are some.
    some: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Another one when functions came, went or changed.
    print: Option<String>,
    functions: Arc<Functions>,
}

impl Catalog {
    #[inline]
    pub(super) fn functions(&self) -> Option<Arc<Functions>> {
        self.some.load(Ordering::Relaxed).then(|| self.known().functions.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_known(&self, print: Option<&String>) -> bool {
        print.is_some() && self.known().print.as_ref() == print
    }

    pub(super) fn learn(&self, print: Option<String>, functions: Functions) {
        let mut known = self.known();
        self.some.store(!functions.is_empty(), Ordering::Relaxed);
        *known = Known { print, functions: Arc::new(functions) };
    }
}
