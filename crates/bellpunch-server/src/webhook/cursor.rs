//! How far a webhook has got in a partition, and where it began.
//!
//! Invariant: a cursor never goes back, whoever writes it and in whatever order, so an entry that
//! is behind it has been taken by the receiver. Cursors are records of the partition they are in:
//! a copy of the partition has them as of the same instant as its journal, and cannot be ahead.
//! They have no entries, or each delivery would be one more thing to deliver.
//!
//! Why a webhook that begins "now" notes the places of all journals under one attempt, and the
//! attempt last: what it finds later without a note is younger than the beginning, and is told from
//! its first entry. A clock could not say that, and nodes that begin at once agree on one attempt.

use bellpunch::{Command, Draft, Key, Kind, Partition, Record, RecordId, Rejection, Timestamp};
use serde::{Deserialize, Serialize};

/// How far a webhook has got in the journal of this partition.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Cursor {
    /// All entries up to this one are dealt with.
    pub(super) seq: u64,
}

impl Record for Cursor {
    const KIND: Kind = Kind::new("webhook_cursors");
}

/// Moves a cursor on; one that is as far already stays.
#[derive(Debug, Serialize)]
pub(super) struct Advance {
    pub(super) webhook: Key,
    pub(super) seq: u64,
}

impl Command for Advance {
    const NAME: &'static str = "webhooks.advance";
    /// Where the cursor is then.
    type Reply = u64;
    type Rejection = Rejection;

    fn is_journaled(&self) -> bool {
        false
    }

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<u64, Rejection> {
        let id = RecordId::from(&self.webhook);
        if let Some(cursor) = draft.get::<Cursor>(&id)
            && self.seq <= cursor.seq
        {
            return Ok(cursor.seq);
        }
        draft.put(&id, Cursor { seq: self.seq });
        Ok(self.seq)
    }
}

/// Where the journal of a partition was when a webhook began.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Start {
    pub(super) seq: u64,
}

impl Record for Start {
    const KIND: Kind = Kind::compound("webhook_starts", 2);
}

impl Start {
    pub(super) fn id(attempt: &Key, partition: &Partition) -> RecordId {
        let name = Key::new(partition.as_str()).expect("a partition's name is shorter than a key");
        RecordId::compound(&[attempt, &name])
    }
}

/// Notes where journals are, under an attempt that nobody else knows.
#[derive(Debug, Serialize)]
pub(super) struct Note {
    pub(super) attempt: Key,
    pub(super) starts: Vec<(Partition, u64)>,
}

impl Command for Note {
    const NAME: &'static str = "webhooks.note";
    type Reply = ();
    type Rejection = Rejection;

    fn is_journaled(&self) -> bool {
        false
    }

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<(), Rejection> {
        for (partition, seq) in &self.starts {
            draft.put(&Start::id(&self.attempt, partition), Start { seq: *seq });
        }
        Ok(())
    }
}

/// That a webhook began, for the partitions of one of its patterns, and by which attempt.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Beginning {
    pub(super) attempt: Key,
    pub(super) at: Timestamp,
}

impl Record for Beginning {
    const KIND: Kind = Kind::compound("webhook_beginnings", 2);
}

/// Lets a webhook begin with an attempt whose notes are all there; the first one stays.
#[derive(Debug, Serialize)]
pub(super) struct Begin {
    pub(super) webhook: Key,
    pub(super) pattern: Key,
    pub(super) attempt: Key,
}

impl Begin {
    pub(super) fn id(webhook: &Key, pattern: &Key) -> RecordId {
        RecordId::compound(&[webhook, pattern])
    }
}

impl Command for Begin {
    const NAME: &'static str = "webhooks.begin";
    /// The attempt it began with.
    type Reply = Key;
    type Rejection = Rejection;

    fn is_journaled(&self) -> bool {
        false
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Key, Rejection> {
        let id = Self::id(&self.webhook, &self.pattern);
        if let Some(begun) = draft.get::<Beginning>(&id) {
            return Ok(begun.attempt.clone());
        }
        draft.put(&id, Beginning { attempt: self.attempt.clone(), at: now });
        Ok(self.attempt.clone())
    }
}

#[cfg(test)]
mod tests;
