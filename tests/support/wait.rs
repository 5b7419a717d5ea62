//! Waiting for a condition instead of sleeping.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Asks every 20 ms until the answer is yes; `false` once `timeout` has passed.
pub async fn wait_until<F>(timeout: Duration, mut condition: F) -> bool
where
    F: AsyncFnMut() -> bool,
{
    let end = Instant::now() + timeout;
    loop {
        if condition().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Asks every 20 ms until there is a value; `None` once `timeout` has passed.
pub async fn wait_for<T, F>(timeout: Duration, mut look: F) -> Option<T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let end = Instant::now() + timeout;
    loop {
        if let Some(value) = look().await {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(POLL).await;
    }
}
