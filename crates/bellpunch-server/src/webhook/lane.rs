//! One webhook in one partition: looks what is owed, sends it in order, and moves the cursor.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bellpunch::store::Sharing;
use bellpunch::{
    CallOptions, Entry, Key, Outcome, Partition, Record as _, RecordId, Tail, Timestamp,
};
use tokio::time::Instant;

use super::Webhook;
use super::client::{Failed, Failure};
use super::cursor::{Advance, Cursor, Start};
use super::message::Message;
use super::worker::{book, stored};
use crate::app::{App, Sending};
use crate::config::LogLevel;
use crate::journal;
use crate::problem::Problem;

/// Entries read at once.
const PAGE: usize = 100;
/// Entries without a message after which the cursor is moved all the same, so that a restart does
/// not read them again.
const PASSED_MAX: u64 = 1_000;

/// What a partition owes a receiver, as far as it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Entries behind the cursor.
    pub(super) entries: u64,
    /// When the oldest of them was accepted that has a message.
    pub(super) oldest: Option<Timestamp>,
}

/// A lane: at most one step of it runs at a time.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) of: Partition,
    /// The attempt that noted where it begins, where it does not begin at the first entry.
    pub(super) attempt: Option<Key>,
    pub(super) owed: Arc<Mutex<Owed>>,
    /// The last entry that is dealt with, as far as this node knows.
    pub(super) position: Option<u64>,
    /// The last one that the store knows of.
    pub(super) kept: u64,
    pub(super) failures: u32,
    /// When it is looked at again; `None`: when its turn comes.
    pub(super) again: Option<Instant>,
}

/// Why a step ended early.
enum Stop {
    /// A message was not delivered.
    Failed(Failure, String),
    /// The store did not answer.
    Store(String),
    /// The server stops.
    Draining,
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Store(problem.detail.clone())
    }
}

pub(super) fn lock(owed: &Mutex<Owed>) -> MutexGuard<'_, Owed> {
    owed.lock().expect("no code panics while it holds this lock")
}

impl Lane {
    /// Sends what is owed, as far as one page of entries goes.
    pub(super) async fn step(mut self, app: &App, webhook: &Webhook) -> Self {
        let stop = self.deliver(app, webhook).await.err();
        self.again = None;
        match stop {
            None => self.failures = 0,
            Some(Stop::Draining) => {}
            Some(Stop::Store(error)) => {
                self.failures = self.failures.saturating_add(1);
                self.again = Instant::now().checked_add(webhook.pause(self.failures));
                let fields = [("webhook", webhook.name.as_str().to_owned()), ("error", error)];
                app.log.event(LogLevel::Error, "a webhook cannot read what it owes", &fields);
            }
            Some(Stop::Failed(failure, id)) => {
                self.failures = self.failures.saturating_add(1);
                self.failed(app, webhook, (&failure, id));
            }
        }
        self
    }

    fn failed(&mut self, app: &App, webhook: &Webhook, (failure, id): (&Failure, String)) {
        let (_, longest) = webhook.retry;
        let asked = failure.wait.unwrap_or_default().min(longest);
        let pause = webhook.pause(self.failures).max(asked);
        self.again = Instant::now().checked_add(pause);
        app.metrics.webhook_sent(webhook.name.as_str(), failure.failed.name());
        let fields = [
            ("webhook", webhook.name.as_str().to_owned()),
            ("result", failure.failed.name().to_owned()),
            ("detail", failure.detail.clone()),
            ("id", id),
            ("failures", self.failures.to_string()),
            ("again_in_ms", pause.as_millis().to_string()),
        ];
        app.log.event(LogLevel::Warn, "a webhook was not delivered", &fields);
    }

    /// The last place of the journal, and the cursor.
    async fn look(&self, app: &App, webhook: &Webhook) -> Result<(u64, Option<u64>), Stop> {
        let keys = [Tail::key(&bellpunch::tail_id()), Cursor::key(&RecordId::from(&webhook.name))];
        let read = app.engine.store().read(&self.of, &keys).await;
        let read = read.map_err(|failure| Stop::Store(failure.to_string()))?;
        let [tail, cursor] = &keys;
        let bytes = |index: usize| read.get(index).and_then(|found| found.value.as_deref());
        let tail = journal::content::<Tail>(tail, bytes(0))?;
        let cursor = journal::content::<Cursor>(cursor, bytes(1))?;
        Ok((tail.map_or(0, |tail| tail.seq), cursor.map(|cursor| cursor.seq)))
    }

    /// Where it begins, as nobody has got anywhere yet.
    async fn start(&self, app: &App) -> Result<u64, Stop> {
        let Some(attempt) = &self.attempt else { return Ok(0) };
        let id = Start::id(attempt, &self.of);
        let start = stored::<Start>(app, &book(), &id).await.map_err(Stop::Store)?;
        Ok(start.map_or(0, |start| start.seq))
    }

    async fn deliver(&mut self, app: &App, webhook: &Webhook) -> Result<(), Stop> {
        let (last, cursor) = self.look(app, webhook).await?;
        let begun = match (self.position, cursor) {
            (None, None) => self.start(app).await?,
            (position, cursor) => position.max(cursor).unwrap_or_default(),
        };
        self.kept = match (self.position, cursor) {
            (_, Some(cursor)) => self.kept.max(cursor),
            (None, None) => begun,
            (Some(_), None) => self.kept,
        };
        self.pass(begun, last);
        if last <= begun {
            lock(&self.owed).oldest = None;
            return Ok(());
        }
        let entries = journal::entries(app, &self.of, (begun, PAGE)).await?;
        let mut owes = false;
        for entry in entries {
            if self.position.is_some_and(|position| entry.seq <= position) {
                continue;
            }
            let messages = webhook.wanted.messages(webhook.name.as_str(), (&self.of, &entry));
            if !messages.is_empty() {
                owes = true;
                lock(&self.owed).oldest.get_or_insert(entry.at);
                self.tell(app, webhook, (&entry, messages)).await?;
                lock(&self.owed).oldest = None;
            }
            self.pass(entry.seq, last);
        }
        let position = self.position.unwrap_or_default();
        if !owes && PASSED_MAX <= position.saturating_sub(self.kept) {
            let _sending = Sending::new(app);
            self.keep(app, webhook, position).await.map_err(Stop::Store)?;
        }
        Ok(())
    }

    /// All up to this place is dealt with, of a journal that had so many entries when looked at.
    fn pass(&mut self, seq: u64, last: u64) {
        self.position = self.position.max(Some(seq));
        lock(&self.owed).entries = last.saturating_sub(self.position.unwrap_or_default());
    }

    /// Sends the messages of one entry, in order, and then moves the cursor past it.
    async fn tell(
        &mut self,
        app: &App,
        webhook: &Webhook,
        (entry, messages): (&Entry, Vec<Message>),
    ) -> Result<(), Stop> {
        if app.is_draining() {
            return Err(Stop::Draining);
        }
        if app.engine.store().properties().sharing == Sharing::Shared {
            // Another node may have sent it meanwhile; this saves repeats, and decides nothing.
            let (_, cursor) = self.look(app, webhook).await?;
            if cursor.is_some_and(|cursor| entry.seq <= cursor) {
                self.position = self.position.max(cursor);
                return Ok(());
            }
        }
        let _sending = Sending::new(app);
        let mut id = String::new();
        for message in messages {
            let signed = (&webhook.secrets, app.engine.now());
            match webhook.sender.send(&message, signed).await {
                Ok(()) => app.metrics.webhook_sent(webhook.name.as_str(), "delivered"),
                Err(failure) => return Err(Stop::Failed(failure, message.id)),
            }
            id = message.id;
        }
        if let Err(detail) = self.keep(app, webhook, entry.seq).await {
            let failure = Failure { failed: Failed::NotRecorded, detail, wait: None };
            return Err(Stop::Failed(failure, id));
        }
        if 0 < self.failures {
            let fields = [("webhook", webhook.name.as_str().to_owned()), ("id", id)];
            app.log.event(LogLevel::Info, "a webhook is delivered again", &fields);
            self.failures = 0;
        }
        Ok(())
    }

    /// Moves the cursor to here, or learns that it is further.
    async fn keep(&mut self, app: &App, webhook: &Webhook, seq: u64) -> Result<(), String> {
        let advance = Advance { webhook: webhook.name.clone(), seq };
        let options = CallOptions { timeout: Some(KEEP), ..CallOptions::default() };
        match app.engine.call(&self.of, advance, options).await {
            Ok(Outcome::Accepted(receipt)) => {
                self.kept = receipt.reply;
                self.position = self.position.max(Some(receipt.reply));
                Ok(())
            }
            Ok(Outcome::Rejected(refusal)) => Err(refusal.rejection.code.to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// How long a cursor's commit is waited for.
const KEEP: Duration = Duration::from_secs(10);
