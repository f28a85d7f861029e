//! Deciding a request: one command, or a list of them all or nothing, under its idempotency key.
//!
//! Invariant: the outcome of a key is written with the effect it names, in the same commit, so a
//! replay is never wrong and never early. Rejections are not pinned: a retry decides afresh.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::draft::IsWritten;
use crate::limits::RatePolicy;
use crate::record::Sealed;
use crate::{
    AnyCommand, AnyReply, Category, Command, Draft, Due, Duration, Fingerprint, IdempotencyKey,
    Journaling, Kind, Record, RecordId, RecordKey, Rejection, Timestamp, Version, View,
    WithoutStore, journal,
};

/// What a caller asks for, whole or not at all.
#[derive(Clone, Debug)]
pub struct Request {
    /// In order; each is decided on the state left by the one before.
    pub commands: Vec<Arc<dyn AnyCommand>>,
    /// 128 random bits for each command, for the ids that are drawn.
    pub entropy: Vec<u128>,
    /// The caller's name for this intent, and the hash of its content.
    pub key: Option<(IdempotencyKey, Fingerprint)>,
    /// How long the outcome of the key is kept.
    pub keep: Duration,
    /// Decide and drop the draft: it reserves nothing.
    pub dry_run: bool,
    /// Whether what is accepted is entered into the partition's journal.
    pub journaling: Journaling,
}

/// Record versions by name, `kind/id`.
pub type Versions = BTreeMap<String, Version>;

/// Whether the store decided, or the node without it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecidedBy {
    /// Confirmed at the store.
    #[default]
    Store,
    /// Accepted without the store; nothing was charged.
    Open,
    /// Decided in this node alone.
    Local,
    /// A refusal repeated from memory.
    Cache,
}

/// The stored outcome of an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// Of the command whose outcome this is.
    pub fingerprint: Fingerprint,
    /// The decision time.
    pub at: Timestamp,
    /// Until when it is kept.
    pub keep_until: Timestamp,
    /// The versions it wrote.
    pub versions: Versions,
    /// Of a list, the versions that each command wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions_each: Vec<Versions>,
    /// The versions of what it only read.
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub as_of: Versions,
    /// The places in the journal of those that have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seqs: Vec<Option<u64>>,
    /// One reply per command.
    pub replies: Vec<Value>,
}

impl Record for OutcomeRecord {
    const KIND: Kind = Kind::new("outcomes");
    /// Read again when a key comes again, which is rare beside new ones.
    const CACHED: bool = false;

    fn sweep_at(&self) -> Option<Timestamp> {
        Some(self.keep_until)
    }
}

/// An outcome as it is written: of what the receipt says too, so that nothing is copied.
#[derive(Serialize)]
struct OutcomeForm<'a> {
    fingerprint: Fingerprint,
    at: Timestamp,
    keep_until: Timestamp,
    versions: &'a Versions,
    #[serde(skip_serializing_if = "<[Versions]>::is_empty")]
    versions_each: &'a [Versions],
    #[serde(skip_serializing_if = "Versions::is_empty")]
    as_of: &'a Versions,
    #[serde(skip_serializing_if = "<[Option<u64>]>::is_empty")]
    seqs: &'a [Option<u64>],
    replies: Vec<Box<RawValue>>,
}

/// A reply: fresh from the rule, or read again from the outcome record.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// As the rule gave it.
    Fresh(Box<dyn AnyReply>),
    /// As it was recorded.
    Recorded(Value),
}

impl Reply {
    /// The reply as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Fresh(reply) => reply.to_json(),
            Self::Recorded(reply) => reply.clone(),
        }
    }

    fn to_raw(&self) -> Box<RawValue> {
        match self {
            Self::Fresh(reply) => reply.to_raw(),
            Self::Recorded(reply) => reply.to_raw(),
        }
    }
}

/// What came of deciding a request on a view.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision {
    /// Records are not loaded: load them, and decide again.
    Load {
        /// These records.
        records: Vec<RecordKey>,
        /// And the answers to these questions.
        due: Vec<Due>,
    },
    /// The rule said yes. What it wrote is pending in the view.
    Accepted {
        /// One per command.
        replies: Vec<Reply>,
        /// The decision time.
        at: Timestamp,
        /// Told again from the outcome record.
        replayed: bool,
        /// The versions of what it wrote (of a dry run: would have written).
        versions: Versions,
        /// Of a list, the versions that each command wrote. Empty of a single command.
        versions_each: Vec<Versions>,
        /// The versions of what it only read.
        as_of: Versions,
        /// The place of each command in the partition's journal. Empty where it has none.
        seqs: Vec<Option<u64>>,
        /// What it read and what it wrote.
        touched: Touched,
        /// The commit must land before this.
        deadline: Option<Timestamp>,
    },
    /// The rule said no.
    Rejected {
        /// Which command of the list.
        index: usize,
        /// Why.
        rejection: Rejection,
        /// The decision time.
        at: Timestamp,
        /// The versions it was decided on.
        as_of: Versions,
        /// What it read.
        touched: Touched,
    },
    /// A rule panicked; its draft is gone. A bug, if what it read was there at one instant: records
    /// of a node that shares its store may be of several.
    Panicked {
        /// The command's name.
        command: &'static str,
        /// What it said, if that is a literal: other words may have content in them.
        said: Option<&'static str>,
        /// What it read.
        touched: Touched,
    },
    /// The rule could not be asked.
    Failed(RequestError),
}

/// The records that a decision rests on.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Touched {
    /// All that were read, written or not.
    pub reads: Vec<RecordKey>,
    /// Those that were written.
    pub writes: Vec<RecordKey>,
}

/// Why a rule could not be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// A record cannot be read: damaged, or of a newer format.
    Undecodable {
        /// Which one.
        record: String,
        /// Why.
        cause: String,
    },
}

fn key_reused(at: Timestamp) -> Rejection {
    let mut data = Map::new();
    data.insert("at".to_owned(), Value::String(at.to_string()));
    Rejection { code: "idempotency_key_reused", category: Category::Reuse, data }
}

/// Decides a request at `now`, or at the latest commit time of a record it reads if that is later.
/// What it accepts is pending in `view` afterwards (nothing is, of a dry run).
pub fn decide(view: &mut View, request: &Request, now: Timestamp) -> Decision {
    decide_unless(view, (request, now), |_| false).expect("it is not set aside")
}

/// The same beside batches that are on their way to the store: `None` if the request is about a
/// record that they wrote. Then it is set aside, and so is each one after it in this
/// [round](View::begin_round) that writes what it reads or reads what it writes: none overtakes it.
///
/// ```
/// # use bellpunch_core::{Decision, Duration, Journaling, Loaded, Request, Timestamp, View};
/// # use bellpunch_core::{command, decide, decide_beside};
/// # use serde_json::json;
/// # let request = |name: &str, content| Request {
/// #     commands: vec![(command(name).unwrap().parse)(content).unwrap()],
/// #     entropy: vec![0],
/// #     key: None,
/// #     keep: Duration::from_days(7),
/// #     dry_run: false,
/// #     journaling: Journaling::Begun,
/// # };
/// # let now = Timestamp::EPOCH;
/// let create = request("quotas.create", json!({ "id": "q1", "limit": 10 }));
/// let read = request("quotas.read", json!({ "id": "q1" }));
/// let mut view = View::default();
/// let touched = loop {
///     match decide(&mut view, &create, now) {
///         // None of them was ever there.
///         Decision::Load { records, .. } => {
///             records.into_iter().for_each(|key| view.load(key, Loaded::default()));
///         }
///         Decision::Accepted { touched, .. } => break touched,
///         other => panic!("{other:?}"),
///     }
/// };
/// let batch = view.begin_batch();
/// view.send(batch, &touched.writes);
///
/// assert!(decide_beside(&mut view, &read, now).is_none());
/// view.land(batch);
/// assert!(matches!(decide_beside(&mut view, &read, now), Some(Decision::Accepted { .. })));
/// ```
pub fn decide_beside(view: &mut View, request: &Request, now: Timestamp) -> Option<Decision> {
    // Its outcome is written when it is accepted.
    let key = request.key.as_ref().filter(|_| !request.dry_run);
    let outcome = key.map(|(key, _)| OutcomeRecord::key(&outcome_id(key)));
    decide_unless(view, (request, now), |draft| draft.set_aside(outcome.as_ref()))
}

fn decide_unless(
    view: &mut View,
    (request, mut now): (&Request, Timestamp),
    set_aside: impl Fn(&mut Draft<'_>) -> bool,
) -> Option<Decision> {
    loop {
        let mut draft = Draft::at(view, now);
        let result = decide_once(&mut draft, request, now);
        let (records, due) = draft.missing();
        if !records.is_empty() || !due.is_empty() {
            return Some(Decision::Load { records, due });
        }
        if let Some((record, cause)) = draft.broken() {
            let (record, cause) = (record.to_string(), cause.to_string());
            return Some(Decision::Failed(RequestError::Undecodable { record, cause }));
        }
        // One `now` per decision, never earlier than the commit time of what it read.
        if now < draft.latest() && !crate::planted!("clock_unclamped") {
            now = draft.latest();
            continue;
        }
        if set_aside(&mut draft) {
            return None;
        }
        return Some(conclude(draft, request, now, result));
    }
}

fn named<'k>(records: impl Iterator<Item = (&'k RecordKey, Version)>) -> Versions {
    records.map(|(key, version)| (key.name(), version)).collect()
}

/// What a list of accepted commands has for each of them.
#[derive(Default)]
struct Told {
    replies: Vec<Reply>,
    versions_each: Vec<Versions>,
    seqs: Vec<Option<u64>>,
}

enum Decided {
    Replayed(Arc<OutcomeRecord>),
    Accepted(Told),
    Rejected(usize, Rejection),
    Panicked(&'static str, Option<&'static str>),
}

fn decide_once(draft: &mut Draft<'_>, request: &Request, now: Timestamp) -> Decided {
    if let Some((key, fingerprint)) = &request.key {
        // An outcome past its retention is as good as absent, swept or not.
        let known = draft.get::<OutcomeRecord>(&outcome_id(key));
        let known = known.filter(|_| !crate::planted!("no_replay"));
        match known.filter(|outcome| now < outcome.keep_until) {
            Some(outcome) if outcome.fingerprint == *fingerprint => {
                return Decided::Replayed(outcome);
            }
            Some(outcome) => return Decided::Rejected(0, key_reused(outcome.at)),
            None => {}
        }
    }
    let mut told = Told::default();
    for (index, command) in request.commands.iter().enumerate() {
        draft.begin(request.entropy.get(index).copied().unwrap_or_default());
        // The draft is dropped if the rule panics, so nothing half done is ever seen.
        match catch_unwind(AssertUnwindSafe(|| command.decide_any(draft, now))) {
            Ok(Ok(reply)) => told.replies.push(Reply::Fresh(reply)),
            Ok(Err(rejection)) => return Decided::Rejected(index, rejection),
            Err(said) => {
                return Decided::Panicked(command.name(), said.downcast_ref().copied());
            }
        }
        // What it wrote, but for its entry in the journal.
        let wrote = (1 < request.commands.len()).then(|| named(draft.freshly_written()));
        let seq = enter(draft, request, (&**command, now));
        told.seqs.extend((seq.is_some() || !told.seqs.is_empty()).then_some(seq));
        told.versions_each.extend(wrote);
    }
    if !told.seqs.is_empty() {
        let before = told.replies.len().saturating_sub(told.seqs.len());
        told.seqs.splice(0..0, std::iter::repeat_n(None, before));
    }
    Decided::Accepted(told)
}

/// Enters a command that was accepted into the journal, if it belongs there; gives its place.
fn enter(
    draft: &mut Draft<'_>,
    request: &Request,
    (command, now): (&dyn AnyCommand, Timestamp),
) -> Option<u64> {
    let belongs = !request.dry_run && command.is_journaled_any();
    if !belongs || draft.freshly_written().next().is_none() {
        return None;
    }
    // What was told its place is at it: nothing else may be.
    let begins = command.begins_journal_any() || draft.is_placed();
    let kept = begins || journal::is_kept(draft, request.journaling);
    if kept && draft.is_thrown_away() {
        // All that this pass is for is what it reads.
        return Some(draft.seq());
    }
    kept.then(|| {
        let wrote = named(draft.freshly_written());
        journal::enter(draft, command, (wrote, now))
    })
}

fn read_of(draft: &Draft<'_>) -> Versions {
    named(draft.read_versions().map(|(key, version, _)| (key, version)))
}

fn reads_of(draft: &Draft<'_>) -> Vec<RecordKey> {
    draft.read_versions().map(|(key, _, _)| key.clone()).collect()
}

fn conclude(draft: Draft<'_>, request: &Request, at: Timestamp, decided: Decided) -> Decision {
    match decided {
        Decided::Panicked(command, said) => {
            let touched = Touched { reads: reads_of(&draft), writes: Vec::new() };
            Decision::Panicked { command, said, touched }
        }
        Decided::Rejected(index, rejection) if crate::planted!("limits_one_by_one") => {
            let as_of = read_of(&draft);
            let (writes, reads) = draft.accept(at);
            Decision::Rejected { index, rejection, at, as_of, touched: Touched { reads, writes } }
        }
        Decided::Rejected(index, rejection) => {
            // The look for an outcome is no part of the rule, unless it is what said no.
            let key = rejection.category == Category::Reuse;
            let told =
                |record: &RecordKey| !is_own(record) || key && record.kind == OutcomeRecord::KIND;
            let reads = draft.read_versions().filter(|(key, _, _)| told(key));
            let as_of = named(reads.map(|(key, version, _)| (key, version)));
            let touched = Touched { reads: reads_of(&draft), writes: Vec::new() };
            Decision::Rejected { index, rejection, at, as_of, touched }
        }
        Decided::Replayed(outcome) => Decision::Accepted {
            replies: outcome.replies.iter().cloned().map(Reply::Recorded).collect(),
            at: outcome.at,
            replayed: true,
            versions: outcome.versions.clone(),
            versions_each: outcome.versions_each.clone(),
            as_of: outcome.as_of.clone(),
            seqs: outcome.seqs.clone(),
            touched: Touched { reads: reads_of(&draft), writes: Vec::new() },
            deadline: None,
        },
        Decided::Accepted(told) => accepted(draft, request, at, told),
    }
}

fn accepted(
    mut draft: Draft<'_>,
    request: &Request,
    at: Timestamp,
    Told { replies, versions_each, seqs }: Told,
) -> Decision {
    let versions = named(draft.written_versions().filter(|(key, _)| !is_own(key)));
    let only_read = draft.read_versions();
    let only_read = only_read.filter(|(key, _, is)| *is == IsWritten::No && !is_own(key));
    let as_of = named(only_read.map(|(key, version, _)| (key, version)));
    let deadline = draft.deadline();
    if request.dry_run {
        // What it would have written is shown at the version it was decided on.
        let as_of = read_of(&draft);
        let touched = Touched { reads: reads_of(&draft), writes: Vec::new() };
        let (versions, versions_each) = (Versions::new(), Vec::new());
        let replayed = false;
        return Decision::Accepted {
            replies,
            at,
            replayed,
            versions,
            versions_each,
            as_of,
            seqs,
            touched,
            deadline,
        };
    }
    if let Some((key, fingerprint)) = &request.key {
        let keep_until = at.plus(request.keep).unwrap_or(Timestamp::MAX);
        let outcome = OutcomeForm {
            fingerprint: *fingerprint,
            at,
            keep_until,
            versions: &versions,
            versions_each: &versions_each,
            as_of: &as_of,
            seqs: &seqs,
            replies: replies.iter().map(Reply::to_raw).collect(),
        };
        let outcome = Sealed::of::<OutcomeRecord>(&outcome, Some(keep_until));
        draft.begin(0);
        draft.put_sealed::<OutcomeRecord>(&outcome_id(key), outcome);
    }
    let (writes, reads) = draft.accept(at);
    let touched = Touched { reads, writes };
    Decision::Accepted {
        replies,
        at,
        replayed: false,
        versions,
        versions_each,
        as_of,
        seqs,
        touched,
        deadline,
    }
}

/// Whether a record is of those in which outcomes and entries are kept: no part of any rule.
fn is_own(record: &RecordKey) -> bool {
    [OutcomeRecord::KIND, journal::Tail::KIND, journal::Entry::KIND].contains(&record.kind)
}

/// Whether a request may be decided on a best-effort store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BestEffort {
    /// It may.
    Allowed,
    /// It needs a store that keeps what it takes.
    Refused,
    /// These records are not loaded: load them, and ask again.
    Load(Vec<RecordKey>),
}

/// Asks whether a request may be decided on a best-effort store: all of its commands must, and no
/// outcome is pinned there.
pub fn best_effort(view: &mut View, request: &Request) -> BestEffort {
    let mut known = Draft::new(view);
    let all = request.commands.iter().all(|command| {
        catch_unwind(AssertUnwindSafe(|| command.is_best_effort_any(&mut known))).unwrap_or(false)
    });
    let (records, _) = known.missing();
    match (all, records.is_empty()) {
        _ if request.key.is_some() => BestEffort::Refused,
        (_, false) => BestEffort::Load(records),
        (true, true) => BestEffort::Allowed,
        (false, true) => BestEffort::Refused,
    }
}

/// Whether a request is about rate limits alone; see [`Command::is_rate_limit`]. Its idempotency key
/// does not matter: where its outcome is lost, so is its effect.
#[must_use]
pub fn rate_limits_alone(request: &Request) -> bool {
    request.commands.iter().all(|command| {
        catch_unwind(AssertUnwindSafe(|| command.is_rate_limit_any())).unwrap_or(false)
    })
}

/// For how long a refusal of a request may be told again from memory: all of its commands must allow
/// it, and the shortest counts. One with a key is always asked of the store: it may be a repetition of
/// what was accepted elsewhere.
pub fn stale_denials(view: &mut View, request: &Request) -> Option<Duration> {
    if request.key.is_some() || request.dry_run {
        return None;
    }
    let mut known = Draft::new(view);
    let spans = request.commands.iter().map(|command| {
        catch_unwind(AssertUnwindSafe(|| command.stale_denials_any(&mut known))).ok().flatten()
    });
    spans.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// Whether the answer to a request may be told before it is durable: all of its commands must allow
/// it. One with a key is for those who have to know.
pub fn is_relaxed(view: &mut View, request: &Request) -> bool {
    if request.key.is_some() || request.dry_run {
        return false;
    }
    let mut known = Draft::new(view);
    let all = request.commands.iter().all(|command| {
        catch_unwind(AssertUnwindSafe(|| command.is_relaxed_any(&mut known))).unwrap_or(false)
    });
    let terms = policies_read(&known);
    all && !is_pending(&terms, view)
}

/// What a request does when the store fails before it took the commit. Only a single command can
/// go on without it: a list is as strict as its strictest member.
pub fn without_store(view: &mut View, request: &Request, now: Timestamp) -> WithoutStore {
    let [command] = request.commands.as_slice() else { return WithoutStore::Closed };
    if request.dry_run {
        return WithoutStore::Closed;
    }
    let mut known = Draft::new(view);
    known.begin(request.entropy.first().copied().unwrap_or_default());
    let answer = catch_unwind(AssertUnwindSafe(|| command.without_store_any(&mut known, now)))
        .unwrap_or(WithoutStore::Closed);
    // The draft is dropped: what a command does without the store, it does not do to the store.
    let terms = policies_read(&known);
    if is_pending(&terms, view) { WithoutStore::Closed } else { answer }
}

/// The terms that something rests on.
fn policies_read(known: &Draft<'_>) -> Vec<RecordKey> {
    let terms = known.read_versions().filter(|(key, _, _)| key.kind == RatePolicy::KIND);
    terms.map(|(key, _, _)| key.clone()).collect()
}

/// Whether some of these terms may yet come to nothing: such terms allow nothing.
fn is_pending(terms: &[RecordKey], view: &View) -> bool {
    terms.iter().any(|key| view.is_pending(key))
}

/// Asks for the outcome of an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadOutcome {
    /// The key.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub id: IdempotencyKey,
}

/// What is known of an idempotency key, true when it was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum KeyOutcome {
    /// The command was applied.
    Applied {
        /// Its receipt.
        receipt: StoredReceipt,
    },
    /// No command with this key was applied, or it was so long ago that its outcome was deleted.
    NotApplied {},
}

/// A receipt as it was recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoredReceipt {
    /// The decision time.
    pub at: Timestamp,
    /// The versions it wrote.
    pub versions: Versions,
    /// Of a list, the versions that each command wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions_each: Vec<Versions>,
    /// The versions of what it only read.
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub as_of: Versions,
    /// The place of each command in the journal; absent where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seqs: Vec<Option<u64>>,
    /// One reply per command.
    pub replies: Vec<Value>,
}

impl Command for ReadOutcome {
    const NAME: &'static str = "outcomes.read";
    type Reply = KeyOutcome;
    type Rejection = Rejection;

    /// Rate limits have idempotency keys too.
    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<KeyOutcome, Rejection> {
        let known = draft.get::<OutcomeRecord>(&outcome_id(&self.id));
        Ok(match known.filter(|outcome| now < outcome.keep_until) {
            None => KeyOutcome::NotApplied {},
            Some(outcome) => KeyOutcome::Applied {
                receipt: StoredReceipt {
                    at: outcome.at,
                    versions: outcome.versions.clone(),
                    versions_each: outcome.versions_each.clone(),
                    as_of: outcome.as_of.clone(),
                    seqs: outcome.seqs.clone(),
                    replies: outcome.replies.clone(),
                },
            },
        })
    }
}

/// Removes outcomes whose time is over.
#[derive(Clone, Debug, Serialize)]
pub struct SweepOutcomes {
    /// The candidates.
    pub ids: Vec<RecordId>,
}

impl Command for SweepOutcomes {
    const NAME: &'static str = "outcomes.sweep";
    type Reply = usize;
    type Rejection = Rejection;

    /// Rate limits have idempotency keys too.
    fn is_rate_limit(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<usize, Rejection> {
        let mut removed = 0_usize;
        for id in &self.ids {
            let outcome = draft.get::<OutcomeRecord>(id);
            if outcome.is_some_and(|outcome| outcome.keep_until <= now) {
                draft.purge::<OutcomeRecord>(id);
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }
}

/// Where the outcome of a key is kept. A key is longer than no name and has no control characters.
fn outcome_id(key: &IdempotencyKey) -> RecordId {
    RecordId::stored(key.as_str())
}

#[cfg(test)]
mod tests;
