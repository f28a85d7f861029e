//! A batch: commands decided one after the other, and the one commit that carries them all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellpunch_core::{
    IdempotencyKey, Partition, RecordKey, Request, Timestamp, Version, View, planted,
};
use bellpunch_store::{Commit, Precondition, StoreClock, Write, WriteValue};

use super::answer::Prepared;
use super::{Caller, Turn};

/// A command that waits for its reply.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) caller: Caller,
    pub(crate) request: Request,
    /// How often it was decided and lost to somebody who committed first.
    pub(crate) conflicts: u32,
    /// A deadline of it that was missed: it is decided at this instant or later.
    pub(crate) not_before: Timestamp,
    /// The caller has had its reply; the command goes on.
    pub(crate) gone: bool,
    /// A commit that carried it may have been applied, and the store no longer knows: only its
    /// outcome record can tell, and no error may say that it had no effect.
    pub(crate) in_doubt: bool,
}

impl Waiting {
    pub(crate) fn key(&self) -> Option<&IdempotencyKey> {
        self.request.key.as_ref().map(|(key, _)| key)
    }
}

/// A decided command whose reply is withheld until the commit is durable.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) waiting: Waiting,
    pub(crate) prepared: Prepared,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) members: Vec<Member>,
    /// The version each record had at the store, of all that were read.
    preconditions: BTreeMap<RecordKey, Version>,
    /// The records that were written.
    pub(crate) writes: BTreeSet<RecordKey>,
    /// The earliest deadline that a rule stated.
    pub(crate) deadline: Option<Timestamp>,
    /// The latest node time that a decision was begun at.
    now: Timestamp,
}

impl Batch {
    /// Adds a decided command, and what it rests on.
    pub(crate) fn add(&mut self, member: Member, view: &View, now: Timestamp) {
        for key in &member.prepared.touched.reads {
            if !self.preconditions.contains_key(key) {
                self.preconditions.insert(key.clone(), view.expected(key));
            }
        }
        self.writes.extend(member.prepared.touched.writes.iter().cloned());
        if let Some(deadline) = member.prepared.deadline {
            self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
        }
        self.now = self.now.max(now);
        self.members.push(member);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many records the commit will name.
    pub(crate) fn records(&self) -> usize {
        self.preconditions.len()
    }

    pub(crate) fn touched(&self) -> impl Iterator<Item = &RecordKey> {
        self.preconditions.keys()
    }

    /// The commit that carries all of it. Each record is encoded once, however many wrote it.
    pub(crate) fn commit(
        &self,
        partition: &Partition,
        view: &mut View,
        turn: &mut Turn<'_>,
    ) -> Arc<Commit> {
        let mut writes = Vec::with_capacity(self.writes.len());
        for key in &self.writes {
            if planted!("outcome_in_memory") && key.kind.name() == "outcomes" {
                continue;
            }
            let pending = view.pending(key).expect("what was written is pending").clone();
            let value = match pending.value {
                Some(value) => {
                    let value: Arc<[u8]> = value.encode().into();
                    view.weigh(key, value.len());
                    WriteValue::Put(value)
                }
                None if pending.purge => WriteValue::Purge,
                None => WriteValue::Delete,
            };
            writes.push(Write {
                key: key.clone(),
                version: pending.version,
                at: pending.at,
                sweep_at: pending.sweep_at,
                value,
            });
        }
        let skew = turn.rules.config.clock_skew_max;
        let deadline = self.deadline.map(|deadline| match turn.rules.clock {
            // A store without a clock compares with this node's, which may be behind by so much.
            StoreClock::Node => deadline.minus_or_epoch(skew),
            StoreClock::AtExclusivity | StoreClock::AtAdmission => deadline,
        });
        let unread = planted!("torn_rejection") && writes.is_empty();
        let preconditions = self
            .preconditions
            .iter()
            .filter(|_| !unread)
            .map(|(key, version)| Precondition { key: key.clone(), version: *version })
            .collect();
        Arc::new(Commit {
            id: turn.desk.commit_id(),
            partition: partition.clone(),
            now: self.now,
            deadline,
            preconditions,
            writes,
        })
    }
}
