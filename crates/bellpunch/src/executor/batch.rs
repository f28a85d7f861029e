//! A batch: commands decided one after the other, and the one commit that carries them all.

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
    /// Its number in the view, which knows the records that are named below; 0 of an empty one.
    number: u64,
    /// The version each record had at the store, of all that were read: each is named once. In order
    /// of their keys once it was sent.
    preconditions: Vec<Precondition>,
    /// The batches on their way that wrote some of them.
    pub(crate) rests_on: Vec<u64>,
    /// How many of its commands rest on one of those.
    pub(crate) resting: usize,
    /// The earliest deadline that a rule stated.
    pub(crate) deadline: Option<Timestamp>,
    /// The latest node time that a decision was begun at.
    now: Timestamp,
}

impl Batch {
    /// Adds a decided command, and what it rests on.
    pub(crate) fn add(&mut self, member: Member, view: &mut View, now: Timestamp) {
        if self.number == 0 {
            self.number = view.begin_batch();
        }
        let mut rests = false;
        for key in &member.prepared.touched.reads {
            let (version, flight) = view.claim(key, self.number);
            rests |= flight != 0;
            let Some(version) = version else { continue };
            self.preconditions.push(Precondition { key: key.clone(), version });
            if flight != 0 && !self.rests_on.contains(&flight) {
                self.rests_on.push(flight);
            }
        }
        self.resting = self.resting.saturating_add(usize::from(rests));
        if let Some(deadline) = member.prepared.deadline {
            self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
        }
        self.now = self.now.max(now);
        self.members.push(member);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Its number in the view.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// How many records the commit will name.
    pub(crate) fn records(&self) -> usize {
        self.preconditions.len()
    }

    pub(crate) fn touched(&self) -> impl Iterator<Item = &RecordKey> {
        self.preconditions.iter().map(|precondition| &precondition.key)
    }

    /// What refusals rest on that may be told again from memory, once the batch was sent.
    pub(crate) fn confirmed(&self) -> impl Iterator<Item = (&RecordKey, Version)> {
        let refusals = self.members.iter().filter(|member| member.prepared.repeats.is_some());
        refusals.flat_map(|member| &member.prepared.touched.reads).filter_map(|key| {
            let place = self.preconditions.binary_search_by(|one| one.key.cmp(key)).ok()?;
            Some((key, self.preconditions.get(place)?.version))
        })
    }

    /// The commit that carries all of it. Each record is encoded once, however many wrote it.
    pub(crate) fn commit(
        &mut self,
        partition: &Partition,
        view: &mut View,
        turn: &mut Turn<'_>,
    ) -> Arc<Commit> {
        // In order of their keys, so that one batch is one commit, whoever came first.
        self.preconditions.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        // What is written was read.
        let mut writes = Vec::with_capacity(self.preconditions.len());
        for Precondition { key, .. } in &self.preconditions {
            if planted!("outcome_in_memory") && key.kind.name() == "outcomes" {
                continue;
            }
            let Some((pending, value)) = view.encode(key) else { continue };
            let value = match value {
                Some(value) => WriteValue::Put(value),
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
        let preconditions = if unread { Vec::new() } else { self.preconditions.clone() };
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
