//! Requests whose order does not matter, a bounded number at a time.

use futures::{StreamExt as _, stream};

/// Number of requests of one tenant that may run at the same time. It is high enough that one request without an answer
/// delays few others, and low enough that one tenant does not crowd out the rest.
const AT_ONCE: usize = 8;

/// Runs all `futures`; returns their results in the order of `futures`.
pub async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let numbered: Vec<_> = futures
        .into_iter()
        .enumerate()
        .map(async |(number, future)| (number, future.await))
        .collect();
    let mut results: Vec<_> = stream::iter(numbered).buffer_unordered(AT_ONCE).collect().await;
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn results_keep_their_order_and_concurrency_is_bounded() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let one = async |number: u64| {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(30 - number)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            number
        };
        let results = together((0..20).map(one).collect()).await;
        assert_eq!(results, (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), AT_ONCE);
    }
}
