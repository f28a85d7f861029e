//! `proposals.create`, `withdraw`, `accept`, `reject`, `read`.
//!
//! Invariant: a proposer answers a job once, and a job accepts one proposal. Counting and writing
//! are one commit, so that a count apart from its records cannot drift; and to accept is two
//! writes, however many others it rejects.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Job, JobStatus, JobView, Proposal, ProposalStatus, ProposalView, find, find_proposal,
    proposal_view, view,
};
use crate::money::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{Command, Draft, IfVersion, Key, RecordId, Timestamp};

/// Answers an open job.
///
/// ```
/// use bellpunch_core::command;
/// let parse = command("proposals.create").expect("it is in the table").parse;
/// assert!(parse(serde_json::json!({"job": "j", "proposer": "l"})).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Which job.
    pub job: Key,
    /// Who would do it.
    pub proposer: Key,
}

/// A proposal and its job, as they now are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposalReply {
    /// The proposal.
    pub proposal: ProposalView,
    /// Its job.
    pub job: JobView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

/// Writes a proposal and its job.
fn put(
    mut book: Book<'_, '_>,
    (id, job): (&Key, Job),
    (proposer, proposal): (&Key, Proposal),
) -> Decided<ProposalReply> {
    book.draft.put(&RecordId::from(id), job);
    book.draft.put(&RecordId::compound(&[id, proposer]), proposal);
    let proposal = proposal_view(&mut book, (id, proposer))?;
    let job = view(&mut book, id)?;
    Ok(ProposalReply { proposal, job, moved: book.close() })
}

/// Tests the version of a proposal that a caller named.
fn at_proposal(
    book: &mut Book<'_, '_>,
    wanted: Option<&IfVersion>,
    (job, proposer): (&Key, &Key),
) -> Decided<()> {
    at_version(wanted, book.draft.version::<Proposal>(&RecordId::compound(&[job, proposer])))
}

/// A proposal that waits for the answer of its job's owner, who asks.
///
/// # Errors
/// `job_not_found`, `proposal_not_found`, `not_job_owner`, `version_mismatch`, `job_not_open`,
/// `proposal_not_pending`.
fn to_answer(
    book: &mut Book<'_, '_>,
    asked: (&Key, &Key),
    (by, wanted): (&Key, Option<&IfVersion>),
) -> Decided<(Arc<Job>, Proposal)> {
    let job = find(book, asked.0)?;
    let proposal = find_proposal(book, asked)?;
    job.is_of(by)?;
    at_proposal(book, wanted, asked)?;
    job.is_open()?;
    proposal.is_pending(&job)?;
    Ok((job, proposal))
}

impl Command for Create {
    const NAME: &'static str = "proposals.create";
    type Reply = ProposalReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ProposalReply> {
        let mut book = Book::open(draft, now);
        let job = find(&mut book, &self.job)?;
        let id = RecordId::compound(&[&self.job, &self.proposer]);
        if let Some(found) = book.draft.get::<Proposal>(&id) {
            return Err(MoneyRejection::AlreadyProposed { status: found.status(&job) });
        }
        job.is_open()?;

        // Past here it succeeds.
        let proposals = job.proposals.saturating_add(1);
        let job = Job { proposals, ..(*job).clone() };
        let status = ProposalStatus::Pending;
        let proposal = Proposal { status, proposed_at: now, answered_at: None };
        put(book, (&self.job, job), (&self.proposer, proposal))
    }
}

/// The proposer takes a pending proposal back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// Which job.
    pub job: Key,
    /// Whose proposal.
    pub proposer: Key,
    /// Only at one of these versions of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Withdraw {
    const NAME: &'static str = "proposals.withdraw";
    type Reply = ProposalReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ProposalReply> {
        let mut book = Book::open(draft, now);
        let job = find(&mut book, &self.job)?;
        let proposal = find_proposal(&mut book, (&self.job, &self.proposer))?;
        at_proposal(&mut book, self.if_version.as_ref(), (&self.job, &self.proposer))?;
        proposal.is_pending(&job)?;

        // Past here it succeeds.
        let (status, answered_at) = (ProposalStatus::Withdrawn, Some(now));
        let proposal = Proposal { status, answered_at, ..proposal };
        put(book, (&self.job, job.with_one_less()), (&self.proposer, proposal))
    }
}

/// The job's owner chooses a proposal: all others are rejected by that alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Which job.
    pub job: Key,
    /// Whose proposal.
    pub proposer: Key,
    /// Who says so: the job's owner.
    pub by: Key,
    /// Only at one of these versions of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Accept {
    const NAME: &'static str = "proposals.accept";
    type Reply = ProposalReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ProposalReply> {
        let mut book = Book::open(draft, now);
        let asked = (&self.job, &self.proposer);
        let (job, proposal) = to_answer(&mut book, asked, (&self.by, self.if_version.as_ref()))?;

        // Past here it succeeds.
        let accepted_proposal = Some(self.proposer.clone());
        let status = JobStatus::InProgress;
        let job = Job { status, proposals: 1, accepted_proposal, ..(*job).clone() };
        let (status, answered_at) = (ProposalStatus::Accepted, Some(now));
        let proposal = Proposal { status, answered_at, ..proposal };
        put(book, (&self.job, job), (&self.proposer, proposal))
    }
}

/// The job's owner refuses a proposal; the job stays open.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Which job.
    pub job: Key,
    /// Whose proposal.
    pub proposer: Key,
    /// Who says so: the job's owner.
    pub by: Key,
    /// Only at one of these versions of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Reject {
    const NAME: &'static str = "proposals.reject";
    type Reply = ProposalReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ProposalReply> {
        let mut book = Book::open(draft, now);
        let asked = (&self.job, &self.proposer);
        let (job, proposal) = to_answer(&mut book, asked, (&self.by, self.if_version.as_ref()))?;

        // Past here it succeeds.
        let (status, answered_at) = (ProposalStatus::Rejected, Some(now));
        let proposal = Proposal { status, answered_at, ..proposal };
        put(book, (&self.job, job.with_one_less()), (&self.proposer, proposal))
    }
}

/// Shows a proposal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which job.
    pub job: Key,
    /// Whose proposal.
    pub proposer: Key,
}

/// A proposal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposalShown {
    /// The proposal.
    pub proposal: ProposalView,
}

impl Command for Read {
    const NAME: &'static str = "proposals.read";
    type Reply = ProposalShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ProposalShown> {
        let mut book = Book::look(draft, now);
        let proposal = proposal_view(&mut book, (&self.job, &self.proposer))?;
        Ok(ProposalShown { proposal })
    }
}
