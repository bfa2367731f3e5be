//! Named tasks in one set. If a task ends early or panics, the process ends with an error that names the task.
//!
//! Each task has a heartbeat of the same name. The beat shows that the task is polled and that its polls return; it
//! does not depend on answers of the API server.

use std::{
    collections::HashMap,
    error::Error,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::{
    health::{Heartbeat, Heartbeats},
    shutdown::Shutdown,
};

/// How often the heart of a task beats.
const BEAT: Duration = Duration::from_secs(10);

/// How long the heart of a task may be silent. One poll takes far less time, even on a throttled CPU.
const SILENCE: Duration = Duration::from_secs(60);

/// Any error of a task.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// When a task may end; decides in which order a shutdown stops the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves the whole process and is stopped last, when all work has ended.
    Process,
    /// It feeds the work, for example as a watch. It runs until it is aborted.
    Feed,
    /// It does the work. On a shutdown it finishes what it has begun, and the process waits for it.
    Work,
}

/// A task ended although it must not end.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It returned, and no shutdown was requested.
    #[error("{name} ended by itself")]
    Ended {
        /// The task.
        name: String,
    },
    /// It panicked.
    #[error("{name} panicked: {message}")]
    Panicked {
        /// The task.
        name: String,
        /// Message of the panic.
        message: String,
    },
    /// It returned an error.
    #[error("{name} failed")]
    Failed {
        /// The task.
        name: String,
        /// Its error.
        source: BoxError,
    },
}

/// Owns every task; aborts them when it is dropped.
pub struct Tasks {
    spawner: Spawner,
}

/// Adds tasks; cheap to clone.
#[derive(Clone)]
pub struct Spawner {
    shared: Arc<Mutex<Shared>>,
    heartbeats: Heartbeats,
}

#[derive(Default)]
struct Shared {
    set: JoinSet<Result<(), BoxError>>,
    running: HashMap<Id, Running>,
    /// Waker of the future that waits for the next task to end: an empty set would not wake it for a task that is added
    /// later.
    waiting: Option<Waker>,
    /// The owner was dropped: no further task is started.
    closed: bool,
}

struct Running {
    name: String,
    role: Role,
    abort: AbortHandle,
}

/// A task that ended and was not aborted.
struct Exit {
    name: String,
    result: Result<Result<(), BoxError>, JoinError>,
}

impl Tasks {
    /// An empty set. The heartbeats of its tasks are registered in `heartbeats`.
    pub fn new(heartbeats: Heartbeats) -> Self {
        let shared = Arc::default();
        Self {
            spawner: Spawner { shared, heartbeats },
        }
    }

    /// Adds tasks to this set.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Resolves when `shutdown` is requested and no task of [`Role::Work`] runs. Fails as soon as a task panics, fails,
    /// or ends before the shutdown is requested.
    pub async fn drained(&mut self, shutdown: &Shutdown) -> Result<(), TaskError> {
        let mut requested = pin!(shutdown.clone().requested());
        let mut stopping = false;
        loop {
            if stopping && !self.runs(|task| task.role == Role::Work) {
                return Ok(());
            }
            tokio::select! {
                exit = self.ended() => exit.verdict(stopping || shutdown.is_requested())?,
                () = &mut requested, if !stopping => stopping = true,
            }
        }
    }

    /// Aborts every task of the roles `aborted` and waits until they have ended.
    pub async fn abort(&mut self, aborted: &[Role]) {
        let concerned = |task: &Running| aborted.contains(&task.role);
        for task in self.spawner.lock().running.values().filter(|task| concerned(task)) {
            task.abort.abort();
        }
        self.until_gone(concerned).await;
    }

    /// Waits until no task of this name runs.
    pub async fn finished(&mut self, name: &str) {
        self.until_gone(|task| task.name == name).await;
    }

    async fn until_gone(&mut self, concerned: impl Fn(&Running) -> bool) {
        poll_fn(|context| {
            loop {
                if !self.runs(&concerned) {
                    return Poll::Ready(());
                }
                let Poll::Ready(exit) = self.spawner.lock().poll_ended(context) else {
                    break;
                };
                if let Some(Err(error)) = exit.map(|exit| exit.verdict(true)) {
                    tracing::error!(%error, "a task failed while the process was stopping");
                }
            }
            Poll::Pending
        })
        .await;
    }

    fn runs(&self, concerned: impl Fn(&Running) -> bool) -> bool {
        self.spawner.lock().running.values().any(concerned)
    }

    async fn ended(&mut self) -> Exit {
        poll_fn(|context| {
            loop {
                match self.spawner.lock().poll_ended(context) {
                    Poll::Ready(Some(exit)) => return Poll::Ready(exit),
                    Poll::Ready(None) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // Tasks own spawners, so without this the set would outlive its owner.
        let mut shared = self.spawner.lock();
        shared.closed = true;
        shared.set.abort_all();
    }
}

impl Spawner {
    /// Starts a task that cannot fail.
    pub fn spawn(
        &self,
        role: Role,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.try_spawn(role, name, async move {
            task.await;
            Ok(())
        })
    }

    /// Starts a task; its error ends the process.
    pub fn try_spawn(
        &self,
        role: Role,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), BoxError>> + Send + 'static,
    ) -> AbortHandle {
        let name = name.into();
        let heart = self.heartbeats.register(name.clone(), SILENCE);
        let mut shared = self.lock();
        let abort = shared.set.spawn(beating(heart, task));
        if shared.closed {
            abort.abort();
        }
        let running = Running {
            name,
            role,
            abort: abort.clone(),
        };
        shared.running.insert(abort.id(), running);
        if let Some(waiting) = shared.waiting.take() {
            waiting.wake();
        }
        abort
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The next task that has ended; `None` for one that was aborted.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<Option<Exit>> {
        let Poll::Ready(Some(ended)) = self.set.poll_join_next_with_id(context) else {
            self.waiting = Some(context.waker().clone());
            return Poll::Pending;
        };
        let (id, result) = match ended {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let name = self.running.remove(&id).map(|task| task.name);
        let aborted = result.as_ref().is_err_and(JoinError::is_cancelled);
        Poll::Ready(name.filter(|_| !aborted).map(|name| Exit { name, result }))
    }
}

impl Exit {
    fn verdict(self, stopping: bool) -> Result<(), TaskError> {
        let Self { name, result } = self;
        match result {
            Ok(Ok(())) if stopping => Ok(()),
            Ok(Ok(())) => Err(TaskError::Ended { name }),
            Ok(Err(source)) => Err(TaskError::Failed { name, source }),
            Err(panic) => Err(TaskError::Panicked {
                name,
                message: panic.to_string(),
            }),
        }
    }
}

/// Runs `task`. Polls it at least once every [`BEAT`], and beats the heart then.
async fn beating<T>(heart: Heartbeat, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    loop {
        tokio::select! {
            biased;
            result = &mut task => return result,
            () = tokio::time::sleep(BEAT) => heart.beat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::FutureExt as _;

    use super::*;
    use crate::{
        clock::{SystemClock, TestClock},
        shutdown,
    };

    fn tasks() -> Tasks {
        Tasks::new(Heartbeats::new(Arc::new(SystemClock::new())))
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_process_with_its_name() {
        let (_trigger, shutdown) = shutdown::channel();
        let mut tasks = tasks();
        let spawner = tasks.spawner();
        spawner.spawn(Role::Feed, "the watch of Secrets", pending());
        spawner.spawn(Role::Feed, "the watch of Pods", async { panic!("out of range") });
        let error = tasks.drained(&shutdown).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TaskError::Panicked { .. }), "{text}");
        assert!(
            text.contains("the watch of Pods") && text.contains("out of range"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_task_that_ends_early_ends_the_process_with_its_name() {
        for role in [Role::Process, Role::Feed, Role::Work] {
            let (_trigger, shutdown) = shutdown::channel();
            let mut tasks = tasks();
            tasks.spawner().spawn(role, "the task", async {});
            let error = tasks.drained(&shutdown).await.unwrap_err();
            assert_eq!(error.to_string(), "the task ended by itself", "{role:?}");
        }
    }

    #[tokio::test]
    async fn a_task_added_while_nothing_runs_is_noticed() {
        let (_trigger, shutdown) = shutdown::channel();
        let mut tasks = tasks();
        let spawner = tasks.spawner();
        let mut drained = pin!(tasks.drained(&shutdown));
        assert!(drained.as_mut().now_or_never().is_none());
        spawner.try_spawn(Role::Process, "the election", async {
            Err("the lease was lost".into())
        });
        let error = drained.await.unwrap_err();
        assert_eq!(error.to_string(), "the election failed");
        assert_eq!(error.source().unwrap().to_string(), "the lease was lost");
    }

    #[tokio::test]
    async fn a_shutdown_waits_only_for_tasks_of_role_work() {
        let (trigger, shutdown) = shutdown::channel();
        let mut tasks = tasks();
        let spawner = tasks.spawner();
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        spawner.spawn(Role::Feed, "a watch", pending());
        spawner.spawn(Role::Work, "a controller", async {
            let _ = finished.await;
        });
        let mut drained = Box::pin(tasks.drained(&shutdown));
        trigger.request();
        tokio::task::yield_now().await;
        assert!(drained.as_mut().now_or_never().is_none(), "the controller still works");
        finish.send(()).unwrap();
        drained.await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_on_purpose_is_no_error() {
        let (trigger, shutdown) = shutdown::channel();
        let mut tasks = tasks();
        let abort = tasks.spawner().spawn(Role::Feed, "a watch", pending());
        abort.abort();
        tasks.finished("a watch").await;
        tasks.spawner().spawn(Role::Work, "a controller", pending());
        tasks.abort(&[Role::Work, Role::Feed]).await;
        trigger.request();
        tasks.drained(&shutdown).await.unwrap();
    }

    #[tokio::test]
    async fn tasks_end_with_their_owner() {
        let tasks = tasks();
        let spawner = tasks.spawner();
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let own = spawner.clone();
        spawner.spawn(Role::Feed, "a watch", async move {
            let _held = (alive, own);
            pending::<()>().await;
        });
        drop(tasks);
        assert_eq!(gone.recv().await, None, "the task was dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn the_heart_of_a_waiting_task_keeps_beating() {
        let hearts = Heartbeats::new(Arc::new(SystemClock::new()));
        let tasks = Tasks::new(hearts.clone());
        tasks.spawner().spawn(Role::Feed, "a watch", pending());
        tokio::time::sleep(SILENCE * 10).await;
        assert_eq!(hearts.late(), []);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_heart_of_a_task_that_hangs_is_late() {
        let clock = TestClock::new(jiff::Timestamp::UNIX_EPOCH);
        let hearts = Heartbeats::new(Arc::new(clock.clone()));
        let tasks = Tasks::new(hearts.clone());
        let (hung, hangs) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        tasks.spawner().spawn(Role::Feed, "a watch", async move {
            hung.send(()).unwrap();
            let _ = released.recv();
        });
        hangs.recv().unwrap();
        clock.advance(SILENCE + Duration::from_secs(1));
        let late = hearts.late();
        drop(release);
        assert_eq!(
            late.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(),
            ["a watch"]
        );
    }
}
