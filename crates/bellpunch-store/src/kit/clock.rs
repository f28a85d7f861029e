//! A clock that stands still until told, and a way to wait for a future.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration as Wait;

use crate::{Clock, Timestamp};

/// How long a store that reads its clock too early is waited for. One that does not is not.
const EARLY_READER_WAIT: Wait = Wait::from_millis(100);

/// After this a store is taken for one that never reads its clock.
const READER_WAIT_MAX: Wait = Wait::from_secs(30);

#[derive(Debug, Default)]
struct State {
    now: Timestamp,
    hold: Hold,
    calls: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Hold {
    #[default]
    None,
    Next,
    Holding,
}

/// The store's clock in the kit's hands. It can hold whoever reads it: a store reads it when it has
/// exclusivity, so it is then held with exclusivity.
#[derive(Debug, Default)]
pub struct KitClock {
    state: Mutex<State>,
    changed: Condvar,
    followers: Mutex<Followers>,
}

/// Told what the clock shows.
type Follower = Box<dyn Fn(Timestamp) + Send>;

#[derive(Default)]
struct Followers(Vec<Follower>);

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Followers").field(&self.0.len()).finish()
    }
}

impl KitClock {
    /// A clock that shows a day in 2026.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self::default();
        clock.set("2026-03-01T12:00:00Z".parse().unwrap());
        clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What it shows.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.state().now
    }

    /// Makes it show this. Whoever follows it has been told when this returns.
    pub fn set(&self, now: Timestamp) {
        self.state().now = now;
        for follower in &self.followers.lock().unwrap().0 {
            follower(now);
        }
    }

    /// Tells this what the clock shows: now, and whenever it is set. For an engine in another
    /// process, whose clock a test has replaced by one that it can set.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use bellpunch_store::{Timestamp, kit::KitClock};
    /// let (clock, seen) = (KitClock::new(), Arc::new(Mutex::new(Vec::new())));
    /// let told = Arc::clone(&seen);
    /// clock.follow(move |now| told.lock().unwrap().push(now));
    /// clock.set(Timestamp::EPOCH);
    /// assert_eq!(seen.lock().unwrap().last(), Some(&Timestamp::EPOCH));
    /// ```
    pub fn follow(&self, follower: impl Fn(Timestamp) + Send + 'static) {
        let now = self.time();
        follower(now);
        self.followers.lock().unwrap().0.push(Box::new(follower));
    }

    /// Has the next reader wait.
    pub(super) fn hold_next(&self) {
        self.state().hold = Hold::Next;
    }

    /// Waits until somebody waits.
    pub(super) fn wait_held(&self) {
        let held = |state: &mut State| state.hold != Hold::Holding;
        let waited = self.changed.wait_timeout_while(self.state(), READER_WAIT_MAX, held);
        assert!(!waited.unwrap().1.timed_out(), "the store does not read its clock for a commit");
    }

    /// Gives a store that reads the clock without exclusivity the time to do so.
    pub(super) fn wait_early_reader(&self) {
        let state = self.state();
        let calls = state.calls;
        drop(
            self.changed
                .wait_timeout_while(state, EARLY_READER_WAIT, |state| state.calls == calls)
                .unwrap(),
        );
    }

    /// Tells that a commit was handed over, so that nobody need be waited for.
    pub(super) fn arrived(&self) {
        self.state().calls += 1;
        self.changed.notify_all();
    }

    /// Lets the one who waits go on.
    pub(super) fn release(&self) {
        self.state().hold = Hold::None;
        self.changed.notify_all();
    }
}

impl Clock for KitClock {
    fn now(&self) -> Timestamp {
        let mut state = self.state();
        state.calls += 1;
        self.changed.notify_all();
        if state.hold == Hold::Next {
            state.hold = Hold::Holding;
            self.changed.notify_all();
            while state.hold == Hold::Holding {
                state = self.changed.wait(state).unwrap();
            }
        }
        state.now
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
///
/// ```
/// assert_eq!(bellpunch_store::kit::block_on(async { 1 + 1 }), 2);
/// ```
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
