//! A world of one partition for the tests of rules: commands as JSON at given times, decided on a
//! view, settled when accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::audit::Stored;
use crate::{
    AnyRecord, Decision, Duration, Fingerprint, Floor, IdempotencyKey, Kind, Loaded, RecordKey,
    Request, Timestamp, Version, View, command, decide,
};

/// The instant that scripts count from.
const START_NS: u128 = 1_800_000_000_000_000_000;

/// The instant `millis` after the start.
pub(crate) fn at(millis: i64) -> Timestamp {
    let offset = u128::from(millis.unsigned_abs()).saturating_mul(1_000_000);
    let nanos =
        if millis < 0 { START_NS.checked_sub(offset) } else { START_NS.checked_add(offset) };
    nanos.and_then(Timestamp::from_nanos).unwrap()
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Its reply, and whether it was told again.
    Ok { reply: Value, replayed: bool, deadline: Option<Timestamp> },
    /// Its code and data.
    No { code: String, data: Map<String, Value> },
}

impl Answer {
    /// The code, or `ok`.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Ok { .. } => "ok",
            Self::No { code, .. } => code,
        }
    }

    /// The reply of an accepted command.
    pub(crate) fn ok(&self) -> &Value {
        match self {
            Self::Ok { reply, .. } => reply,
            Self::No { code, data } => panic!("{code} {data:?}"),
        }
    }

    /// The data of a rejected one, whose code must be this.
    pub(crate) fn no(&self, expected: &str) -> &Map<String, Value> {
        match self {
            Self::No { code, data } if code == expected => data,
            Self::Ok { .. } | Self::No { .. } => panic!("expected {expected}, got {self:?}"),
        }
    }

    pub(crate) fn replayed(&self) -> bool {
        matches!(self, Self::Ok { replayed: true, .. })
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Ok { deadline, .. } => *deadline,
            Self::No { .. } => None,
        }
    }
}

/// A command's name and content.
pub(crate) type Call<'a> = (&'a str, Value);

#[derive(Clone, Copy)]
enum Mode<'a> {
    Plain,
    Keyed(&'a str),
    Dry,
}

/// A record as a store keeps it.
#[derive(Clone, Debug)]
struct Kept {
    version: Version,
    at: Timestamp,
    record: Arc<dyn AnyRecord>,
}

/// One partition, empty at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    view: View,
    gone: Gone,
    drawn: u128,
    stored: BTreeMap<RecordKey, Kept>,
}

impl World {
    /// Sends a command without a key.
    pub(crate) fn send(&mut self, millis: i64, call: Call<'_>) -> Answer {
        self.decide(millis, call, Mode::Plain)
    }

    /// Sends one with a key.
    pub(crate) fn keyed(&mut self, key: &str, millis: i64, call: Call<'_>) -> Answer {
        self.decide(millis, call, Mode::Keyed(key))
    }

    /// Asks what a command would do.
    pub(crate) fn dry(&mut self, millis: i64, call: Call<'_>) -> Answer {
        self.decide(millis, call, Mode::Dry)
    }

    /// Sends commands in this order, as one batch would decide them.
    pub(crate) fn all(&mut self, millis: i64, calls: &[Call<'_>]) -> Vec<Answer> {
        calls.iter().map(|call| self.send(millis, call.clone())).collect()
    }

    /// Sends commands as one list: all or nothing. Gives the first reply.
    pub(crate) fn list(&mut self, millis: i64, calls: &[Call<'_>]) -> Answer {
        let request = self.listed(calls);
        self.run(millis, &request)
    }

    /// Asks what a list of commands would do.
    pub(crate) fn dry_list(&mut self, millis: i64, calls: &[Call<'_>]) -> Answer {
        let request = Request { dry_run: true, ..self.listed(calls) };
        self.run(millis, &request)
    }

    fn listed(&mut self, calls: &[Call<'_>]) -> Request {
        let parse =
            |(name, content): &Call<'_>| (command(name).unwrap().parse)(content.clone()).unwrap();
        let commands: Vec<_> = calls.iter().map(parse).collect();
        let entropy = commands.iter().map(|_| {
            self.drawn = self.drawn.checked_add(1).unwrap();
            self.drawn << 64
        });
        Request {
            entropy: entropy.collect(),
            commands,
            key: None,
            keep: Duration::from_days(7),
            dry_run: false,
            journaling: crate::Journaling::Off,
        }
    }

    /// Sends a command of no wire.
    pub(crate) fn send_any(&mut self, millis: i64, command: Arc<dyn crate::AnyCommand>) -> Answer {
        self.drawn = self.drawn.checked_add(1).unwrap();
        let request = Request {
            commands: vec![command],
            entropy: vec![self.drawn << 64],
            key: None,
            keep: Duration::from_days(7),
            dry_run: false,
            journaling: crate::Journaling::Off,
        };
        self.run(millis, &request)
    }

    /// A record as it is stored.
    pub(crate) fn record<R: crate::Record>(&mut self, id: &crate::RecordId) -> R {
        let place = self.view.find(&R::KIND, id).unwrap();
        let stored = self.view.read::<R>(place).ok().and_then(|seen| seen.value);
        (*stored.unwrap()).clone()
    }

    /// All records, as a store has them.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        self.stored_of(|_| true)
    }

    /// The records of the kinds that are wanted.
    pub(crate) fn stored_of(&self, wanted: impl Fn(&str) -> bool) -> Vec<Stored> {
        let kept = self.stored.iter().filter(|(key, _)| wanted(key.kind.name()));
        let records = kept.map(|(key, Kept { version, record, .. })| {
            Stored::decode(key.clone(), *version, &record.encode()).unwrap()
        });
        records.collect()
    }

    /// The ids of the records of a kind.
    pub(crate) fn ids(&self, kind: &str) -> Vec<String> {
        let keys = self.stored.keys().filter(|key| key.kind.name() == kind);
        keys.map(|key| key.id.as_str().to_owned()).collect()
    }

    /// The version of each record.
    pub(crate) fn versions(&self) -> BTreeMap<RecordKey, Version> {
        self.stored.iter().map(|(key, kept)| (key.clone(), kept.version)).collect()
    }

    /// Drops all that is in memory, as an eviction does: what is needed is read again.
    pub(crate) fn forget(&mut self) {
        for key in self.stored.keys() {
            self.view.forget(key);
        }
    }

    fn loaded(&self, key: &RecordKey) -> Loaded {
        let Some(Kept { version, at, record }) = self.stored.get(key) else {
            return self.gone.loaded(key);
        };
        Loaded { version: *version, at: *at, value: Some(record.encode().into()) }
    }

    /// Takes note of what is about to be settled, as a store would.
    fn store(&mut self, writes: &[RecordKey]) {
        for key in writes {
            let Some(pending) = self.view.pending(key) else { continue };
            match &pending.value {
                Some(value) => {
                    let (version, at) = (pending.version, pending.at);
                    let record = Arc::clone(value);
                    self.stored.insert(key.clone(), Kept { version, at, record })
                }
                None => self.stored.remove(key),
            };
        }
    }

    fn decide(&mut self, millis: i64, (name, content): Call<'_>, mode: Mode<'_>) -> Answer {
        let parsed = (command(name).unwrap().parse)(content);
        let command = match parsed {
            Ok(command) => command,
            Err(error) => {
                let mut data = Map::new();
                data.insert("field".to_owned(), error.field.into());
                data.insert("reason".to_owned(), error.reason.into());
                return Answer::No { code: error.code.to_owned(), data };
            }
        };
        // Not a hash of the content, but as good as one here: no test has long commands that
        // differ only where this does not look.
        let mut fingerprint = [0_u8; 32];
        for (index, byte) in command.content().iter().enumerate() {
            let mixed = fingerprint[index % 32].rotate_left(3).wrapping_add(*byte);
            fingerprint[index % 32] = mixed;
        }
        self.drawn = self.drawn.checked_add(1).unwrap();
        let key = match mode {
            Mode::Keyed(key) => {
                Some((IdempotencyKey::new(key).unwrap(), Fingerprint::new(fingerprint)))
            }
            Mode::Plain | Mode::Dry => None,
        };
        let request = Request {
            commands: vec![command],
            entropy: vec![self.drawn << 64],
            key,
            keep: Duration::from_days(7),
            dry_run: matches!(mode, Mode::Dry),
            journaling: crate::Journaling::Off,
        };
        self.run(millis, &request)
    }

    fn run(&mut self, millis: i64, request: &Request) -> Answer {
        loop {
            match decide(&mut self.view, request, at(millis)) {
                Decision::Load { records, due } => {
                    for key in records {
                        let loaded = self.loaded(&key);
                        self.view.load(key, loaded);
                    }
                    assert!(due.is_empty(), "no rule here asks for due records");
                }
                Decision::Accepted { mut replies, replayed, touched, deadline, .. } => {
                    self.gone.note(&self.view, &touched.writes);
                    self.store(&touched.writes);
                    self.view.settle(&touched.writes);
                    let reply = replies.remove(0).to_json();
                    return Answer::Ok { reply, replayed, deadline };
                }
                Decision::Rejected { rejection, touched, .. } => {
                    assert!(touched.writes.is_empty(), "a rejection writes nothing");
                    let code = rejection.code.to_owned();
                    return Answer::No { code, data: rejection.data };
                }
                failed @ (Decision::Failed(_) | Decision::Panicked { .. }) => panic!("{failed:?}"),
            }
        }
    }
}

/// What a store tells of records that are gone: tombstones, and the floors of purges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone {
    tombstones: BTreeMap<RecordKey, Floor>,
    floors: BTreeMap<Kind, Floor>,
}

impl Gone {
    /// Takes note of what is about to be settled.
    pub(crate) fn note(&mut self, view: &View, writes: &[RecordKey]) {
        for key in writes {
            let Some(pending) = view.pending(key) else { continue };
            let end = Floor { version: pending.version, at: pending.at };
            match &pending.value {
                Some(_) => {
                    self.tombstones.remove(key);
                }
                None if pending.purge => {
                    self.tombstones.remove(key);
                    self.floors.entry(key.kind.clone()).or_default().raise(end);
                }
                None => {
                    self.tombstones.insert(key.clone(), end);
                }
            }
        }
    }

    /// A record that is not there.
    pub(crate) fn loaded(&self, key: &RecordKey) -> Loaded {
        let mut end = self.floors.get(&key.kind).copied().unwrap_or_default();
        if let Some(tombstone) = self.tombstones.get(key) {
            end.raise(*tombstone);
        }
        Loaded { version: end.version, at: end.at, value: None }
    }
}

/// How many cases a random test tries: so many, or as `PROPTEST_CASES` says. Few, so that all tests
/// are soon done; a change of what one is about is worth many.
#[expect(clippy::disallowed_methods, reason = "more cases are asked for by hand")]
pub(crate) fn cases(otherwise: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(otherwise)
}

/// How often each code was answered.
pub(crate) fn count<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        let counted: &mut usize = counts.entry(answer.code().to_owned()).or_default();
        *counted = counted.checked_add(1).unwrap();
    }
    counts
}
