//! What a `decide` reads and writes through: an overlay on the partition's records.
//!
//! Invariant: nothing leaves a draft but by being accepted. A record that is not loaded yet reads
//! as absent and is noted; the answer is then thrown away and the same `decide` runs again, so a
//! rule never has to know what is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::record::Sealed;
use crate::view::{Place, SeenError, open};
use crate::{
    AnyRecord, DecodeError, Due, Key, PendingWrite, Record, RecordId, RecordKey, Timestamp,
    Version, View,
};

/// How many due records a question names at once.
pub const DUE_MAX: usize = 64;

#[derive(Debug)]
enum Change {
    Put(Arc<dyn AnyRecord>),
    Delete,
    Purge,
}

impl Change {
    fn value(&self) -> Option<Arc<dyn AnyRecord>> {
        match self {
            Self::Put(value) => Some(Arc::clone(value)),
            Self::Delete | Self::Purge => None,
        }
    }
}

#[derive(Debug)]
struct Written {
    change: Change,
    base: Version,
    rises: u64,
    /// Written by the command that is being decided, so its rise is counted.
    fresh: bool,
}

impl Written {
    fn version(&self) -> Version {
        self.base.plus(self.rises)
    }

    fn seen<R: Record>(&self) -> (Version, Option<Arc<R>>) {
        let value = self.change.value();
        let value = value.map(|value| open(&value).expect("what was just written can be read"));
        (self.version(), value)
    }

    fn rise(&mut self, change: Change) -> Version {
        if !self.fresh {
            self.fresh = true;
            self.rises = self.rises.saturating_add(1);
        }
        self.change = change;
        self.version()
    }
}

/// A record of the view that the decision rests on, or writes.
#[derive(Debug)]
struct Touch {
    place: Place,
    /// The version it was read at.
    read: Option<Version>,
    written: Option<Written>,
}

impl Touch {
    const fn is_written(&self) -> IsWritten {
        if self.written.is_some() { IsWritten::Yes } else { IsWritten::No }
    }
}

/// The records of a partition as one command sees them, and what it writes.
#[derive(Debug)]
pub struct Draft<'v> {
    view: &'v mut View,
    /// Its name in the view, which knows where in `touched` each record is.
    number: u64,
    entropy: u128,
    drawn: u64,
    /// The command that is being decided has asked for its place in the journal.
    placed: bool,
    events: Vec<serde_json::Value>,
    touched: Vec<Touch>,
    /// Where in `touched` those are that the command that is being decided wrote.
    fresh: Vec<usize>,
    /// What was written of records that are missing.
    unread: BTreeMap<RecordKey, Written>,
    missing: BTreeSet<RecordKey>,
    questions: BTreeSet<Due>,
    now: Timestamp,
    latest: Timestamp,
    deadline: Option<Timestamp>,
    broken: Option<(RecordKey, DecodeError)>,
}

impl<'v> Draft<'v> {
    /// A draft of what is known, however new it is.
    pub(crate) fn new(view: &'v mut View) -> Self {
        Self::at(view, Timestamp::MAX)
    }

    /// A draft for a decision at `now`. A record that is newer reads as absent, like one that is
    /// not loaded: the answer is thrown away, so no rule sees what is in its future.
    pub(crate) fn at(view: &'v mut View, now: Timestamp) -> Self {
        let number = view.begin_draft();
        Self {
            view,
            number,
            entropy: 0,
            drawn: 0,
            placed: false,
            events: Vec::new(),
            touched: Vec::new(),
            fresh: Vec::new(),
            unread: BTreeMap::new(),
            missing: BTreeSet::new(),
            questions: BTreeSet::new(),
            now,
            latest: Timestamp::EPOCH,
            deadline: None,
            broken: None,
        }
    }

    /// Begins the next command of a list.
    pub(crate) fn begin(&mut self, entropy: u128) {
        self.entropy = entropy;
        self.drawn = 0;
        self.placed = false;
        self.events.clear();
        for at in self.fresh.drain(..) {
            let touch = self.touched.get_mut(at).and_then(|touch| touch.written.as_mut());
            touch.expect("what is fresh was written").fresh = false;
        }
        for written in self.unread.values_mut() {
            written.fresh = false;
        }
    }

    /// The record with this id, as all commands before this one left it. `None` if there is none.
    pub fn get<R: Record>(&mut self, id: &RecordId) -> Option<Arc<R>> {
        self.look::<R>(id)?.1
    }

    /// The version of a record: 0 if it never was, and kept over a delete.
    pub fn version<R: Record>(&mut self, id: &RecordId) -> Version {
        self.look::<R>(id).map_or(Version::ABSENT, |(version, _)| version)
    }

    fn look<R: Record>(&mut self, id: &RecordId) -> Option<(Version, Option<Arc<R>>)> {
        if let Some(place) = self.view.find(&R::KIND, id) {
            return self.look_at(id, place);
        }
        let key = R::key(id);
        let written = self.unread.get(&key).map(Written::seen::<R>);
        if written.is_none() {
            self.missing.insert(key);
        }
        written
    }

    fn look_at<R: Record>(
        &mut self,
        id: &RecordId,
        place: Place,
    ) -> Option<(Version, Option<Arc<R>>)> {
        if let Some(at) = self.view.touched(place, self.number)
            && let Some(written) = self.touched.get(at).and_then(|touch| touch.written.as_ref())
        {
            return Some(written.seen::<R>());
        }
        match self.view.read::<R>(place) {
            Ok(seen) => {
                self.latest = self.latest.max(seen.at);
                if self.now < seen.at && !crate::planted!("clock_unclamped") {
                    return None;
                }
                self.touch(place).read.get_or_insert(seen.version);
                Some((seen.version, seen.value))
            }
            Err(SeenError::NotLoaded) => {
                self.missing.insert(R::key(id));
                None
            }
            Err(SeenError::Undecodable(cause)) => {
                self.broken = Some((R::key(id), cause));
                None
            }
        }
    }

    fn touch(&mut self, place: Place) -> &mut Touch {
        let next = self.touched.len();
        let at = self.view.touch(place, (self.number, next));
        if at == next {
            self.touched.push(Touch { place, read: None, written: None });
        }
        self.touched.get_mut(at).expect("the view knows where it is")
    }

    /// Writes a record. Its version rises by one, however often the command writes it; that
    /// version is returned.
    pub fn put<R: Record>(&mut self, id: &RecordId, record: R) -> Version {
        self.set::<R>(id, Change::Put(Arc::new(record)))
    }

    /// Writes a record that has never been, as another record says that was read: it is not looked
    /// for. Should it be there all the same, the commit does not land.
    pub(crate) fn put_first<R: Record>(&mut self, id: &RecordId, record: R) -> Version {
        self.set_first::<R>(id, Change::Put(Arc::new(record)))
    }

    /// The same of a record that was encoded already.
    pub(crate) fn put_first_sealed<R: Record>(&mut self, id: &RecordId, record: Sealed) -> Version {
        self.set_first::<R>(id, Change::Put(Arc::new(record)))
    }

    fn set_first<R: Record>(&mut self, id: &RecordId, change: Change) -> Version {
        let key = R::key(id);
        if self.is_thrown_away() && self.view.find(&R::KIND, id).is_none() {
            // What says that it never was has not been seen itself, so nothing is assumed: the view
            // outlives this draft, and who reads the record next must not be told that it is absent.
            let written =
                Written { change: Change::Delete, base: Version::ABSENT, rises: 0, fresh: false };
            return self.unread.entry(key).or_insert(written).rise(change);
        }
        self.view.assume_absent(&key);
        self.set::<R>(id, change)
    }

    /// Whether the answer of this draft counts for nothing: something is not loaded, or newer than
    /// the decision, and read as absent.
    pub(crate) fn is_thrown_away(&self) -> bool {
        let is_early = self.now < self.latest && !crate::planted!("clock_unclamped");
        is_early || !self.missing.is_empty() || !self.questions.is_empty() || self.broken.is_some()
    }

    /// Writes a record of type `R` that was encoded already.
    pub(crate) fn put_sealed<R: Record>(&mut self, id: &RecordId, record: Sealed) -> Version {
        self.set::<R>(id, Change::Put(Arc::new(record)))
    }

    /// Deletes a record. Its version goes on: a tombstone stays.
    pub fn delete<R: Record>(&mut self, id: &RecordId) -> Version {
        self.set::<R>(id, Change::Delete)
    }

    /// Deletes a record without a trace but one: no record of its kind is ever again made at a
    /// version as low. For records that come and go by the million.
    pub fn purge<R: Record>(&mut self, id: &RecordId) -> Version {
        self.set::<R>(id, Change::Purge)
    }

    fn set<R: Record>(&mut self, id: &RecordId, change: Change) -> Version {
        let new = |base| Written { change: Change::Delete, base, rises: 0, fresh: false };
        let Some(place) = self.view.find(&R::KIND, id) else {
            let base = self.look::<R>(id).map_or(Version::ABSENT, |(version, _)| version);
            return self.unread.entry(R::key(id)).or_insert_with(|| new(base)).rise(change);
        };
        let base = self.look_at::<R>(id, place).map_or(Version::ABSENT, |(version, _)| version);
        let written = self.touch(place).written.get_or_insert_with(|| new(base));
        let first = !written.fresh;
        let version = written.rise(change);
        if first {
            let at = self.view.touched(place, self.number);
            self.fresh.push(at.expect("it was just touched"));
        }
        version
    }

    /// States that the decision holds only until `deadline`: the store compares its own clock with
    /// it after it has gained exclusivity. The earliest one stated counts.
    pub fn commit_before(&mut self, deadline: Timestamp) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// Ids of records of a kind whose [`Record::sweep_at`] has come, of those whose id begins with
    /// `prefix`: at most [`DUE_MAX`] as of the start of the batch, and what the batch has written
    /// since. Candidates: read each one and look again. If all that were named are used up by earlier commands of the batch, or none
    /// was named yet, the executor asks the store and decides again.
    pub fn due<R: Record>(&mut self, prefix: &str) -> Vec<RecordId> {
        let due = Due { kind: R::KIND, prefix: prefix.to_owned(), by: Some(self.now) };
        let Some(ids) = self.view.due(&due) else {
            self.questions.insert(due);
            return Vec::new();
        };
        let ids = ids.to_vec();
        let open = |id: &RecordId| !self.view.is_pending(&R::key(id));
        if ids.len() == DUE_MAX && !ids.iter().any(open) {
            // All that were named are used up, and there may be more: only a fresh batch can tell.
            self.questions.insert(due);
            return Vec::new();
        }
        self.and_written(&due, ids)
    }

    /// Ids of records of a kind, due or not, of those whose id begins with `prefix`: at most
    /// [`DUE_MAX`] as of the start of the batch, and what the batch has written since. Candidates:
    /// read each one and look again.
    pub fn any<R: Record>(&mut self, prefix: &str) -> Vec<RecordId> {
        let any = Due { kind: R::KIND, prefix: prefix.to_owned(), by: None };
        let Some(known) = self.view.due(&any).map(<[RecordId]>::to_vec) else {
            self.questions.insert(any);
            return Vec::new();
        };
        self.and_written(&any, known)
    }

    /// Adds what the store could not name: the batch has written it since it was asked.
    fn and_written(&self, due: &Due, mut ids: Vec<RecordId>) -> Vec<RecordId> {
        let earlier = self.view.written_of(&due.kind).map(|(key, write)| (key, write.sweep_at));
        let touched = self
            .touched
            .iter()
            .filter_map(|touch| Some((self.view.key(touch.place), touch.written.as_ref()?)));
        let own = touched.chain(&self.unread).filter(|(key, _)| key.kind == due.kind);
        let own = own.map(|(key, write)| (key, write.change.value().and_then(|value| value.due())));
        let written: BTreeSet<&RecordId> = earlier
            .chain(own)
            .filter(|(_, at)| due.by.is_none_or(|by| at.is_some_and(|at| at <= by)))
            .map(|(key, _)| &key.id)
            .filter(|id| id.as_str().starts_with(&due.prefix) && !ids.contains(id))
            .collect();
        let written: Vec<RecordId> = written.into_iter().cloned().collect();
        ids.extend(written);
        ids
    }

    /// An id of 128 random bits as 32 hex digits, made by the driver and not by this rule. The
    /// second and later ones of one command are the next numbers: unique, not secret.
    pub fn drawn_key(&mut self) -> Key {
        let bits = self.entropy.wrapping_add(self.drawn.into());
        self.drawn = self.drawn.saturating_add(1);
        Key::new(format!("{bits:032x}")).expect("hex digits are a legal name")
    }

    /// The place in the journal of the command that is being decided, in a partition that keeps
    /// one. Who asks has read the journal's tail: all who ask have one order, in which time never
    /// goes back. If it is accepted and writes, it is entered at that place, and if it is the first.
    pub fn seq(&mut self) -> u64 {
        self.placed = true;
        let tail = self.get::<crate::Tail>(&crate::tail_id());
        tail.map_or(0, |tail| tail.seq).saturating_add(1)
    }

    /// Whether the command that is being decided has asked for its place.
    pub(crate) const fn is_placed(&self) -> bool {
        self.placed
    }

    /// Says what others may want to hear of: it stands in the command's entry in the journal, so
    /// the same commit writes it. A JSON object whose field `event` names it.
    pub fn emit(&mut self, event: serde_json::Value) {
        self.events.push(event);
    }

    pub(crate) fn take_events(&mut self) -> Vec<serde_json::Value> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn missing(&mut self) -> (Vec<RecordKey>, Vec<Due>) {
        (
            std::mem::take(&mut self.missing).into_iter().collect(),
            std::mem::take(&mut self.questions).into_iter().collect(),
        )
    }

    /// Sets the command aside if a record that it is about is on its way to the store; or if that
    /// would overtake another that was set aside. It is going to write one more, besides what it wrote.
    pub(crate) fn set_aside(&mut self, more: Option<&RecordKey>) -> bool {
        let more = more.and_then(|key| self.view.find(&key.kind, &key.id));
        let is_written = |touch: &Touch| {
            if more == Some(touch.place) { IsWritten::Yes } else { touch.is_written() }
        };
        let is_busy =
            self.touched.iter().any(|touch| self.view.is_busy(touch.place, is_written(touch)));
        if is_busy {
            for touch in &self.touched {
                self.view.set_aside(touch.place, is_written(touch));
            }
        }
        is_busy
    }

    pub(crate) const fn latest(&self) -> Timestamp {
        self.latest
    }

    pub(crate) const fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    pub(crate) fn broken(&self) -> Option<(RecordKey, DecodeError)> {
        self.broken.clone()
    }

    /// The versions that the decision was made on, and whether it wrote the record.
    pub(crate) fn read_versions(&self) -> impl Iterator<Item = (&RecordKey, Version, IsWritten)> {
        self.touched
            .iter()
            .filter_map(|touch| Some((self.view.key(touch.place), touch.read?, touch.is_written())))
    }

    /// The versions after it, of what it wrote.
    pub(crate) fn written_versions(&self) -> impl Iterator<Item = (&RecordKey, Version)> {
        let touched = self.touched.iter();
        let seen = touched.filter_map(|touch| Some((touch.place, touch.written.as_ref()?)));
        seen.map(|(place, written)| (self.view.key(place), written.version()))
    }

    /// The versions after the command that is being decided, of what it wrote.
    pub(crate) fn freshly_written(&self) -> impl Iterator<Item = (&RecordKey, Version)> {
        let touched = self.fresh.iter().filter_map(|at| self.touched.get(*at));
        let seen = touched.filter_map(|touch| Some((touch.place, touch.written.as_ref()?)));
        let seen = seen.map(|(place, written)| (self.view.key(place), written.version()));
        let unread = self.unread.iter().filter(|(_, written)| written.fresh);
        seen.chain(unread.map(|(key, written)| (key, written.version())))
    }

    /// Lays the accepted writes onto the batch; gives the records written and all that were read.
    pub(crate) fn accept(self, at: Timestamp) -> (Vec<RecordKey>, Vec<RecordKey>) {
        let mut written = Vec::new();
        let mut read = Vec::with_capacity(self.touched.len());
        for touch in self.touched {
            let key = self.view.key(touch.place).clone();
            if let Some(write) = touch.written {
                let value = write.change.value();
                let pending = PendingWrite {
                    expected: write.base,
                    version: write.version(),
                    at,
                    sweep_at: value.as_ref().and_then(|value| value.due()),
                    value,
                    purge: matches!(write.change, Change::Purge),
                };
                self.view.write(touch.place, pending);
                written.push(key.clone());
            }
            if touch.read.is_some() {
                read.push(key);
            }
        }
        (written, read)
    }
}

/// Whether a decision wrote a record that it read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IsWritten {
    Yes,
    No,
}
