//! The rules alone: decisions on records in memory, without an engine or a store.
//!
//! Invariant: what is not settled is not seen. Commands sent at once are decided on one view and
//! settled together, as a batch is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::value::START;
use super::world::{Answer, Sending, Unsupported, World};
use crate::audit::Stored;
use crate::{
    Decision, Due, Duration, Fingerprint, Floor, Journaling, Loaded, RecordId, RecordKey, Request,
    Timestamp, Touched, View, decide, draft::DUE_MAX, sweep,
};

const KEEP: Duration = Duration::from_days(7);

#[derive(Clone, Debug)]
struct Kept {
    loaded: Loaded,
    sweep_at: Option<Timestamp>,
}

/// A partition in memory, and the rules: no engine, no store.
#[derive(Debug)]
pub struct DirectWorld {
    records: BTreeMap<RecordKey, Kept>,
    floors: BTreeMap<crate::Kind, Floor>,
    view: View,
    now: Timestamp,
    drawn: u128,
    sweeps: Sweeps,
}

/// Whether records whose time has come are removed before every command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sweeps {
    Never,
    Always,
}

impl Default for DirectWorld {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            floors: BTreeMap::new(),
            view: View::default(),
            now: START,
            drawn: 0,
            sweeps: Sweeps::Never,
        }
    }
}

impl DirectWorld {
    /// An empty partition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty partition that is swept before every command. No answer may depend on that.
    #[must_use]
    pub fn swept() -> Self {
        Self { sweeps: Sweeps::Always, ..Self::default() }
    }

    fn sweep(&mut self) {
        if self.sweeps == Sweeps::Never {
            return;
        }
        let mut due: BTreeMap<String, Vec<RecordId>> = BTreeMap::new();
        for (key, kept) in &self.records {
            if kept.loaded.value.is_some() && kept.sweep_at.is_some_and(|at| at <= self.now) {
                due.entry(key.kind.name().to_owned()).or_default().push(key.id.clone());
            }
        }
        for command in due.into_iter().filter_map(|(kind, ids)| sweep(&kind, ids)) {
            let (rest, key, dry_run) = (Vec::new(), None, false);
            let (lost, stall_until) = (false, None);
            let sending = Sending { command, rest, key, dry_run, lost, stall_until };
            let (_, touched) = self.decide(&sending);
            self.settle(&[touched]);
        }
    }

    fn request(&mut self, sending: &Sending) -> Request {
        let mut commands = vec![sending.command.clone()];
        commands.extend(sending.rest.iter().cloned());
        let mut draw = || {
            self.drawn = self.drawn.saturating_add(1);
            self.drawn.wrapping_shl(64)
        };
        let entropy = commands.iter().map(|_| draw()).collect();
        Request {
            commands,
            entropy,
            key: sending.key.clone().map(|key| {
                let name = sending.command.name().as_bytes();
                let content = sending.command.content();
                (key, fingerprint(&[name, &content].concat()))
            }),
            keep: KEEP,
            dry_run: sending.dry_run,
            journaling: Journaling::Begun,
        }
    }

    /// Decides one command on the view, pending what it accepts.
    fn decide(&mut self, sending: &Sending) -> (Answer, Touched) {
        let request = self.request(sending);
        loop {
            match decide(&mut self.view, &request, self.now) {
                Decision::Load { records, due } => self.load(records, due),
                Decision::Accepted { mut replies, at, replayed, versions, touched, .. } => {
                    let json = replies.pop().map_or(Value::Null, |reply| reply.to_json());
                    let answer = Answer {
                        json,
                        at: Some(at),
                        versions,
                        replayed,
                        dry_run: sending.dry_run,
                        ..Answer::code("ok")
                    };
                    return (answer, touched);
                }
                Decision::Rejected { rejection, at, touched, .. } => {
                    let json = Value::Object(rejection.data);
                    let answer = Answer { json, at: Some(at), ..Answer::code(rejection.code) };
                    return (answer, touched);
                }
                failed @ (Decision::Failed(_) | Decision::Panicked { .. }) => {
                    let json = Value::String(format!("{failed:?}"));
                    return (Answer { json, ..Answer::code("internal") }, Touched::default());
                }
            }
        }
    }

    fn load(&mut self, records: Vec<RecordKey>, due: Vec<Due>) {
        for key in records {
            let floor = self.floors.get(&key.kind).copied().unwrap_or_default();
            let kept = self.records.get(&key).map(|kept| kept.loaded.clone());
            let mut loaded = kept.unwrap_or_default();
            if loaded.value.is_none() {
                let Floor { version, at } =
                    floor.above(Floor { version: loaded.version, at: loaded.at });
                loaded = Loaded { version, at, value: None };
            }
            self.view.load(key, loaded);
        }
        for due in due {
            let ids = self.due(&due);
            self.view.answer(due, ids);
        }
    }

    fn due(&self, due: &Due) -> Vec<RecordId> {
        let wanted = |(key, kept): &(&RecordKey, &Kept)| {
            key.kind == due.kind
                && key.id.as_str().starts_with(&due.prefix)
                && kept.loaded.value.is_some()
                && due.by.is_none_or(|by| kept.sweep_at.is_some_and(|at| at <= by))
        };
        let all = self.records.iter().filter(wanted).map(|(key, _)| key.id.clone());
        all.take(DUE_MAX).collect()
    }

    /// Stores what is pending of these records.
    fn settle(&mut self, touched: &[Touched]) {
        for key in touched.iter().flat_map(|touched| &touched.writes) {
            let Some(pending) = self.view.pending(key) else { continue };
            if pending.purge {
                self.records.remove(key);
                let purge = Floor { version: pending.version, at: pending.at };
                self.floors.entry(key.kind.clone()).or_default().raise(purge);
                continue;
            }
            let value = pending.value.as_ref().map(|value| value.encode().into());
            let loaded = Loaded { version: pending.version, at: pending.at, value };
            let kept = Kept { loaded, sweep_at: pending.sweep_at };
            self.records.insert(key.clone(), kept);
        }
        self.view.settle(touched.iter().flat_map(|touched| &touched.writes));
    }
}

fn fault(sending: &Sending) -> Result<(), Unsupported> {
    match sending {
        Sending { lost: true, .. } => Err(Unsupported("replies that are lost")),
        Sending { stall_until: Some(_), .. } => Err(Unsupported("store that stalls")),
        Sending { lost: false, stall_until: None, .. } => Ok(()),
    }
}

impl World for DirectWorld {
    fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
    }

    fn send(&mut self, sending: &Sending) -> Result<Answer, Unsupported> {
        fault(sending)?;
        self.sweep();
        let (answer, touched) = self.decide(sending);
        self.settle(&[touched]);
        Ok(answer)
    }

    fn send_at_once(&mut self, sendings: &[Sending]) -> Result<Vec<Answer>, Unsupported> {
        sendings.iter().try_for_each(fault)?;
        self.sweep();
        let decided = sendings.iter().map(|sending| self.decide(sending));
        let (answers, touched): (Vec<Answer>, Vec<Touched>) = decided.unzip();
        self.settle(&touched);
        Ok(answers)
    }

    fn restart(&mut self) -> Result<(), Unsupported> {
        self.view = View::default();
        Ok(())
    }

    fn is_swept(&self) -> bool {
        self.sweeps == Sweeps::Always
    }

    fn store_down(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported("store to cut off"))
    }

    fn store_up(&mut self) -> Result<(), Unsupported> {
        Err(Unsupported("store to cut off"))
    }

    fn probe(&mut self, sending: &Sending, then: Timestamp) -> Option<Answer> {
        let mut other = Self {
            records: self.records.clone(),
            floors: self.floors.clone(),
            now: then,
            ..Self::default()
        };
        Some(other.decide(&Sending { dry_run: true, key: None, ..sending.clone() }).0)
    }

    fn records(&mut self) -> Vec<Stored> {
        let stored = |(key, kept): (&RecordKey, &Kept)| {
            Stored::decode(key.clone(), kept.loaded.version, kept.loaded.value.as_deref()?)
        };
        self.records.iter().filter_map(stored).collect()
    }
}

/// Not a digest that withstands an adversary: two contents of one script differ in it, which is
/// all that is asked of it here. (FNV-1a, four times from different bases.)
fn fingerprint(content: &[u8]) -> Fingerprint {
    const BASES: [u64; 4] = [
        0xcbf2_9ce4_8422_2325,
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
    ];
    let mut hash = [0_u8; 32];
    for (base, slot) in BASES.iter().zip(hash.chunks_exact_mut(8)) {
        let mixed = content
            .iter()
            .fold(*base, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        slot.copy_from_slice(&mixed.to_le_bytes());
    }
    Fingerprint::new(hash)
}
