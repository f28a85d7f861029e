//! Scripts, laws and edges of limits.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    reason = "a test that overflows fails, and says where"
)]

mod edges;
mod laws;
mod scripts;
mod stored;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::trial::Gone;
use crate::{
    Decision, Due, Duration, Fingerprint, IdempotencyKey, Loaded, RecordId, RecordKey, Rejection,
    Request, Timestamp, View, WithoutStore, command, decide,
};

/// What a command came to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: String,
    pub(super) fields: Value,
    pub(super) at: Timestamp,
    pub(super) deadline: Option<Timestamp>,
}

impl Answer {
    pub(super) fn ok(&self) -> bool {
        self.code == "ok"
    }
}

/// A world of one partition: what is not here is absent. Each accepted command is settled at once.
#[derive(Default)]
pub(super) struct World {
    view: View,
    gone: Gone,
    known: BTreeMap<RecordKey, Option<Timestamp>>,
    drawn: u128,
}

pub(super) fn nanos(nanos: u128) -> Timestamp {
    Timestamp::from_nanos(nanos).unwrap()
}

impl World {
    /// Sends `content`, whose `command` is the name; `key` and `dry_run` are the request's own.
    pub(super) fn send(&mut self, now: Timestamp, content: Value) -> Answer {
        self.try_send(now, content, "store")
    }

    pub(super) fn try_send(&mut self, now: Timestamp, mut content: Value, store: &str) -> Answer {
        let fields = content.as_object_mut().unwrap();
        let name = fields.remove("command").unwrap();
        let dry_run = fields.remove("dry_run").is_some();
        let key = fields.remove("key_").map(|key| {
            let mut hash = [0_u8; 32];
            for (index, byte) in format!("{name}{content}").bytes().enumerate() {
                hash[index % 32] = byte.wrapping_add(hash[index % 32].rotate_left(3));
            }
            (IdempotencyKey::new(key.as_str().unwrap()).unwrap(), Fingerprint::new(hash))
        });
        let spec = command(name.as_str().unwrap()).unwrap_or_else(|| panic!("{name}"));
        let parsed = match (spec.parse)(content) {
            Ok(parsed) => parsed,
            Err(error) => {
                let fields = json!({ "field": error.field, "reason": error.reason });
                return Answer { code: error.code.to_owned(), fields, at: now, deadline: None };
            }
        };
        self.drawn += 1_000;
        let commands = vec![parsed];
        let entropy = vec![self.drawn];
        let keep = Duration::from_days(7);
        self.run(
            now,
            &Request { commands, entropy, key, keep, dry_run, journaling: crate::Journaling::Off },
            store,
        )
    }

    pub(super) fn run(&mut self, now: Timestamp, request: &Request, store: &str) -> Answer {
        if store == "down" {
            return self.without_store(now, request);
        }
        for _ in 0..100 {
            match decide(&mut self.view, request, now) {
                Decision::Load { records, due } => {
                    for key in records {
                        let loaded = self.gone.loaded(&key);
                        self.view.load(key, loaded);
                    }
                    for due in due {
                        let ids = self.answer(&due);
                        self.view.answer(due, ids);
                    }
                }
                Decision::Accepted { replies, at, replayed, deadline, touched, .. } => {
                    self.settle(&touched.writes);
                    let mut fields = replies[0].to_json();
                    fields["replayed"] = json!(replayed);
                    if request.dry_run {
                        fields["dry_run"] = json!(true);
                    }
                    return Answer { code: "ok".to_owned(), fields, at, deadline };
                }
                Decision::Rejected { rejection, at, touched, .. } => {
                    assert!(touched.writes.is_empty(), "a rejection leaves no writes");
                    // What was due is asked for afresh the next time.
                    self.view.discard([]);
                    return rejected(rejection, at);
                }
                failed @ (Decision::Failed(_) | Decision::Panicked { .. }) => panic!("{failed:?}"),
            }
        }
        panic!("the same decision was asked for a hundred times");
    }

    /// Takes what was written, by way of its stored form.
    fn settle(&mut self, writes: &[RecordKey]) {
        self.gone.note(&self.view, writes);
        let mut stored = Vec::new();
        for key in writes {
            let pending = self.view.pending(key).unwrap();
            let Some(value) = &pending.value else {
                self.known.remove(key);
                continue;
            };
            self.known.insert(key.clone(), pending.sweep_at);
            let value = Some(value.encode().into());
            stored.push((key.clone(), Loaded { version: pending.version, at: pending.at, value }));
        }
        self.view.settle(writes);
        for (key, loaded) in stored {
            self.view.load(key, loaded);
        }
    }

    fn answer(&self, due: &Due) -> Vec<RecordId> {
        self.known
            .iter()
            .filter(|(key, at)| {
                let over = due.by.is_none_or(|by| at.is_some_and(|at| at <= by));
                key.kind == due.kind && key.id.as_str().starts_with(&due.prefix) && over
            })
            .map(|(key, _)| key.id.clone())
            .take(crate::DUE_MAX)
            .collect()
    }

    fn without_store(&mut self, now: Timestamp, request: &Request) -> Answer {
        let local = {
            let mut known = crate::Draft::new(&mut self.view);
            match request.commands[0].without_store_any(&mut known, now) {
                WithoutStore::Closed => {
                    let fields = Value::Null;
                    let code = "store_unavailable".to_owned();
                    return Answer { code, fields, at: now, deadline: None };
                }
                WithoutStore::Open(reply) => {
                    let mut fields = reply.to_json();
                    fields["decided_by"] = json!("open");
                    return Answer { code: "ok".to_owned(), fields, at: now, deadline: None };
                }
                WithoutStore::Local(command) => command,
            }
        };
        // Its names are its own, so the same world may serve as the node's.
        let request = Request { commands: vec![local], ..request.clone() };
        let mut answer = self.run(now, &request, "up");
        if answer.ok() {
            answer.fields["decided_by"] = json!("local");
        }
        answer
    }

    /// Removes all that is due, of every kind.
    pub(super) fn sweep(&mut self, now: Timestamp) -> usize {
        let due: Vec<RecordKey> = self
            .known
            .iter()
            .filter(|(_, at)| at.is_some_and(|at| at <= now))
            .map(|(key, _)| key.clone())
            .collect();
        let mut removed = 0;
        for key in due {
            let Some(command) = super::sweep(key.kind.name(), vec![key.id]) else { continue };
            let commands = vec![command];
            let keep = Duration::from_days(7);
            let request = Request {
                commands,
                entropy: vec![0],
                key: None,
                keep,
                dry_run: false,
                journaling: crate::Journaling::Off,
            };
            removed += usize::from(self.run(now, &request, "store").ok());
        }
        removed
    }

    /// What the audit of a quota finds.
    pub(super) fn audit(&mut self, now: Timestamp, quota: &str) -> Value {
        let of = |kind: &str| {
            let keys = self.known.keys().filter(|key| key.kind.name() == kind);
            keys.map(|key| key.id.clone()).collect()
        };
        let id = crate::Key::new(quota).unwrap();
        let audit = super::AuditQuota { id, charges: of("charges"), holds: of("holds") };
        self.run(now, &request(audit), "store").fields["mismatches"].clone()
    }

    /// Forgets a record, as a broken store would.
    pub(super) fn lose(&mut self, kind: &str) {
        let key = self.known.keys().find(|key| key.kind.name() == kind).unwrap().clone();
        self.known.remove(&key);
        let loaded = self.gone.loaded(&key);
        self.view.load(key, loaded);
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        self.known.keys().map(ToString::to_string).collect()
    }
}

fn rejected(rejection: Rejection, at: Timestamp) -> Answer {
    let code = rejection.code.to_owned();
    Answer { code, fields: Value::Object(rejection.data), at, deadline: None }
}

/// A command that is sent by its type.
pub(super) fn request(command: impl crate::Command) -> Request {
    let commands: Vec<Arc<dyn crate::AnyCommand>> = vec![Arc::new(command)];
    let keep = Duration::from_days(7);
    Request {
        commands,
        entropy: vec![1],
        key: None,
        keep,
        dry_run: false,
        journaling: crate::Journaling::Off,
    }
}
