//! One webhook: finds its partitions, and gives each its turn.
//!
//! Invariant: at most one step of a partition runs at a time, so its messages keep their order, and
//! at most [`STEPS_MAX`] steps of the webhook, so a receiver that hangs costs no more than those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellpunch::{CallOptions, Key, Outcome, Partition, Record, RecordId, Tail, Timestamp, tail_id};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Webhook;
use super::cursor::{Begin, Beginning, Note};
use super::lane::{Lane, Owed, lock};
use crate::app::App;
use crate::config::{LogLevel, WebhookStart};
use crate::journal;

/// Steps at once: partitions that are told of, or looked at, at the same time.
const STEPS_MAX: usize = 16;
/// How long until a partition is looked at again, and how much longer for each partition there is:
/// the store is asked at most a thousand times a second, however many there are.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOK_EACH: Duration = Duration::from_millis(1);
/// How often partitions are looked for.
const FIND_AGAIN: Duration = Duration::from_secs(2);
/// Partitions listed at a time.
const PAGE: usize = 512;
/// Places of one note: a commit must fit the smallest store.
const NOTES_MAX: usize = 40;

/// Where the beginnings are.
pub(super) fn book() -> Partition {
    Partition::new("_webhooks").expect("it is a legal name")
}

/// How often what is owed is told to the metrics.
const PUBLISH_EACH: Duration = Duration::from_millis(200);
/// Partitions that were found and have no lane yet.
const FOUND_MAX: usize = 64;

/// A partition that was found, and the attempt that noted where it begins.
type Found = (Partition, Option<Key>);

struct Worker {
    app: Arc<App>,
    webhook: Arc<Webhook>,
    /// The partitions it has found, and what each owes.
    owed: BTreeMap<Partition, Arc<Mutex<Owed>>>,
    /// Those that do nothing, by when they are looked at again.
    resting: BTreeMap<(Instant, Partition), Lane>,
}

/// Tells one receiver, until the server drains.
pub(super) async fn run(app: Arc<App>, webhook: Arc<Webhook>) {
    let (finds, mut found) = mpsc::channel(FOUND_MAX);
    let finder = Finder {
        app: Arc::clone(&app),
        webhook: Arc::clone(&webhook),
        begun: BTreeMap::new(),
        known: BTreeSet::new(),
        finds,
    };
    // Ends with this one.
    let mut finding = JoinSet::new();
    finding.spawn(finder.run());
    let mut worker = Worker { app, webhook, owed: BTreeMap::new(), resting: BTreeMap::new() };
    let mut running = FuturesUnordered::new();
    let mut publish_at = Instant::now();
    while !worker.app.is_draining() {
        let now = Instant::now();
        while running.len() < STEPS_MAX
            && let Some(lane) = worker.due(now)
        {
            let (app, webhook) = (Arc::clone(&worker.app), Arc::clone(&worker.webhook));
            running.push(async move { lane.step(&app, &webhook).await }.boxed());
        }
        if publish_at <= now {
            worker.publish();
            publish_at = now.checked_add(PUBLISH_EACH).unwrap_or(now);
        }
        let next = worker.resting.first_key_value().map(|((at, _), _)| *at);
        let free = running.len() < STEPS_MAX;
        let next = next.filter(|_| free).unwrap_or(publish_at).min(publish_at);
        tokio::select! {
            Some(lane) = running.next(), if !running.is_empty() => worker.rest(lane),
            Some(found) = found.recv() => worker.open(found),
            () = sleep_until(next) => {}
        }
    }
    // What is under way is finished, so that it is not told again.
    while running.next().await.is_some() {}
}

impl Worker {
    fn due(&mut self, now: Instant) -> Option<Lane> {
        let first = self.resting.first_entry()?;
        let (at, _) = first.key();
        if *at <= now { Some(first.remove()) } else { None }
    }

    fn open(&mut self, (of, attempt): Found) {
        let owed = Arc::new(Mutex::new(Owed::default()));
        self.owed.insert(of.clone(), Arc::clone(&owed));
        let lane = Lane { of, attempt, owed, position: None, kept: 0, failures: 0, again: None };
        self.resting.insert((Instant::now(), lane.of.clone()), lane);
    }

    fn rest(&mut self, lane: Lane) {
        let now = Instant::now();
        let many = u32::try_from(self.owed.len()).unwrap_or(u32::MAX);
        let more = lane.failures == 0 && 0 < lock(&lane.owed).entries;
        let pause = LOOK_AGAIN.max(LOOK_EACH.saturating_mul(many));
        let pause = if more { Duration::ZERO } else { pause };
        let at = lane.again.or_else(|| now.checked_add(pause)).unwrap_or(now);
        self.resting.insert((at, lane.of.clone()), lane);
    }

    /// Tells the metrics what is owed.
    fn publish(&self) {
        let (mut entries, mut oldest) = (0_u64, None::<Timestamp>);
        for owed in self.owed.values() {
            let owed = lock(owed);
            entries = entries.saturating_add(owed.entries);
            oldest = match (oldest, owed.oldest) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        self.app.metrics.webhook_owes(self.webhook.name.as_str(), (entries, oldest));
    }
}

/// Looks for the partitions of a webhook.
struct Finder {
    app: Arc<App>,
    webhook: Arc<Webhook>,
    /// By which attempt each pattern began, once it has; `None` in it: at the first entry.
    begun: BTreeMap<Key, Option<Key>>,
    known: BTreeSet<Partition>,
    finds: mpsc::Sender<Found>,
}

impl Finder {
    async fn run(mut self) {
        while !self.app.is_draining() {
            let webhook = Arc::clone(&self.webhook);
            for pattern in &webhook.patterns {
                // What cannot be found out now is asked again.
                if let Err(error) = self.find(pattern).await {
                    let name = webhook.name.as_str().to_owned();
                    let fields = [("webhook", name), ("error", error)];
                    let message = "a webhook cannot look for its partitions";
                    self.app.log.event(LogLevel::Error, message, &fields);
                }
            }
            sleep(FIND_AGAIN).await;
        }
    }

    async fn find(&mut self, pattern: &Key) -> Result<(), String> {
        if !self.begun.contains_key(pattern) {
            let attempt = match self.webhook.start {
                WebhookStart::First => None,
                WebhookStart::Now => Some(self.begin(pattern).await?),
            };
            self.begun.insert(pattern.clone(), attempt);
            let name = self.webhook.name.as_str().to_owned();
            let fields = [("webhook", name), ("partitions", pattern.as_str().to_owned())];
            self.app.log.event(LogLevel::Info, "a webhook is told from its place on", &fields);
        }
        let attempt = self.begun.get(pattern).cloned().flatten();
        for of in self.matching(pattern).await? {
            if self.known.insert(of.clone()) {
                // If nobody takes it, nobody is told any more.
                let _ = self.finds.send((of, attempt.clone())).await;
            }
        }
        Ok(())
    }

    /// The partitions that a pattern means, those that belong to Bellpunch itself apart. One that is
    /// named is looked at whether or not it is there yet.
    async fn matching(&self, pattern: &Key) -> Result<BTreeSet<Partition>, String> {
        let Some(prefix) = pattern.as_str().strip_suffix('*') else {
            return Ok(Partition::new(pattern.as_str()).into_iter().collect());
        };
        let mut after = Partition::new(prefix).ok();
        // The listing begins after the name that is the prefix itself.
        let mut found: BTreeSet<Partition> = after.iter().cloned().collect();
        loop {
            let page = self.app.engine.partitions(after.as_ref(), PAGE).await;
            let page = page.map_err(|error| error.to_string())?;
            let more = page.more;
            after = page.partitions.last().cloned();
            let ours = |of: &Partition| of.as_str().starts_with(prefix);
            let over = after.as_ref().is_none_or(|last| prefix < last.as_str() && !ours(last));
            let own = |of: &Partition| ours(of) && !of.as_str().starts_with('_');
            found.extend(page.partitions.into_iter().filter(own));
            if !more || over {
                return Ok(found);
            }
        }
    }

    /// Lets the webhook begin here, unless it has: notes where all journals are, then that it began.
    async fn begin(&self, pattern: &Key) -> Result<Key, String> {
        let (webhook, book) = (&self.webhook.name, book());
        let id = Begin::id(webhook, pattern);
        if let Some(begun) = stored::<Beginning>(&self.app, &book, &id).await? {
            return Ok(begun.attempt);
        }
        let attempt = self.app.engine.fresh_id();
        let mut starts = Vec::new();
        for of in self.matching(pattern).await? {
            let tail = stored::<Tail>(&self.app, &of, &tail_id()).await?;
            starts.extend(tail.map(|tail| (of, tail.seq)));
        }
        for starts in starts.chunks(NOTES_MAX) {
            let note = Note { attempt: attempt.clone(), starts: starts.to_vec() };
            accepted(self.app.engine.call(&book, note, CallOptions::default()).await)?;
        }
        let (webhook, pattern) = (webhook.clone(), pattern.clone());
        let begin = Begin { webhook, pattern, attempt };
        accepted(self.app.engine.call(&book, begin, CallOptions::default()).await)
    }
}

/// A record as the store has it now.
pub(super) async fn stored<R: Record>(
    app: &App,
    of: &Partition,
    id: &RecordId,
) -> Result<Option<R>, String> {
    let key = R::key(id);
    let read = app.engine.store().read(of, std::slice::from_ref(&key)).await;
    let read = read.map_err(|failure| failure.to_string())?;
    let bytes = read.first().and_then(|found| found.value.as_deref());
    journal::content(&key, bytes).map_err(|problem| problem.detail.clone())
}

fn accepted<R>(outcome: Result<Outcome<R>, bellpunch::Error>) -> Result<R, String> {
    match outcome {
        Ok(Outcome::Accepted(receipt)) => Ok(receipt.reply),
        Ok(Outcome::Rejected(refusal)) => Err(refusal.rejection.code.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
