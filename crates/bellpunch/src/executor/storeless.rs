//! What commands do when the store failed: most fail too, and rate limits do what their policy says.
//!
//! Invariant: nothing that is decided here reaches the store, and all of it is flagged and counted.

use bellpunch_core::{
    DecidedBy, Journaling, Loaded, Reply, Request, Timestamp, View, WithoutStore, decide, planted,
    without_store,
};
use bellpunch_store::{Failure, FailureKind};

use super::Turn;
use super::answer::{Asked, DryRun, prepare, storeless};
use super::batch::Waiting;
use super::lane::Lane;
use crate::{AnyOutcome, Error, ErrorKind};

/// Bytes of node-local counters, used while the store is down.
const LOCAL_BYTES_MAX: usize = 1 << 20;

impl Lane {
    /// The store failed and took nothing: each command does what it is to do without it.
    pub(super) fn failed(&mut self, waiting: Vec<Waiting>, failure: &Failure, turn: &mut Turn<'_>) {
        let kind = match failure.kind() {
            FailureKind::TooLarge => ErrorKind::TooLarge,
            FailureKind::Corrupt if 1 < waiting.len() => {
                // One of them needs the damaged record; ask for each alone.
                self.batch_max = 1;
                for waiting in waiting.into_iter().rev() {
                    self.queue.push_front(waiting);
                }
                return;
            }
            FailureKind::Corrupt => ErrorKind::Internal,
            FailureKind::Unavailable | FailureKind::Full | FailureKind::Throttled | _ => {
                ErrorKind::StoreUnavailable
            }
        };
        for waiting in waiting {
            let may = !waiting.in_doubt && !waiting.gone;
            let result = if kind == ErrorKind::StoreUnavailable && may {
                self.go_on(&waiting.request, turn)
            } else {
                None
            };
            let error = || Error::new(kind, failure.to_string());
            self.answer(&waiting, result.ok_or_else(error), turn.desk);
        }
    }

    /// The answer of a rate limit whose policy goes on without the store.
    fn go_on(&mut self, request: &Request, turn: &mut Turn<'_>) -> Option<AnyOutcome> {
        let [open, local, _] = &mut turn.desk.stats.storeless;
        let now = turn.now;
        match without_store(&mut self.view, request, now) {
            WithoutStore::Open(reply) => {
                *open = open.saturating_add(1);
                let flag =
                    if planted!("degraded_unflagged") { DecidedBy::Store } else { DecidedBy::Open };
                Some(storeless(Reply::Fresh(reply), now, flag))
            }
            WithoutStore::Local(command) if self.local.bytes() < LOCAL_BYTES_MAX => {
                let entropy = request.entropy.clone();
                // Records that live in this node alone have no place in the partition's journal.
                let (commands, journaling) = (vec![command], Journaling::Off);
                let request =
                    Request { commands, entropy, key: None, journaling, ..request.clone() };
                let outcome = decide_local(&mut self.local, &request, now)?;
                *local = local.saturating_add(1);
                Some(outcome)
            }
            WithoutStore::Local(_) | WithoutStore::Closed | _ => None,
        }
    }
}

/// Decides on records that live in this node alone: what is not there is absent.
fn decide_local(local: &mut View, request: &Request, now: Timestamp) -> Option<AnyOutcome> {
    loop {
        match prepare(decide(local, request, now), DryRun::No) {
            Asked::Load(records, due) => {
                for key in records {
                    local.load(key, Loaded::default());
                }
                for due in due {
                    local.answer(due, Vec::new());
                }
            }
            Asked::Broken(_) | Asked::Aside => return None,
            Asked::Answer(prepared) => {
                local.settle(&prepared.touched.writes);
                return Some(match prepared.outcome.ok()? {
                    AnyOutcome::Accepted(mut receipt) => {
                        receipt.decided_by = DecidedBy::Local;
                        receipt.versions.clear();
                        receipt.as_of.clear();
                        AnyOutcome::Accepted(receipt)
                    }
                    AnyOutcome::Rejected(mut refusal) => {
                        refusal.decided_by = DecidedBy::Local;
                        refusal.as_of.clear();
                        AnyOutcome::Rejected(refusal)
                    }
                });
            }
        }
    }
}
