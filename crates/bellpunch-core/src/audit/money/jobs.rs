//! Jobs and their proposals.

use std::collections::BTreeMap;

use super::{each, gather, names};
use crate::audit::{Book, Finding, Stored, holds, same};

const CHECK: &str = "proposals_counted";

/// Stored statuses of a job's proposals, by proposer.
type Proposals<'a> = BTreeMap<&'a str, &'a str>;

pub(super) fn check(book: &Book) -> Vec<Finding> {
    let mut proposals: BTreeMap<&str, Proposals<'_>> = BTreeMap::new();
    gather(book, "proposals", |proposal| {
        let [job, proposer] = names(proposal.key.id.as_str(), 2)?.try_into().ok()?;
        proposals.entry(job).or_default().insert(proposer, proposal.text("status")?);
        Some(())
    });
    let jobs = each(book, "jobs", |job| {
        let none = Proposals::new();
        of_job(job, proposals.get(job.key.id.as_str()).unwrap_or(&none))
    });
    let of_no_job = each(book, "proposals", |proposal| {
        let [job, _] = names(proposal.key.id.as_str(), 2)?.try_into().ok()?;
        let claim = (book.one("jobs", job).is_some(), "a job");
        Some(holds(CHECK, proposal, claim).into_iter().collect())
    });
    [jobs, of_no_job].concat()
}

fn of_job(job: &Stored, proposals: &Proposals<'_>) -> Option<Vec<Finding>> {
    let status = job.text("status")?;
    let of = |wanted: &str| {
        let all = proposals.iter().filter(|(_, status)| **status == wanted);
        all.map(|(proposer, _)| *proposer).collect::<Vec<&str>>()
    };
    let accepted = of("accepted");
    // What is pending of a job that is not open any more was rejected by that alone.
    let pending = if status == "open" { of("pending").len() } else { 0 };
    let live = u128::try_from(pending.saturating_add(accepted.len())).ok()?;
    let works = matches!(status, "in_progress" | "completed");
    let findings = [
        same(CHECK, job, (live, job.number("proposals")?)),
        holds(CHECK, job, (accepted.len() <= 1, "one accepted at most")),
        same(CHECK, job, (accepted.first().copied(), job.text("accepted_proposal"))),
        holds(CHECK, job, (works != accepted.is_empty(), "one accepted if and only if at work")),
    ];
    Some(findings.into_iter().flatten().collect())
}
