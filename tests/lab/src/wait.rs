//! Waiting on conditions.

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

/// Asks again and again until `probe` gives a value; panics with the last reason it gave after `limit`.
///
/// # Panics
/// When the limit is over.
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

/// Asks again and again for as long as `limit`; panics as soon as `probe` gives a reason why it is not so.
///
/// # Panics
/// When the probe fails.
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
