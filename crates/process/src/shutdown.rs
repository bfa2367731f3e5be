//! One task listens for signals; any number of others wait for the result.

use tokio::sync::watch;

/// How urgently the process was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Requested,
    Forced,
}

/// Asks for the stop: by the signal task, or by a part that cannot go on.
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
    /// First call: asks for a graceful stop. Each later call: asks for an immediate one.
    pub fn trigger(&self) {
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Requested,
                Phase::Requested | Phase::Forced => Phase::Forced,
            }
        });
    }

    /// Asks for a graceful stop; does nothing when one was asked for.
    pub fn request(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            if first {
                *phase = Phase::Requested;
            }
            first
        });
    }

    /// Listens from now on for SIGTERM and SIGINT; the future turns each into [`ShutdownTrigger::trigger`], so that the second
    /// forces. Errors when a handler cannot be installed.
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
    /// Resolves when a stop is asked for, or when nobody is left who could ask for one.
    pub async fn requested(mut self) {
        // An error means that all triggers are gone: the process is ending anyway.
        let _ = self.phase.wait_for(|phase| *phase >= Phase::Requested).await;
    }

    /// Resolves when an immediate stop is asked for; never when all triggers are gone.
    pub async fn forced(mut self) {
        if self.phase.wait_for(|phase| *phase == Phase::Forced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        *self.phase.borrow() >= Phase::Requested
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn everyone_who_waits_is_told_even_when_they_come_late() {
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
    async fn a_vanished_trigger_counts_as_a_request_but_not_as_force() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.clone().requested().await;
        assert!(shutdown.forced().now_or_never().is_none());
    }
}
