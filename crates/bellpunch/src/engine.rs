//! The engine: takes commands, gives outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellpunch_core::{
    AnyCommand, Command, Decision, Fingerprint, Key, Loaded, Partition, RecordKey, Reply, Request,
    Timestamp, View, decide,
};
use bellpunch_store::{
    Clock, Commit, CommitId, CommitResult, Page, PartitionPage, Precondition, Scan, Store,
    Versioned, Write, WriteValue,
};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::{
    AnyOutcome, AnyReceipt, CallOptions, EngineConfig, EngineStats, Error, ErrorKind, Outcome,
    Receipt, Refusal,
};

/// Takes commands, gives outcomes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    views: Mutex<BTreeMap<Partition, View>>,
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bits");
    u128::from_le_bytes(bytes)
}

impl Engine {
    /// Starts an engine on a store. Needs a tokio runtime.
    pub fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>, config: EngineConfig) -> Self {
        Self(Arc::new(Inner { store, clock, config, views: Mutex::default() }))
    }

    /// Sends one command and waits for its outcome.
    ///
    /// # Errors
    /// If something broke; see [`ErrorKind`].
    pub async fn call<C: Command>(
        &self,
        partition: &Partition,
        command: C,
        options: CallOptions,
    ) -> Result<Outcome<C::Reply>, Error> {
        let outcome = self.send(partition, vec![Arc::new(command)], options).await?;
        Ok(match outcome {
            AnyOutcome::Rejected(refusal) => Outcome::Rejected(refusal),
            AnyOutcome::Accepted(receipt) => {
                let AnyReceipt { at, replayed, decided_by, versions, as_of, mut replies, .. } =
                    receipt;
                let reply = match replies.pop().expect("one command has one reply") {
                    Reply::Fresh(reply) => {
                        *reply.into_any().downcast().expect("the reply is of its command's type")
                    }
                    other => serde_json::from_value(other.to_json()).map_err(|cause| {
                        Error::new(ErrorKind::Internal, format!("a recorded reply: {cause}"))
                    })?,
                };
                Outcome::Accepted(Receipt { at, replayed, decided_by, versions, as_of, reply })
            }
        })
    }

    /// Sends commands, all or nothing, decided in order, and waits for their outcome.
    ///
    /// # Errors
    /// If something broke; see [`ErrorKind`].
    pub async fn send(
        &self,
        partition: &Partition,
        commands: Vec<Arc<dyn AnyCommand>>,
        options: CallOptions,
    ) -> Result<AnyOutcome, Error> {
        let key = options.key.map(|key| {
            let mut hash = Sha256::new();
            hash.update(partition.as_str());
            for command in &commands {
                hash.update([0]);
                hash.update(command.name());
                hash.update([0]);
                hash.update(command.content());
            }
            (key, Fingerprint::new(hash.finalize().into()))
        });
        let request = Request {
            entropy: commands.iter().map(|_| random()).collect(),
            commands,
            key,
            keep: self.0.config.keep_outcomes,
            dry_run: options.dry_run,
        };
        let store = &self.0.store;
        let failed = |failure: bellpunch_store::Failure| {
            Error::new(ErrorKind::StoreUnavailable, failure.to_string())
        };
        let mut views = self.0.views.lock().await;
        let view = views.entry(partition.clone()).or_default();
        loop {
            let now = self.0.clock.now();
            match decide(view, &request, now) {
                Decision::Load { records, due } => {
                    let loaded = store.read(partition, &records).await.map_err(failed)?;
                    for (key, versioned) in records.into_iter().zip(loaded) {
                        load(view, key, versioned);
                    }
                    for due in due {
                        let mut scan = Scan::of(due.kind.clone(), bellpunch_core::DUE_MAX);
                        scan.prefix.clone_from(&due.prefix);
                        scan.due_by = due.over_only.then_some(now);
                        let page = store.scan(partition, &scan).await.map_err(failed)?;
                        view.answer(due, page.records.into_iter().map(|(key, _)| key.id).collect());
                    }
                }
                Decision::Failed(error) => {
                    return Err(Error::new(ErrorKind::Internal, format!("{error:?}")));
                }
                Decision::Rejected { index, rejection, at, as_of, .. } => {
                    let decided_by = bellpunch_core::DecidedBy::Store;
                    return Ok(AnyOutcome::Rejected(Refusal {
                        index,
                        rejection,
                        at,
                        as_of,
                        decided_by,
                    }));
                }
                Decision::Accepted {
                    replies,
                    at,
                    replayed,
                    versions,
                    as_of,
                    touched,
                    deadline,
                } => {
                    let commit = Commit {
                        id: CommitId::new(random()),
                        partition: partition.clone(),
                        now,
                        deadline,
                        preconditions: touched
                            .reads
                            .iter()
                            .map(|key| Precondition {
                                key: key.clone(),
                                version: view.expected(key),
                            })
                            .collect(),
                        writes: touched.writes.iter().map(|key| write(view, key)).collect(),
                    };
                    let result = if commit.writes.is_empty() {
                        Some(CommitResult::Committed { at })
                    } else {
                        store.commit(vec![Arc::new(commit)]).await.pop()
                    };
                    match result {
                        Some(CommitResult::Committed { .. }) => {
                            view.settle(&touched.writes);
                            let dry_run = request.dry_run;
                            let decided_by = bellpunch_core::DecidedBy::Store;
                            return Ok(AnyOutcome::Accepted(AnyReceipt {
                                at,
                                replayed,
                                decided_by,
                                dry_run,
                                versions,
                                as_of,
                                replies,
                            }));
                        }
                        Some(CommitResult::Conflict { current }) => {
                            view.discard(&touched.writes);
                            for (key, versioned) in current {
                                load(view, key, versioned);
                            }
                        }
                        other => {
                            view.discard(&touched.writes);
                            return Err(Error::new(
                                ErrorKind::StoreUnavailable,
                                format!("{other:?}"),
                            ));
                        }
                    }
                }
                other => return Err(Error::new(ErrorKind::Internal, format!("{other:?}"))),
            }
        }
    }

    /// A page of records as stored, for lists: read each one by a command to see it as of now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn scan(&self, partition: &Partition, scan: &Scan) -> Result<Page, Error> {
        self.0
            .store
            .scan(partition, scan)
            .await
            .map_err(|failure| Error::new(ErrorKind::StoreUnavailable, failure.to_string()))
    }

    /// A page of partition names.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<PartitionPage, Error> {
        self.0
            .store
            .partitions(after, limit)
            .await
            .map_err(|failure| Error::new(ErrorKind::StoreUnavailable, failure.to_string()))
    }

    /// The time now, as decisions would see it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// An id of 128 random bits, for a door that makes one.
    #[must_use]
    pub fn fresh_id(&self) -> Key {
        Key::new(format!("{:032x}", random())).expect("hex digits are a legal name")
    }

    /// Whether commands are taken.
    ///
    /// # Errors
    /// `Draining`, or `StoreUnavailable` with the reason.
    pub fn ready(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    /// What the store says of itself.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// Takes no more commands, answers all that were taken, and returns when that is done.
    pub async fn drain(&self) {}
}

fn load(view: &mut View, key: RecordKey, versioned: Versioned) {
    let Versioned { version, at, value, .. } = versioned;
    view.load(key, Loaded { version, at, value });
}

fn write(view: &View, key: &RecordKey) -> Write {
    let pending = view.pending(key).expect("what was written is pending");
    let value = match &pending.value {
        Some(value) => WriteValue::Put(value.encode().into()),
        None if pending.purge => WriteValue::Purge,
        None => WriteValue::Delete,
    };
    Write {
        key: key.clone(),
        version: pending.version,
        at: pending.at,
        sweep_at: pending.sweep_at,
        value,
    }
}
