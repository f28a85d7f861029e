//! `jobs.*` and `proposals.*`.
//!
//! Invariant: a job counts its live proposals, pending and accepted, and has at most one that is
//! accepted. A pending one of a job that is no longer open is rejected, whatever is stored.

use serde_json::{Value, json};

use super::Book;
use super::value::{Ask, Shown, What};
use crate::model::fields::{Refusal, needed, record, refuse, stated};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Open,
    InProgress,
    Completed,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    owner: String,
    status: Status,
    accepted: Option<String>,
    proposals: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Proposal {
    Pending,
    Accepted,
    Rejected,
    Withdrawn,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Proposal {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }
}

type Key = (String, String);

impl Book {
    pub(super) fn create_job(&mut self, ask: &Ask<'_>) -> Shown {
        let owner = needed(ask.args, "owner")?.to_owned();
        let id = ask.given_or_drawn("/job/id");
        if self.jobs.contains_key(&id) {
            return refuse("job_exists", json!({ "id": id }));
        }
        let job = Job { owner, status: Status::Open, accepted: None, proposals: 0 };
        Ok(self.keep_job(&id, job))
    }

    fn keep_job(&mut self, id: &str, job: Job) -> Vec<(&'static str, What)> {
        self.jobs.insert(id.to_owned(), job);
        self.writes("jobs", id);
        vec![("job", What::Job(id.to_owned()))]
    }

    fn keep_proposal(
        &mut self,
        (key, proposal): (Key, Proposal),
        job: Job,
    ) -> Vec<(&'static str, What)> {
        self.turn.writes.insert(record("proposals", &[&key.0, &key.1]));
        let mut shown = vec![("proposal", What::Proposal(key.0.clone(), key.1.clone()))];
        shown.extend(self.keep_job(&key.0, job));
        self.proposals.insert(key, proposal);
        shown
    }

    fn job(&self, id: &str) -> Result<&Job, Refusal> {
        let job = self.jobs.get(id);
        job.map_or_else(|| refuse("job_not_found", json!({ "id": id })), Ok)
    }

    /// What a proposal is: a stored pending one of a job that went on without it is rejected.
    fn proposal(&self, key: &Key) -> Option<Proposal> {
        let stored = *self.proposals.get(key)?;
        let job = self.jobs.get(&key.0)?;
        let is_left = stored == Proposal::Pending && job.status != Status::Open;
        Some(if is_left { Proposal::Rejected } else { stored })
    }

    fn key(ask: &Ask<'_>) -> Result<Key, Refusal> {
        Ok((needed(ask.args, "job")?.to_owned(), needed(ask.args, "proposer")?.to_owned()))
    }

    pub(super) fn create_proposal(&mut self, ask: &Ask<'_>) -> Shown {
        let key = Self::key(ask)?;
        let job = self.job(&key.0)?.clone();
        if let Some(there) = self.proposal(&key) {
            return refuse("already_proposed", json!({ "status": there.name() }));
        }
        if job.status != Status::Open {
            return refuse("job_not_open", json!({ "status": job.status.name() }));
        }
        let job = Job { proposals: job.proposals.saturating_add(1), ..job };
        Ok(self.keep_proposal((key, Proposal::Pending), job))
    }

    /// Withdraw, accept and reject.
    pub(super) fn end_proposal(&mut self, ask: &Ask<'_>) -> Shown {
        let key = Self::key(ask)?;
        let by = if ask.cmd == "proposals.withdraw" { None } else { Some(needed(ask.args, "by")?) };
        let job = self.job(&key.0)?.clone();
        let Some(proposal) = self.proposal(&key) else {
            return refuse("proposal_not_found", json!({ "proposer": key.1 }));
        };
        if by.is_some_and(|by| by != job.owner) {
            return refuse("not_job_owner", json!({}));
        }
        let name = record("proposals", &[&key.0, &key.1]);
        ask.fits(self.versions.get(&name).copied().unwrap_or_default())?;
        if by.is_some() && job.status != Status::Open {
            return refuse(
                "job_not_open",
                json!({ "status": job.status.name(), "accepted_proposal": job.accepted }),
            );
        }
        if proposal != Proposal::Pending {
            return refuse("proposal_not_pending", json!({ "status": proposal.name() }));
        }

        // Past here it succeeds.
        let fewer = Job { proposals: job.proposals.saturating_sub(1), ..job.clone() };
        let (proposal, job) = match ask.cmd {
            "proposals.withdraw" => (Proposal::Withdrawn, fewer),
            "proposals.reject" => (Proposal::Rejected, fewer),
            _ => {
                let accepted = Some(key.1.clone());
                let job = Job { status: Status::InProgress, accepted, proposals: 1, ..job };
                (Proposal::Accepted, job)
            }
        };
        Ok(self.keep_proposal((key, proposal), job))
    }

    /// Cancel and complete.
    pub(super) fn end_job(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, by) = (ask.id()?, needed(ask.args, "by")?);
        let job = self.job(id)?.clone();
        if by != job.owner {
            return refuse("not_job_owner", json!({}));
        }
        ask.fits(self.version("jobs", id))?;
        let (wanted, end, code) = match ask.cmd {
            "jobs.cancel" => (Status::Open, Status::Cancelled, "job_not_open"),
            _ => (Status::InProgress, Status::Completed, "job_not_in_progress"),
        };
        if job.status != wanted {
            return refuse(code, json!({ "status": job.status.name() }));
        }

        // Past here it succeeds.
        let proposals = if end == Status::Cancelled { 0 } else { job.proposals };
        Ok(self.keep_job(id, Job { status: end, proposals, ..job }))
    }

    pub(super) fn show_job(&self, id: &str) -> Value {
        let Some(job) = self.jobs.get(id) else { return Value::Null };
        stated([
            ("id", Some(json!(id))),
            ("owner", Some(json!(job.owner))),
            ("status", Some(json!(job.status.name()))),
            ("proposals", Some(json!(job.proposals))),
            ("accepted_proposal", job.accepted.as_ref().map(|by| json!(by))),
            ("version", Some(json!(self.version("jobs", id)))),
        ])
    }

    pub(super) fn show_proposal(&self, job: &str, proposer: &str) -> Value {
        let key = (job.to_owned(), proposer.to_owned());
        let status = self.proposal(&key).map(Proposal::name);
        stated([
            ("job", Some(json!(job))),
            ("proposer", Some(json!(proposer))),
            ("status", status.map(|status| json!(status))),
        ])
    }

    /// What holds of every job.
    pub(super) fn check_jobs(&self) -> Result<(), String> {
        for (id, job) in &self.jobs {
            let of = |wanted: Proposal| {
                let mine = self.proposals.keys().filter(|(of, _)| of == id);
                mine.filter(|key| self.proposal(key) == Some(wanted)).collect::<Vec<_>>()
            };
            let (pending, accepted) = (of(Proposal::Pending), of(Proposal::Accepted));
            let live = pending.len().saturating_add(accepted.len());
            if u64::try_from(live) != Ok(job.proposals) {
                return Err(format!("V10: job {id}: it counts other proposals than there are"));
            }
            let chosen: Vec<&String> = accepted.into_iter().map(|(_, by)| by).collect();
            if chosen != job.accepted.iter().collect::<Vec<_>>() {
                return Err(format!("V10: job {id}: another proposal was accepted"));
            }
        }
        Ok(())
    }
}
