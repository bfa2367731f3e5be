//! One task listens for signals; any number of others wait for the result.

use tokio::sync::watch;

/// How urgently the process was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Requested,
    Forced,
}

/// Requests the stop: the signal task does so, or a part that cannot continue.
#[derive(Debug, Clone)]
pub struct ShutdownTrigger {
    phase: watch::Sender<Phase>,
}

/// Waits for the stop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
}

/// A trigger and a handle that waits for it.
pub fn channel() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (ShutdownTrigger { phase: sender }, Shutdown { phase: receiver })
}

impl ShutdownTrigger {
    /// The first call requests a graceful stop, each later call an immediate one.
    pub fn trigger(&self) {
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Requested,
                Phase::Requested | Phase::Forced => Phase::Forced,
            }
        });
    }

    /// Requests a graceful stop; does nothing if one was already requested.
    pub fn request(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            if first {
                *phase = Phase::Requested;
            }
            first
        });
    }

    /// Starts to listen for SIGTERM and SIGINT. The future calls [`ShutdownTrigger::trigger`] for each, so the second
    /// signal forces the stop. Fails if a handler cannot be installed.
    pub fn signals(&self) -> std::io::Result<impl Future<Output = ()> + Send + use<>> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let trigger = self.clone();
        Ok(async move {
            loop {
                let name = tokio::select! {
                    received = terminate.recv() => received.map(|()| "SIGTERM"),
                    received = interrupt.recv() => received.map(|()| "SIGINT"),
                };
                let Some(name) = name else { return };
                tracing::info!(signal = name, "signal received");
                trigger.trigger();
            }
        })
    }
}

impl Shutdown {
    /// Resolves when a stop is requested, or when no trigger is left.
    pub async fn requested(mut self) {
        // An error means that all triggers were dropped: the process is ending anyway.
        let _ = self.phase.wait_for(|phase| *phase >= Phase::Requested).await;
    }

    /// Resolves when an immediate stop is requested; never if all triggers were dropped.
    pub async fn forced(mut self) {
        if self.phase.wait_for(|phase| *phase == Phase::Forced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        *self.phase.borrow() >= Phase::Requested
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn every_waiting_task_is_woken_even_if_it_waits_later() {
        let (trigger, shutdown) = channel();
        let early = tokio::spawn(shutdown.clone().requested());
        assert!(!shutdown.is_requested());
        trigger.request();
        early.await.expect("waiter ends");
        shutdown.clone().requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn only_the_second_signal_forces() {
        let (trigger, shutdown) = channel();
        trigger.trigger();
        trigger.request();
        assert!(shutdown.clone().forced().now_or_never().is_none());
        trigger.trigger();
        shutdown.forced().await;
    }

    #[tokio::test]
    async fn a_dropped_trigger_requests_a_stop_but_does_not_force_it() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.clone().requested().await;
        assert!(shutdown.forced().now_or_never().is_none());
    }
}
