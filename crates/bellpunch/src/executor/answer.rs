//! Answers as they are prepared, before they may be told.

use bellpunch_core::{
    Category, DecidedBy, Decision, Duration, Reply, RequestError, Timestamp, Touched, Versions,
};

use crate::{AnyOutcome, AnyReceipt, Error, ErrorKind, Refusal};

/// An answer, with what it rests on.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// An error, if the rule panicked.
    pub(crate) outcome: Result<AnyOutcome, Error>,
    pub(crate) touched: Touched,
    pub(crate) deadline: Option<Timestamp>,
    /// For how long it may be told again from memory once the store has confirmed it: never, but of
    /// refusals by policies that say so.
    pub(crate) repeats: Option<Duration>,
}

impl Prepared {
    fn new(outcome: Result<AnyOutcome, Error>, touched: Touched) -> Self {
        Self { outcome, touched, deadline: None, repeats: None }
    }

    /// Whether a limit said no.
    pub(crate) fn is_denied(&self) -> bool {
        let denied = |refusal: &Refusal| refusal.rejection.category == Category::Limit;
        matches!(&self.outcome, Ok(AnyOutcome::Rejected(refusal)) if denied(refusal))
    }

    /// What is told in its place if it is decided on what the node remembers.
    pub(crate) fn told_from_memory(self) -> Result<AnyOutcome, Error> {
        match self.outcome {
            Ok(AnyOutcome::Rejected(refusal)) => {
                Ok(AnyOutcome::Rejected(Refusal { decided_by: DecidedBy::Cache, ..refusal }))
            }
            told => told,
        }
    }
}

/// What came of asking the rule.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It answered.
    Answer(Prepared),
    /// Records are missing.
    Load(Vec<bellpunch_core::RecordKey>, Vec<bellpunch_core::Due>),
    /// It is about records that are on their way to the store, and goes after them.
    Aside,
    /// It could not be asked.
    Broken(Error),
}

/// Turns a decision into an answer.
pub(crate) fn prepare(decision: Decision, dry_run: DryRun) -> Asked {
    match decision {
        Decision::Load { records, due } => Asked::Load(records, due),
        Decision::Accepted {
            replies,
            at,
            replayed,
            versions,
            versions_each,
            as_of,
            seqs,
            touched,
            deadline,
        } => {
            let receipt = AnyReceipt {
                at,
                replayed,
                decided_by: DecidedBy::Store,
                dry_run: dry_run == DryRun::Yes,
                best_effort: false,
                durable: true,
                versions,
                versions_each,
                as_of,
                seqs,
                replies,
            };
            let outcome = Ok(AnyOutcome::Accepted(receipt));
            Asked::Answer(Prepared { deadline, ..Prepared::new(outcome, touched) })
        }
        Decision::Rejected { index, rejection, at, as_of, touched } => {
            let decided_by = DecidedBy::Store;
            let refusal = Refusal {
                index,
                rejection,
                at,
                as_of,
                decided_by,
                best_effort: false,
                durable: true,
            };
            Asked::Answer(Prepared::new(Ok(AnyOutcome::Rejected(refusal)), touched))
        }
        Decision::Failed(RequestError::Undecodable { record, cause }) => {
            Asked::Broken(Error::new(ErrorKind::Internal, format!("record {record}: {cause}")))
        }
        // Records of several states can be what no command leaves behind. So this is told when the
        // store confirms what was read, as a rejection is; else it is decided again.
        Decision::Panicked { command, said, touched } => {
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            let message = format!("the rule of {command} panicked{said}");
            Asked::Answer(Prepared::new(Err(Error::new(ErrorKind::Internal, message)), touched))
        }
        other @ (Decision::Failed(_) | _) => {
            Asked::Broken(Error::new(ErrorKind::Internal, format!("{other:?}")))
        }
    }
}

/// Whether the draft is to be dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DryRun {
    Yes,
    No,
}

/// An acceptance without the store.
pub(crate) fn storeless(reply: Reply, at: Timestamp, decided_by: DecidedBy) -> AnyOutcome {
    AnyOutcome::Accepted(AnyReceipt {
        at,
        replayed: false,
        decided_by,
        dry_run: false,
        best_effort: false,
        durable: true,
        versions: Versions::new(),
        versions_each: Vec::new(),
        as_of: Versions::new(),
        seqs: Vec::new(),
        replies: vec![reply],
    })
}
