//! Laws that hold of the rules whatever the model says, each by the name it has in the page on laws.

mod dense;
mod domain;
mod expiry;
mod names;
mod once;
mod page;
mod pure;
mod replay;
mod terminal;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use bellpunch::{
    Decision, Duration, Fingerprint, IdempotencyKey, Partition, RecordKey, Request, Timestamp,
    View, command, decide, fingerprint,
};
use serde_json::{Value, json};

use crate::gone::Gone;
use crate::partition::{Command, START};

const MS: i128 = 1_000_000;
const MS_NS: u64 = 1_000_000;
const DAY: i128 = 86_400_000_000_000;
const MAX: u64 = 9_007_199_254_740_991;

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    /// `ok`, or why not.
    code: String,
    /// The reply (of a list, all of them), or the data of a refusal.
    body: Value,
    /// The decision time, from the start on.
    at: i128,
    replayed: bool,
    /// The commit must land before this.
    deadline: Option<i128>,
    /// What was written.
    versions: BTreeMap<String, u64>,
    /// What it rests on.
    reads: BTreeSet<RecordKey>,
}

impl Told {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, "ok", "{self:?}");
        self
    }
}

/// One partition, decided by the rules alone; what is not here is absent.
#[derive(Clone, Debug, Default)]
struct World {
    view: View,
    gone: Gone,
    drawn: u128,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default)]
struct How<'a> {
    key: Option<&'a str>,
    dry_run: bool,
}

const KEEP: Duration = Duration::from_days(7);

fn offset(at: Timestamp) -> i128 {
    i128::try_from(at.nanos()).unwrap() - START
}

fn list(replies: impl IntoIterator<Item = Value>) -> Value {
    let mut replies: Vec<Value> = replies.into_iter().collect();
    if replies.len() == 1 { replies.remove(0) } else { Value::Array(replies) }
}

impl World {
    /// One that took all of these at the start.
    fn of(start: &[Command]) -> Self {
        let mut world = Self::default();
        for (cmd, args) in start {
            world.send(cmd, args.clone(), 0).ok();
        }
        world
    }

    fn send(&mut self, cmd: &'static str, args: Value, at: i128) -> Told {
        self.send_all(&[(cmd, args)], at, How::default())
    }

    /// Sends a command under an idempotency key.
    fn under(&mut self, key: &str, (cmd, args): &Command, at: i128) -> Told {
        self.send_all(&[(cmd, args.clone())], at, How { key: Some(key), dry_run: false })
    }

    fn send_all(&mut self, commands: &[Command], at: i128, how: How<'_>) -> Told {
        let mut parsed = Vec::new();
        for (cmd, args) in commands {
            match (command(cmd).unwrap().parse)(args.clone()) {
                Ok(command) => parsed.push(command),
                Err(error) => {
                    let body = json!({ "field": error.field, "reason": error.reason });
                    let code = error.code.to_owned();
                    let (versions, reads) = (BTreeMap::new(), BTreeSet::new());
                    return Told {
                        code,
                        body,
                        at,
                        replayed: false,
                        deadline: None,
                        versions,
                        reads,
                    };
                }
            }
        }
        let mut draw = || {
            self.drawn = self.drawn.wrapping_add(1);
            self.drawn.wrapping_shl(64)
        };
        let acme = Partition::new("acme").unwrap();
        let bound = |key: &str| -> (IdempotencyKey, Fingerprint) {
            (IdempotencyKey::new(key).unwrap(), fingerprint(&acme, &parsed))
        };
        let request = Request {
            entropy: parsed.iter().map(|_| draw()).collect(),
            key: how.key.map(bound),
            commands: parsed,
            keep: KEEP,
            dry_run: how.dry_run,
            journaling: bellpunch::Journaling::Off,
        };
        self.decide(&request, at)
    }

    fn decide(&mut self, request: &Request, at: i128) -> Told {
        let now = Timestamp::from_nanos(u128::try_from(START + at).unwrap()).unwrap();
        loop {
            match decide(&mut self.view, request, now) {
                Decision::Load { records, due } => {
                    assert!(due.is_empty(), "no rule here asks for due records");
                    for key in records {
                        let loaded = self.gone.loaded(&key);
                        self.view.load(key, loaded);
                    }
                }
                Decision::Accepted {
                    replies, at, replayed, versions, touched, deadline, ..
                } => {
                    self.gone.note(&self.view, &touched.writes);
                    self.view.settle(&touched.writes);
                    return Told {
                        code: "ok".to_owned(),
                        body: list(replies.into_iter().map(|reply| reply.to_json())),
                        at: offset(at),
                        replayed,
                        deadline: deadline.map(offset),
                        versions: versions.into_iter().map(|(key, v)| (key, v.get())).collect(),
                        reads: touched.reads.into_iter().collect(),
                    };
                }
                Decision::Rejected { rejection, at, touched, .. } => {
                    // `law.reject_pure`, of every refusal in every law.
                    assert!(touched.writes.is_empty(), "a refusal writes nothing");
                    let pending = touched.reads.iter().find(|key| self.view.is_pending(key));
                    assert_eq!(pending, None, "a refusal leaves nothing behind");
                    return Told {
                        code: rejection.code.to_owned(),
                        body: Value::Object(rejection.data),
                        at: offset(at),
                        replayed: false,
                        deadline: None,
                        versions: BTreeMap::new(),
                        reads: touched.reads.into_iter().collect(),
                    };
                }
                other @ (Decision::Failed(_) | _) => panic!("{other:?}"),
            }
        }
    }
}

fn quota(over: Value) -> Command {
    ("quotas.create", with(json!({ "id": "q", "limit": 5 }), over))
}

fn consume(units: u64) -> Command {
    ("quotas.consume", json!({ "id": "q", "units": units, "charge": "a" }))
}

/// A hold of one unit of the quota for ten milliseconds.
fn hold() -> Command {
    let items = json!([{ "quota": "q", "units": 1 }]);
    ("holds.create", json!({ "id": "h", "items": items, "ttl_ns": 10 * MS_NS }))
}

/// A ticket of five uses, approved, for ten milliseconds.
fn ticket(over: Value) -> Command {
    let args = json!({
        "holder": "c", "audience": "s", "issued_by": "s", "approved": true,
        "ttl_ns": 10 * MS_NS, "max_amount": { "amount": 5, "unit": "use" },
    });
    ("tickets.create", with(args, over))
}

/// Issues a ticket at the start; its id.
fn issue(world: &mut World, over: Value) -> String {
    let (cmd, args) = ticket(over);
    world.send(cmd, args, 0).ok().body["ticket"]["id"].as_str().unwrap().to_owned()
}

fn redeem(id: &str) -> Command {
    ("tickets.redeem", json!({ "id": id, "holder": "c", "audience": "s", "amount": 1 }))
}

/// An upload that is pending for ten milliseconds.
fn upload(over: Value) -> Command {
    ("uploads.create", with(json!({ "id": "u", "size_limit": 9, "ttl_ns": 10 * MS_NS }), over))
}

fn publish(blob: &str) -> Command {
    let args = json!({ "id": "u", "blob": blob, "sha256": "c".repeat(64), "size": 3,
                       "started_at": crate::partition::written(0) });
    ("uploads.publish", args)
}

/// Lays fields over those of an object.
fn with(mut args: Value, over: Value) -> Value {
    let Value::Object(over) = over else { panic!("an object") };
    args.as_object_mut().unwrap().extend(over);
    args
}
