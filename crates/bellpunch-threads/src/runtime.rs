//! The runtime that is searched: shuttle's tasks under tokio's own channels.
//!
//! Invariant: every operation on a channel or a lock is preceded by a choice of who runs next, and nothing
//! else is: an operation of a channel is one instant to all others, which is tokio's promise and
//! not ours to test. Chance is drawn from the schedule, so that a schedule says everything.
//!
//! Time does not pass here: a timer may be over at any moment, early or late, as far as others can
//! tell. Timers of an hour and more wait for [`hours_pass`], so that a test says when they matter.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::task::{Poll, Waker};
use std::time::Duration;

use shuttle::future::AbortHandle;
use shuttle::rand::RngCore as _;
use shuttle::sync::atomic::{AtomicBool, Ordering};

pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// As much as a timer that [`hours_pass`] ends.
pub const HOUR: Duration = Duration::from_hours(1);

thread_local! {
    static WORLD: World = World::default();
}

/// What a run knows of itself. All of its tasks share one thread of the operating system.
#[derive(Default)]
struct World {
    inbox_max: Cell<usize>,
    living: Cell<usize>,
    watchers: RefCell<Vec<Waker>>,
    tasks: RefCell<Vec<AbortHandle>>,
    hours: RefCell<Vec<tokio::sync::oneshot::Sender<()>>>,
}

/// Begins a run. Channels hold `inbox_max` messages at most.
pub fn begin(inbox_max: usize) {
    abandon();
    WORLD.with(|world| world.inbox_max.set(inbox_max));
}

/// Forgets a run that failed. What it left cannot be dropped: that would wake tasks which are gone.
pub fn abandon() {
    WORLD.with(|world| {
        world.living.set(0);
        std::mem::forget(world.watchers.take());
        std::mem::forget(world.hours.take());
        world.tasks.take();
    });
}

/// A choice of who runs next.
pub fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// A coin, drawn from the schedule.
#[must_use]
pub fn coin() -> bool {
    shuttle::rand::thread_rng().next_u64() & 1 == 1
}

/// A task of the engine.
struct Alive;

impl Alive {
    fn new() -> Self {
        WORLD.with(|world| world.living.set(world.living.get().saturating_add(1)));
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        WORLD.with(|world| world.living.set(world.living.get().saturating_sub(1)));
        tell_watchers();
    }
}

/// Something changed that [`all_ended`] waits for.
fn tell_watchers() {
    WORLD.with(|world| world.watchers.take()).into_iter().for_each(Waker::wake);
}

/// Starts a task of the engine.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    let alive = Alive::new();
    let handle = shuttle::future::spawn(async move {
        let _alive = alive;
        task.await;
    });
    WORLD.with(|world| world.tasks.borrow_mut().push(handle.abort_handle()));
}

/// Ends every task of the engine where it waits, as a runtime does that is dropped.
pub fn drop_runtime() {
    let tasks = WORLD.with(|world| world.tasks.take());
    for task in tasks {
        task.abort();
    }
}

/// Waits until no task of the engine is left, however long the timers are that it waits for.
pub async fn all_ended() {
    std::future::poll_fn(|context| {
        let timers = WORLD.with(|world| {
            world.watchers.borrow_mut().push(context.waker().clone());
            world.hours.take()
        });
        for timer in timers {
            // Whoever waited may be gone.
            let _ = timer.send(());
        }
        if WORLD.with(|world| world.living.get()) == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Waits for as long as the schedule likes; from an hour on, until [`hours_pass`].
pub(crate) async fn sleep(after: Duration) {
    let (end, over) = tokio::sync::oneshot::channel();
    if after < HOUR {
        drop(shuttle::future::spawn(async move {
            // Whoever waited may be gone.
            let _ = end.send(());
        }));
    } else {
        WORLD.with(|world| world.hours.borrow_mut().push(end));
        tell_watchers();
    }
    let _ = over.await;
}

/// Ends the long timers that run now.
pub fn hours_pass() {
    point();
    for timer in WORLD.with(|world| world.hours.take()) {
        let _ = timer.send(());
    }
}

/// The time was over first.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for a future, or for as long as the schedule likes.
pub(crate) async fn timeout<F: Future>(patience: Duration, work: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = sleep(patience) => Err(Elapsed),
    }
}

/// Lets others run first, if the schedule likes.
pub(crate) use shuttle::future::yield_now;

/// How long things take decides nothing but how long the sweeper lets the store rest, so it is the
/// machine's.
pub(crate) use tokio::time::Instant;

/// The two branches of a loop, polled in either order. tokio's own choice is not the schedule's.
macro_rules! either {
    (
        $one:pat = $first:expr, if $may:expr => $then:block
        $two:pat = $second:expr, if $might:expr => $otherwise:block
    ) => {
        if $crate::runtime::coin() {
            ::tokio::select! {
                biased;
                $one = $first, if $may => $then
                $two = $second, if $might => $otherwise
            }
        } else {
            ::tokio::select! {
                biased;
                $two = $second, if $might => $otherwise
                $one = $first, if $may => $then
            }
        }
    };
}
pub(crate) use either as select;

/// tokio's queue of messages.
pub(crate) mod mpsc {
    use super::{WORLD, point};

    pub(crate) mod error {
        pub(crate) use tokio::sync::mpsc::error::TrySendError;
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T>(tokio::sync::mpsc::Sender<T>);

    #[derive(Debug)]
    pub(crate) struct Receiver<T>(tokio::sync::mpsc::Receiver<T>);

    /// A queue of at most as many messages as the run says.
    pub(crate) fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
        let bound = WORLD.with(|world| bound.min(world.inbox_max.get()));
        let (sender, receiver) = tokio::sync::mpsc::channel(bound);
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, message: T) -> Result<(), error::TrySendError<T>> {
            point();
            self.0.try_send(message)
        }

        pub(crate) async fn send(
            &self,
            message: T,
        ) -> Result<(), tokio::sync::mpsc::error::SendError<T>> {
            point();
            self.0.send(message).await
        }

        pub(crate) fn is_closed(&self) -> bool {
            point();
            self.0.is_closed()
        }
    }

    impl<T> Receiver<T> {
        pub(crate) async fn recv_many(&mut self, messages: &mut Vec<T>, limit: usize) -> usize {
            point();
            self.0.recv_many(messages, limit).await
        }
    }
}

/// tokio's channel for one value.
pub mod oneshot {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::point;

    /// Tells.
    #[derive(Debug)]
    pub struct Sender<T>(tokio::sync::oneshot::Sender<T>);

    /// Is told.
    #[derive(Debug)]
    pub struct Receiver<T>(tokio::sync::oneshot::Receiver<T>);

    /// A channel for one value.
    #[must_use]
    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        /// Sends it.
        ///
        /// # Errors
        /// The value, if nobody waits any more.
        pub fn send(self, value: T) -> Result<(), T> {
            point();
            self.0.send(value)
        }

        /// Whether nobody waits any more.
        #[must_use]
        pub fn is_closed(&self) -> bool {
            point();
            self.0.is_closed()
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, tokio::sync::oneshot::error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            point();
            Pin::new(&mut self.0).poll(context)
        }
    }
}
