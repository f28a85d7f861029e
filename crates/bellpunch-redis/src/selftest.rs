//! What a server is put through before it is trusted: two creates, a stale version, two commits at
//! once, and a read of what was acknowledged.
//!
//! Invariant: it uses keys that no partition has, and removes them. A server that cannot take
//! commits just now (no memory, no replicas) is not one that lies: it is trusted, and says so itself.

use bellpunch_store::{
    Commit, CommitId, CommitResult, Failure, Kind, Partition, Precondition, RecordId, RecordKey,
    Timestamp, Version, Write, WriteValue,
};
use futures_util::future::join;
use redis::{Cmd, Value};

use crate::layout::Shelf;
use crate::script::{self, Listing, Prepared};
use crate::server::{Lane, alone};
use crate::store::Inner;
use crate::trouble::Trouble;

/// What became of the test.
#[derive(Debug)]
pub(crate) enum Verdict {
    Honest,
    Lies(String),
}

/// The one record that the test has.
fn key() -> RecordKey {
    RecordKey { kind: Kind::new("self-test"), id: RecordId::stored("record") }
}

fn commit(id: u128, version: u64) -> Commit {
    let write = Write {
        key: key(),
        version: Version::new(version.saturating_add(1)),
        at: Timestamp::EPOCH,
        sweep_at: None,
        value: WriteValue::Put(id.to_be_bytes().into()),
    };
    Commit {
        id: CommitId::new(id),
        partition: Partition::new("self-test").expect("a word is a legal name"),
        now: Timestamp::EPOCH,
        deadline: None,
        preconditions: vec![Precondition { key: key(), version: Version::new(version) }],
        writes: vec![write],
    }
}

const fn taken(result: &CommitResult) -> bool {
    matches!(result, CommitResult::Committed { .. })
}

const fn refused(result: &CommitResult) -> bool {
    matches!(result, CommitResult::Conflict { .. })
}

impl Inner {
    /// Puts the server that keeps the list of partitions through the test.
    pub(crate) async fn self_test(&self) -> Result<Verdict, Failure> {
        let counter = self.terms.layout.self_tests();
        let mut count = Cmd::new();
        count.arg("INCR").arg(&counter);
        let number = match self.query(counter.as_bytes(), count).await {
            Ok(Value::Int(number)) => number,
            // It has no memory left, or the like: it says so.
            Ok(_) | Err(Trouble::Refused(_)) => return Ok(Verdict::Honest),
            Err(trouble) => return Err(trouble.failure()),
        };
        let shelf = self.terms.layout.self_test(number);
        let verdict = self.examine(&shelf).await;
        let mut remove = Cmd::new();
        remove.arg("DEL").arg(shelf.index()).arg(shelf.record(&key()).concat());
        for id in 1..=4 {
            remove.arg(shelf.commit(CommitId::new(id)));
        }
        // What is left if it fails is small, and in nobody's way.
        let _ = self.query(shelf.guard().as_bytes(), remove).await;
        verdict
    }

    async fn examine(&self, shelf: &Shelf) -> Result<Verdict, Failure> {
        let lies = |what: &str| Ok(Verdict::Lies(what.to_owned()));
        let created = self.try_commit(shelf, &commit(1, 0)).await?;
        if matches!(created, CommitResult::Failed(_)) {
            return Ok(Verdict::Honest);
        }
        if !taken(&created) {
            return lies("it refuses to make a record that is not there");
        }
        if !refused(&self.try_commit(shelf, &commit(2, 0)).await?) {
            return lies("it makes a record twice, or takes a version that is stale");
        }
        let (three, four) = (commit(3, 1), commit(4, 1));
        let both = join(self.try_commit(shelf, &three), self.try_commit(shelf, &four)).await;
        let (one, other) = (both.0?, both.1?);
        let (winner, loser) = if taken(&one) { (&one, &other) } else { (&other, &one) };
        if !(taken(winner) && refused(loser)) {
            return lies("of two commits on one version not exactly one is taken");
        }
        // What is confirmed is what is read.
        let mut confirmation = commit(5, 2);
        confirmation.writes.clear();
        if !taken(&self.try_commit(shelf, &confirmation).await?) {
            return lies("it does not have what it acknowledged");
        }
        Ok(Verdict::Honest)
    }

    async fn try_commit(&self, shelf: &Shelf, commit: &Commit) -> Result<CommitResult, Failure> {
        let terms = script::Terms { listing: Listing::Before, ..self.terms.clone() };
        let prepared = Prepared::on(commit, shelf.clone());
        let script = &self.scripts.commit;
        let call = script::call(script, &terms, (&[&prepared], &self.time()));
        let whole = alone(script.whole(&call));
        let server = self.topology.server(shelf.guard().as_bytes()).await?;
        let replies = server.ask(Lane::Commits, (&whole, 1)).await.map_err(Trouble::failure)?;
        match replies.into_iter().next() {
            Some(Value::Array(mut results)) => {
                Ok(results.pop().map_or(CommitResult::Unknown, |reply| prepared.result(reply)))
            }
            Some(Value::ServerError(error)) => {
                Ok(CommitResult::Failed(crate::trouble::of_server(&error).failure()))
            }
            Some(_) | None => Ok(CommitResult::Unknown),
        }
    }
}
