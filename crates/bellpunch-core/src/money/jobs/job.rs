//! `jobs.create`, `jobs.cancel`, `jobs.complete`, `jobs.read`.
//!
//! Invariant: a job is open, then in progress, then completed; or open, then cancelled. What ends
//! it, its owner says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Job, JobStatus, JobView, find, view};
use crate::money::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{Command, Draft, IfVersion, Key, RecordId, Timestamp};

/// Makes a job, open.
///
/// ```
/// use bellpunch_core::command;
/// let parse = command("jobs.create").expect("it is in the table").parse;
/// assert!(parse(serde_json::json!({"owner": "o"})).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its id; drawn, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// Who accepts and rejects.
    pub owner: Key,
}

/// A job, as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobReply {
    /// The job.
    pub job: JobView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

/// The job that its owner decides about, at the version that it named.
///
/// # Errors
/// `job_not_found`, `not_job_owner`, `version_mismatch`.
fn of_owner(
    book: &mut Book<'_, '_>,
    (id, by): (&Key, &Key),
    wanted: Option<&IfVersion>,
) -> Decided<Arc<Job>> {
    let job = find(book, id)?;
    job.is_of(by)?;
    at_version(wanted, book.draft.version::<Job>(&RecordId::from(id)))?;
    Ok(job)
}

/// Writes a job, and tells how it is now.
fn put(mut book: Book<'_, '_>, id: &Key, job: Job) -> Decided<JobReply> {
    book.draft.put(&RecordId::from(id), job);
    let job = view(&mut book, id)?;
    Ok(JobReply { job, moved: book.close() })
}

impl Command for Create {
    const NAME: &'static str = "jobs.create";
    type Reply = JobReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<JobReply> {
        let book = Book::open(draft, now);
        let id = self.id.clone().unwrap_or_else(|| book.draft.drawn_key());
        if book.draft.get::<Job>(&RecordId::from(&id)).is_some() {
            return Err(MoneyRejection::JobExists { id });
        }

        // Past here it succeeds.
        let job = Job {
            owner: self.owner.clone(),
            status: JobStatus::Open,
            proposals: 0,
            accepted_proposal: None,
            created_at: now,
        };
        put(book, &id, job)
    }
}

/// Withdraws an open job: its pending proposals are rejected by that alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which job.
    pub id: Key,
    /// Who says so: its owner.
    pub by: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Cancel {
    const NAME: &'static str = "jobs.cancel";
    type Reply = JobReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<JobReply> {
        let mut book = Book::open(draft, now);
        let job = of_owner(&mut book, (&self.id, &self.by), self.if_version.as_ref())?;
        job.is_open()?;

        // Past here it succeeds.
        let job = Job { status: JobStatus::Cancelled, proposals: 0, ..(*job).clone() };
        put(book, &self.id, job)
    }
}

/// Says that a job in progress is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Which job.
    pub id: Key,
    /// Who says so: its owner.
    pub by: Key,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Complete {
    const NAME: &'static str = "jobs.complete";
    type Reply = JobReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<JobReply> {
        let mut book = Book::open(draft, now);
        let job = of_owner(&mut book, (&self.id, &self.by), self.if_version.as_ref())?;
        if job.status != JobStatus::InProgress {
            return Err(MoneyRejection::JobNotInProgress { status: job.status });
        }

        // Past here it succeeds.
        put(book, &self.id, Job { status: JobStatus::Completed, ..(*job).clone() })
    }
}

/// Shows a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which job.
    pub id: Key,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobShown {
    /// The job.
    pub job: JobView,
}

impl Command for Read {
    const NAME: &'static str = "jobs.read";
    type Reply = JobShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<JobShown> {
        let mut book = Book::look(draft, now);
        Ok(JobShown { job: view(&mut book, &self.id)? })
    }
}
