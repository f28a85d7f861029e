//! Jobs and proposals: one is accepted, and all others are rejected by that alone.
//!
//! Invariant: a job counts its live proposals in the commit of each change. A stored pending
//! proposal of a job that accepted another, or was cancelled, *is* rejected: accepting rejects all
//! others with two writes.

mod job;
mod proposal;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Book, Decided, MoneyRejection, OfOneState as _};
use crate::{CommandSpec, Key, Kind, Record, RecordId, Timestamp, Version};

pub use job::{Cancel, Complete, Create, JobReply, JobShown, Read};
pub use proposal::{
    Accept, Create as Propose, ProposalReply, ProposalShown, Read as ReadProposal, Reject, Withdraw,
};

/// What a job is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobStatus {
    /// Takes proposals.
    Open,
    /// One was accepted.
    InProgress,
    /// Done.
    Completed,
    /// Withdrawn.
    Cancelled,
}

/// What a proposal is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProposalStatus {
    /// Waits for the owner.
    Pending,
    /// Chosen.
    Accepted,
    /// Not chosen.
    Rejected,
    /// Taken back by its proposer.
    Withdrawn,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    owner: Key,
    status: JobStatus,
    /// How many of its proposals are pending or accepted.
    proposals: u64,
    /// Whose proposal was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted_proposal: Option<Key>,
    created_at: Timestamp,
}

impl Record for Job {
    const KIND: Kind = Kind::new("jobs");
}

/// A proposal, as it is stored; what it is, its job says too.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposal {
    status: ProposalStatus,
    proposed_at: Timestamp,
    /// When it was accepted, rejected or withdrawn by a command of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
}

impl Record for Proposal {
    const KIND: Kind = Kind::compound("proposals", 2);
}

/// The job of this id.
///
/// # Errors
/// `job_not_found`.
fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<Arc<Job>> {
    let found = book.draft.get::<Job>(&RecordId::from(id));
    found.ok_or_else(|| MoneyRejection::JobNotFound { id: id.clone() })
}

/// The proposal of a proposer for a job.
///
/// # Errors
/// `proposal_not_found`.
fn find_proposal(book: &mut Book<'_, '_>, (job, proposer): (&Key, &Key)) -> Decided<Proposal> {
    let found = book.draft.get::<Proposal>(&RecordId::compound(&[job, proposer]));
    let found =
        found.ok_or_else(|| MoneyRejection::ProposalNotFound { proposer: proposer.clone() });
    Ok((*found?).clone())
}

impl Job {
    /// Tests who asks.
    ///
    /// # Errors
    /// `not_job_owner`.
    fn is_of(&self, by: &Key) -> Decided<()> {
        if self.owner == *by { Ok(()) } else { Err(MoneyRejection::NotJobOwner {}) }
    }

    /// Tests that it takes proposals and accepts one.
    ///
    /// # Errors
    /// `job_not_open`.
    fn is_open(&self) -> Decided<()> {
        if self.status == JobStatus::Open || crate::planted!("accepted_twice") {
            return Ok(());
        }
        let accepted_proposal = self.accepted_proposal.clone();
        Err(MoneyRejection::JobNotOpen { status: self.status, accepted_proposal })
    }

    /// The job with one live proposal less.
    fn with_one_less(&self) -> Self {
        let proposals = self.proposals.checked_sub(1).of_one_state("a live proposal was counted");
        Self { proposals, ..self.clone() }
    }
}

impl Proposal {
    /// What it is, in its job: pending only while the job waits for an answer.
    const fn status(&self, job: &Job) -> ProposalStatus {
        match (self.status, job.status) {
            (ProposalStatus::Pending, JobStatus::Open) => ProposalStatus::Pending,
            (ProposalStatus::Pending, _) => ProposalStatus::Rejected,
            (answered, _) => answered,
        }
    }

    /// Tests that nobody has answered it.
    ///
    /// # Errors
    /// `proposal_not_pending`.
    fn is_pending(&self, job: &Job) -> Decided<()> {
        match self.status(job) {
            ProposalStatus::Pending => Ok(()),
            status @ (ProposalStatus::Accepted
            | ProposalStatus::Rejected
            | ProposalStatus::Withdrawn) => Err(MoneyRejection::ProposalNotPending { status }),
        }
    }
}

/// A job, as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobView {
    /// Its id.
    pub id: Key,
    /// Who accepts and rejects.
    pub owner: Key,
    /// What it is.
    pub status: JobStatus,
    /// How many of its proposals are pending or accepted.
    pub proposals: u64,
    /// Whose proposal was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_proposal: Option<Key>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Rises with every change.
    pub version: Version,
}

/// A job as it is now, in this command's eyes.
fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<JobView> {
    let Job { owner, status, proposals, accepted_proposal, created_at } =
        (*find(book, id)?).clone();
    let version = book.draft.version::<Job>(&RecordId::from(id));
    let id = id.clone();
    Ok(JobView { id, owner, status, proposals, accepted_proposal, created_at, version })
}

/// A proposal, as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposalView {
    /// Which job it is for.
    pub job: Key,
    /// Who made it.
    pub proposer: Key,
    /// What it is.
    pub status: ProposalStatus,
    /// When it was made.
    pub proposed_at: Timestamp,
    /// When it was answered itself, or withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// Rises with every change of its own.
    pub version: Version,
}

/// A proposal as it is now, in this command's eyes.
fn proposal_view(book: &mut Book<'_, '_>, (job, proposer): (&Key, &Key)) -> Decided<ProposalView> {
    let of = find(book, job)?;
    let proposal = find_proposal(book, (job, proposer))?;
    let id = RecordId::compound(&[job, proposer]);
    let version = book.draft.version::<Proposal>(&id);
    Ok(ProposalView {
        job: job.clone(),
        proposer: proposer.clone(),
        status: proposal.status(&of),
        proposed_at: proposal.proposed_at,
        answered_at: proposal.answered_at,
        version,
    })
}

/// The commands of jobs and proposals.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<Create>().of_money(),
    CommandSpec::change::<Cancel>().of_money(),
    CommandSpec::change::<Complete>().of_money(),
    CommandSpec::read::<Read>().of_money(),
    CommandSpec::change::<Propose>().of_money(),
    CommandSpec::change::<Withdraw>().of_money(),
    CommandSpec::change::<Accept>().of_money(),
    CommandSpec::change::<Reject>().of_money(),
    CommandSpec::read::<ReadProposal>().of_money(),
];

#[cfg(test)]
mod tests;
