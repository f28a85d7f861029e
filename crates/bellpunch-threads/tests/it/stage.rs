//! What each scenario is played on: an engine, its store, its callers, and what each was told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bellpunch_threads::runtime::{self, HOUR, all_ended, point};
use bellpunch_threads::store::Sharing;
use bellpunch_threads::{
    CallOptions, Engine, EngineConfig, Error, ErrorKind, IdempotencyKey, Outcome, Partition,
};
use shuttle::future::JoinHandle;

use crate::rule::{Sign, Signed};
use crate::store::{Hand, Watched};

/// A patience that ends whenever the schedule says.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// What a caller was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Accepted {
        line: usize,
    },
    Rejected,
    Error(ErrorKind),
    /// It did not wait. Its message was taken.
    Left,
}

thread_local! {
    static REACHED: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// How often callers were told what, over all that this thread has played since it was asked; 0 is
/// what the scenarios provide for, and never came to be.
pub(crate) fn reached() -> BTreeMap<&'static str, u64> {
    REACHED.take()
}

fn reach(what: &'static str, times: u64) {
    REACHED.with_borrow_mut(|reached| {
        let count = reached.entry(what).or_default();
        *count = count.saturating_add(times);
    });
}

/// How a scenario is set up; see the fields of [`EngineConfig`].
pub(crate) struct Setting {
    pub(crate) shards: usize,
    pub(crate) inbox_max: usize,
    pub(crate) queue_max: usize,
    pub(crate) batch_max: usize,
    pub(crate) lines_max: usize,
    pub(crate) sharing: Sharing,
    pub(crate) timeout: Duration,
    /// The errors that a caller may be told.
    pub(crate) errors: &'static [ErrorKind],
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            shards: 1,
            inbox_max: 64,
            queue_max: 64,
            batch_max: 64,
            lines_max: 64,
            sharing: Sharing::Exclusive,
            timeout: HOUR,
            errors: &[],
        }
    }
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<Watched>,
    pub(crate) clock: Arc<Hand>,
    told: Arc<Mutex<Vec<(Partition, u64, Word)>>>,
    lines_max: usize,
    queued_max: u64,
    errors: &'static [ErrorKind],
}

/// The partition of a name.
pub(crate) fn at(name: &str) -> Partition {
    Partition::new(name).expect("a legal name")
}

impl Stage {
    pub(crate) fn new(setting: &Setting) -> Self {
        runtime::begin(setting.inbox_max);
        setting.errors.iter().for_each(|kind| reach(kind.code(), 0));
        let clock = Arc::new(Hand::new());
        let store = Watched::new(Arc::clone(&clock), setting.sharing, setting.batch_max);
        let store = Arc::new(store);
        let config = EngineConfig {
            shards: setting.shards,
            queue_max: setting.queue_max,
            batch_max: setting.batch_max,
            timeout: setting.timeout,
            sweep_every: HOUR,
            ..EngineConfig::default()
        };
        let engine = Engine::start(Arc::clone(&store) as _, Arc::clone(&clock) as _, config);
        // Of each of the two partitions that scenarios use.
        let queued_max = setting.queue_max.saturating_add(setting.batch_max).saturating_mul(2);
        let queued_max = u64::try_from(queued_max).expect("a few");
        let (lines_max, errors) = (setting.lines_max, setting.errors);
        Self { engine, store, clock, told: Arc::default(), lines_max, queued_max, errors }
    }

    fn sign(&self, by: u64) -> Sign {
        Sign { by, lines_max: self.lines_max }
    }

    fn heard(&self, partition: &Partition, by: u64, word: Word) {
        let what = match word {
            Word::Accepted { .. } => "accepted",
            Word::Rejected => "rejected",
            Word::Error(kind) => kind.code(),
            Word::Left => "left",
        };
        reach(what, 1);
        let told = (partition.clone(), by, word);
        self.told.lock().expect("no code panics while it holds this lock").push(told);
    }

    fn hear(&self, partition: &Partition, by: u64, outcome: Result<Outcome<Signed>, Error>) {
        let word = match outcome {
            Ok(Outcome::Accepted(receipt)) => {
                assert_eq!(receipt.reply.by, by, "the reply is the waiter's own");
                self.store.assert_ended(partition, &receipt.versions);
                self.store.assert_ended(partition, &receipt.as_of);
                Word::Accepted { line: receipt.reply.line }
            }
            Ok(Outcome::Rejected(refusal)) => {
                let whose = refusal.rejection.data.get("by").and_then(serde_json::Value::as_u64);
                assert_eq!(whose, Some(by), "the reply is the waiter's own");
                self.store.assert_ended(partition, &refusal.as_of);
                Word::Rejected
            }
            Err(error) => {
                assert!(self.errors.contains(&error.kind()), "no caller may be told: {error}");
                Word::Error(error.kind())
            }
        };
        self.heard(partition, by, word);
        let queued = self.engine.stats().queued;
        assert!(queued <= self.queued_max, "{queued} commands wait");
    }

    /// A caller who waits.
    pub(crate) async fn call(&self, partition: &Partition, by: u64) {
        let outcome = self.engine.call(partition, self.sign(by), CallOptions::default()).await;
        self.hear(partition, by, outcome);
    }

    /// A caller who names what he wants, so that it happens once.
    pub(crate) async fn call_once(&self, partition: &Partition, by: u64, key: &str) {
        let key = Some(IdempotencyKey::new(key).expect("a legal key"));
        let options = CallOptions { key, ..CallOptions::default() };
        let outcome = self.engine.call(partition, self.sign(by), options).await;
        self.hear(partition, by, outcome);
    }

    /// A caller who sends, and leaves.
    pub(crate) async fn leave(&self, partition: &Partition, by: u64) {
        let options = CallOptions::default();
        let mut call = Box::pin(self.engine.call(partition, self.sign(by), options));
        match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
            Poll::Ready(outcome) => self.hear(partition, by, outcome),
            Poll::Pending => self.heard(partition, by, Word::Left),
        }
        point();
        drop(call);
    }

    /// Someone who acts on this stage beside the others.
    pub(crate) fn beside<F>(&self, act: impl FnOnce(Self) -> F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        shuttle::future::spawn(act(self.clone()))
    }

    /// What callers were told has been counted when they are told.
    pub(crate) fn assert_counted(&self) {
        let queued = self.engine.stats().queued;
        assert_eq!(queued, 0, "all were answered, and {queued} are counted as waiting");
    }

    /// The engine is let go. It ends, and what callers were told is what became of their commands.
    pub(crate) async fn end(self, left: Left) {
        let Self { engine, store, told, .. } = self;
        drop(engine);
        all_ended().await;
        if left == Left::Done {
            store.assert_idle();
            store.assert_uncut();
        }
        let told = told.lock().expect("no code panics while it holds this lock").clone();
        let mut lines: BTreeMap<&Partition, Vec<u64>> = BTreeMap::new();
        for (partition, _, _) in &told {
            if !lines.contains_key(partition) {
                lines.insert(partition, store.lines(partition).await);
            }
        }
        for (partition, by, word) in &told {
            let lines = lines.get(partition).expect("all were read");
            let effects = lines.iter().filter(|line| *line == by).count();
            // Another caller may have asked for the same thing, by the same key.
            let other = told.iter().any(|(place, name, word)| {
                (place, name) == (partition, by) && matches!(word, Word::Accepted { .. })
            });
            let fits = match word {
                Word::Accepted { line } => effects == 1 && lines.get(*line) == Some(by),
                Word::Rejected => effects == 0,
                Word::Left => effects == 1 || left == Left::Cut && effects == 0,
                Word::Error(ErrorKind::Unknown) => effects <= 1,
                Word::Error(_) => effects == usize::from(other),
            };
            assert!(fits, "caller {by} was told {word:?}, and the sheet has {lines:?}");
        }
    }
}

/// What is to become of those who left before they were answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    /// Their commands were taken, and are done.
    Done,
    /// The runtime may have gone first.
    Cut,
}

/// Waits for all of them.
pub(crate) async fn all(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("it ends");
    }
}
