//! Waiting on conditions.

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

/// Polls until `probe` returns a value; panics with its last error after `limit`.
///
/// # Panics
/// If the time limit has passed.
pub async fn eventually<T, E, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let started = Instant::now();
    loop {
        let error = match probe().await {
            Ok(value) => return value,
            Err(error) => error,
        };
        assert!(started.elapsed() < limit, "waited {limit:?} for {what}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Polls for as long as `limit`; panics as soon as `probe` returns an error.
///
/// # Panics
/// If the probe fails.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub async fn never<E, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let started = Instant::now();
    while started.elapsed() < limit {
        if let Err(error) = probe().await {
            panic!("{what}: {error}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
