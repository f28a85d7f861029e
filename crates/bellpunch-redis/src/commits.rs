//! Commits: how they are sent, and what became of those whose reply was lost.
//!
//! Invariant: a commit is sent again only when its server said that it was not run; what may have been
//! run is unknown, and remembered until it is resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use bellpunch_store::{
    Commit, CommitId, CommitResult, Failure, FailureKind, Partition, Resolution, Timestamp,
};
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};

use crate::script::{self, Listing, Load, Prepared};
use crate::server::{Lane, Server};
use crate::store::{Inner, SENDINGS_MAX};
use crate::trouble::{self, Trouble};

/// Preconditions and writes of one commit: its script keeps the server for about 2 ms.
pub(crate) const RECORDS_MAX: usize = 2_000;
/// Records that take much less time than a sync.
pub(crate) const RECORDS_MIN: usize = 16;
/// Bytes of keys and values of one commit.
pub(crate) const BYTES_MAX: usize = 8 << 20;
/// Preconditions of the commits of one script, unless it has only one.
const SCRIPT_RECORDS_MAX: usize = 512;
/// Bytes of the commits of one script, unless it has only one.
const SCRIPT_BYTES_MAX: usize = 1 << 20;
/// Commits of unknown fate that are remembered.
const UNKNOWN_MAX: usize = 65_536;
/// Partitions that are known to be in the list, which is in another slot.
const LISTED_MAX: usize = 65_536;

/// What came of commits, by their places in the call. What is not there is unknown.
type Results = BTreeMap<usize, CommitResult>;

impl Inner {
    pub(crate) async fn commit(&self, commits: Vec<Arc<Commit>>) -> Vec<CommitResult> {
        let mut results = Results::new();
        let mut places: BTreeMap<Option<&Partition>, Vec<usize>> = BTreeMap::new();
        for (place, commit) in commits.iter().enumerate() {
            let records = commit.preconditions.len().max(commit.writes.len());
            if RECORDS_MAX < records || BYTES_MAX < script::bytes_of(commit) {
                let message =
                    "the commit has more records or bytes than a Redis store takes at once";
                let failure = Failure::new(FailureKind::TooLarge, message);
                results.insert(place, CommitResult::Failed(failure));
                continue;
            }
            let apart = self.terms.listing == Listing::Before;
            places.entry(apart.then_some(&commit.partition)).or_default().push(place);
        }
        let layout = &self.terms.layout;
        let prepared: Vec<_> = commits.iter().map(|commit| Prepared::new(commit, layout)).collect();
        let groups = places.iter().map(|(partition, places)| async {
            match self.list(*partition, (&prepared, places)).await {
                Ok(()) => self.send((&commits, &prepared), places).await,
                Err(failure) => {
                    let failed = |place: &usize| (*place, CommitResult::Failed(failure.clone()));
                    places.iter().map(failed).collect()
                }
            }
        });
        results.extend(join_all(groups).await.into_iter().flatten());
        let result = |place| results.remove(&place).unwrap_or(CommitResult::Unknown);
        let results: Vec<_> = (0..commits.len()).map(result).collect();
        let mut unknown = self.unknown();
        for (commit, result) in commits.iter().zip(&results) {
            let lost = matches!(result, CommitResult::Unknown);
            if lost && !commit.writes.is_empty() {
                unknown.insert(commit.id, commit.now);
                if UNKNOWN_MAX < unknown.len() {
                    unknown.pop_first();
                }
            }
        }
        results
    }

    /// Sends commits that one server has the records of.
    async fn send(
        &self,
        (commits, prepared): (&[Arc<Commit>], &[Prepared<'_>]),
        places: &[usize],
    ) -> Results {
        let mut results = Results::new();
        let first = places.first().and_then(|place| commits.get(*place));
        let Some(first) = first else { return results };
        let key = self.terms.layout.shelf(&first.partition).guard();
        let script = &self.scripts.commit;
        let mut calls: Vec<(Load, Cmd)> = Vec::new();
        for load in script::loads(commits, places, (SCRIPT_RECORDS_MAX, SCRIPT_BYTES_MAX)) {
            let members: Vec<_> =
                load.places.iter().filter_map(|place| prepared.get(*place)).collect();
            let call = script::call(script, &self.terms, (&members, &self.time()));
            calls.push((load, call));
        }
        for _ in 0..SENDINGS_MAX {
            if calls.is_empty() {
                return results;
            }
            match self.server(key.as_bytes()).await {
                Ok(server) => {
                    calls = self.attempt(&server, calls, (prepared, &mut results)).await;
                }
                Err(failure) => {
                    fail(calls.iter().map(|(load, _)| load), &failure, &mut results);
                    return results;
                }
            }
        }
        let failure = Failure::new(FailureKind::Unavailable, "the servers of Redis keep changing");
        fail(calls.iter().map(|(load, _)| load), &failure, &mut results);
        results
    }

    /// In a cluster: has the list of partitions name one, before its first commit.
    async fn list(
        &self,
        partition: Option<&Partition>,
        (prepared, places): (&[Prepared<'_>], &[usize]),
    ) -> Result<(), Failure> {
        let Some(partition) = partition else { return Ok(()) };
        let writes = |place: &usize| prepared.get(*place).is_some_and(Prepared::writes);
        if !places.iter().any(writes) || self.listed().contains(partition) {
            return Ok(());
        }
        let key = self.terms.layout.partitions();
        let mut add = Cmd::new();
        add.arg("ZADD").arg(&key).arg(0).arg(partition.as_str());
        self.query(key.as_bytes(), add).await.map_err(Trouble::failure)?;
        let mut listed = self.listed();
        if LISTED_MAX <= listed.len() {
            listed.clear();
        }
        listed.insert(partition.clone());
        Ok(())
    }

    pub(crate) fn listed(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends calls; gives back those that the server did not take and another, or the same, may.
    async fn attempt(
        &self,
        server: &Server,
        calls: Vec<(Load, Cmd)>,
        (prepared, results): (&[Prepared<'_>], &mut Results),
    ) -> Vec<(Load, Cmd)> {
        let mut pipeline = Pipeline::with_capacity(calls.len().saturating_add(1));
        let mut loads = Vec::with_capacity(calls.len());
        for (load, call) in calls {
            loads.push(load);
            pipeline.add_command(call);
        }
        if 0 < self.replicas_min {
            pipeline.add_command(self.wait_command());
        }
        let count = pipeline.len();
        let mut replies = match server.ask(Lane::Commits, (&pipeline, count)).await {
            Ok(replies) => replies.into_iter(),
            Err(trouble) => {
                self.topology.doubt();
                if let Trouble::Refused(failure) = trouble {
                    fail(&loads, &failure, results);
                }
                // Unknown is what a place without a result is.
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        let mut written = Vec::new();
        for (load, call) in loads.into_iter().zip(pipeline.cmd_iter()) {
            match replies.next() {
                Some(Value::Array(parts)) if parts.len() == load.places.len() => {
                    for (place, reply) in load.places.iter().zip(parts) {
                        let Some(prepared) = prepared.get(*place) else { continue };
                        let result = prepared.result(reply);
                        let taken = matches!(result, CommitResult::Committed { .. });
                        if taken && prepared.writes() {
                            written.push(*place);
                        }
                        results.insert(*place, result);
                    }
                }
                Some(Value::ServerError(error)) => match trouble::of_server(&error) {
                    Trouble::NoScript(_) => {
                        let whole = self.scripts.commit.whole(call);
                        again.push((load, whole));
                    }
                    Trouble::Refused(_) if self.topology.follow(&error) => {
                        again.push((load, call.clone()));
                    }
                    Trouble::Refused(failure) => fail(&[load], &failure, results),
                    Trouble::Lost(_) | Trouble::Late(_) => {}
                },
                Some(_) | None => {}
            }
        }
        if 0 < self.replicas_min && !replies.next().is_some_and(|waited| self.enough(&waited)) {
            for place in written {
                results.insert(place, CommitResult::Unknown);
            }
        }
        again
    }

    pub(crate) async fn resolve(
        &self,
        partition: &Partition,
        id: CommitId,
    ) -> Result<Resolution, Failure> {
        let key = self.terms.layout.shelf(partition).commit(id);
        let mut call = self.scripts.resolve.call(1);
        call.arg(&key).arg(self.terms.remember_ms);
        let reply = self.run(&self.scripts.resolve, &key, call).await.map_err(Trouble::failure)?;
        let (at, time) = script::pair(reply).ok_or_else(script::nonsense)?;
        let (at, time) =
            (script::bytes(at).ok_or_else(script::nonsense)?, script::all_bytes(time)?);
        if !at.is_empty() {
            if 0 < self.replicas_min {
                self.wait(&key).await?;
            }
            self.unknown().remove(&id);
            return Ok(Resolution::Applied);
        }
        let seconds = time.first().and_then(|time| std::str::from_utf8(time).ok()?.parse().ok());
        let seconds: u128 = seconds.ok_or_else(script::nonsense)?;
        let sent = self.unknown().get(&id).copied();
        Ok(match sent {
            Some(now) if self.forgotten(now, seconds) => Resolution::NotKnown,
            Some(_) | None => Resolution::NotApplied,
        })
    }

    /// Whether a commit that was decided at `now` may have been applied, and its id forgotten.
    fn forgotten(&self, now: Timestamp, server_seconds: u128) -> bool {
        let nanos = server_seconds.saturating_add(1).saturating_mul(1_000_000_000);
        let remember = u128::from(self.terms.remember_ms).saturating_mul(1_000_000);
        let skew = u128::from(self.terms.skew_max_ns);
        now.nanos().saturating_add(remember) <= nanos.saturating_add(skew)
    }

    fn unknown(&self) -> MutexGuard<'_, BTreeMap<CommitId, Timestamp>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_command(&self) -> Cmd {
        let half = self.timeout.as_millis().checked_div(2).unwrap_or_default();
        let mut wait = Cmd::new();
        wait.arg("WAIT").arg(self.replicas_min).arg(u64::try_from(half).unwrap_or(u64::MAX).max(1));
        wait
    }

    /// Waits until the replicas have what this node wrote.
    async fn wait(&self, key: &[u8]) -> Result<(), Failure> {
        let found = self.query(key, self.wait_command()).await.map_err(Trouble::failure)?;
        if self.enough(&found) {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Unavailable, "too few replicas of Redis have the commit yet"))
    }

    fn enough(&self, waited: &Value) -> bool {
        matches!(waited, Value::Int(replicas) if i64::from(self.replicas_min) <= *replicas)
    }
}

fn fail<'a>(loads: impl IntoIterator<Item = &'a Load>, failure: &Failure, results: &mut Results) {
    for place in loads.into_iter().flat_map(|load| &load.places) {
        results.insert(*place, CommitResult::Failed(failure.clone()));
    }
}
