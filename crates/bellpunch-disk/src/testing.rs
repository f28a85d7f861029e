//! Files in memory that tear, lose, fail and fill up.
//!
//! Invariant: every change and every sync is recorded in order, so that a test can ask for the
//! folder as it would be after losing power at any point of that order. Why a record and not
//! random failures: every prefix can be tried.

pub mod fuzzing;
mod recovered;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::files::{File, Files};

pub use recovered::{Dump, Recovered};

thread_local! {
    static UNCHECKED: Cell<u32> = const { Cell::new(0) };
}

/// While one lives, its thread takes every checksum of the log for right. With it a test shows that
/// it would notice if one was not compared, and a decoder is fed what checksums keep from it.
#[derive(Debug)]
pub struct Unchecked(PhantomData<*const ()>);

impl Unchecked {
    /// Takes them for right from now on.
    #[must_use]
    pub fn begin() -> Self {
        UNCHECKED.with(|count| count.set(count.get().saturating_add(1)));
        Self(PhantomData)
    }
}

impl Drop for Unchecked {
    fn drop(&mut self) {
        UNCHECKED.with(|count| count.set(count.get().saturating_sub(1)));
    }
}

pub(crate) fn unchecked() -> bool {
    UNCHECKED.with(|count| 0 < count.get())
}

/// One recorded step.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// A file was made.
    Create(String, u64),
    /// A file was removed.
    Remove(String),
    /// Bytes were written to the file of this number.
    Write(u64, u64, Vec<u8>),
    /// The file of this number was cut.
    Cut(u64, u64),
    /// The file of this number was synced.
    Sync(u64),
    /// The folder was synced.
    SyncFolder,
    /// A note of the test.
    Note(u64),
}

/// What happens to the next steps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// After so many more writes and syncs one fails, and all after it.
    FailAfter(u64),
    /// After so many more bytes the disk is full.
    FullAfter(u64),
    /// No room for another file.
    NoNewFiles,
}

/// How much of what was not synced is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Nothing: the process ended, the machine did not.
    Nothing,
    /// All of it.
    Everything,
    /// Of each unsynced write, all after its first bytes, so many.
    Torn(usize),
    /// Every second sector of 512 bytes of unsynced writes.
    Sectors,
    /// Created and removed names, but not what was written.
    Content,
    /// What was written to files whose names were synced, but not created and removed names.
    Names,
}

type Contents = BTreeMap<u64, Vec<u8>>;

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, u64>,
    contents: Contents,
    start: (BTreeMap<String, u64>, Contents),
    next: u64,
    steps: Vec<Step>,
    trouble: Trouble,
    held: u64,
}

/// A folder in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FaultFiles {
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicU64>,
    released: Arc<Condvar>,
    holds: Arc<AtomicU64>,
}

/// One owner's use of the folder; frees its lock when dropped.
#[derive(Debug)]
struct Session {
    files: FaultFiles,
    owns: AtomicU64,
}

impl FaultFiles {
    /// An empty folder, ready to be opened.
    #[expect(clippy::new_ret_no_self, reason = "what a store takes is a session of the folder")]
    #[must_use]
    pub fn new() -> Arc<dyn Files> {
        Self::default().session()
    }

    /// The folder as a store takes it.
    #[must_use]
    pub fn session(&self) -> Arc<dyn Files> {
        Arc::new(Session { files: self.clone(), owns: AtomicU64::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    /// What shall go wrong from now on.
    pub fn trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Has every sync of a batch wait until [`release`](Self::release).
    pub fn hold(&self) {
        self.holds.store(1, Ordering::SeqCst);
    }

    /// Lets syncs go on.
    pub fn release(&self) {
        let state = self.state();
        self.holds.store(0, Ordering::SeqCst);
        drop(state);
        self.released.notify_all();
    }

    /// Waits until a sync waits.
    pub fn wait_held(&self) {
        let mut state = self.state();
        while state.held == 0 {
            state = self.released.wait(state).expect("no code panics while it holds this lock");
        }
    }

    /// Puts a note into the record.
    pub fn note(&self, note: u64) {
        self.done(&mut self.state(), Step::Note(note));
    }

    /// Waits until the segment of this name is made, so that no step of that is still to come.
    pub fn wait_made(&self, name: &str) {
        let mut state = self.state();
        loop {
            let created = |step: &Step| matches!(step, Step::Create(made, _) if made == name);
            let mut after = state.steps.iter().skip_while(|step| !created(step));
            if after.any(|step| *step == Step::SyncFolder) {
                return;
            }
            state = self.released.wait(state).expect("no code panics while it holds this lock");
        }
    }

    fn done(&self, state: &mut State, step: Step) {
        state.steps.push(step);
        self.released.notify_all();
    }

    /// What was done.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.state().steps.clone()
    }

    /// The content of a file, to be looked at or damaged.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let number = state.names.get(name).copied().expect("the test names a file that is there");
        change(state.contents.get_mut(&number).expect("every name has a content"));
    }

    /// The names in the folder.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The folder as it would be after losing power behind the first `steps` steps.
    #[must_use]
    pub fn after(&self, steps: usize, loss: Loss) -> Self {
        let state = self.state();
        let (names, contents) = state.start.clone();
        let mut crash = Crash {
            durable: contents.clone(),
            names_durable: names.clone(),
            contents,
            names,
            unsynced: Vec::new(),
        };
        for step in state.steps.iter().take(steps) {
            crash.step(step);
        }
        let (names, contents) = crash.lose(loss);
        let start = (names.clone(), contents.clone());
        let fresh = State { names, contents, start, next: state.next, ..State::default() };
        Self { state: Arc::new(Mutex::new(fresh)), ..Self::default() }
    }

    fn spend(state: &mut State, bytes: usize) -> io::Result<usize> {
        match &mut state.trouble {
            Trouble::None | Trouble::NoNewFiles => Ok(bytes),
            Trouble::FailAfter(0) => Err(io::Error::other("a fault of the test")),
            Trouble::FailAfter(left) => {
                *left = left.saturating_sub(1);
                Ok(bytes)
            }
            Trouble::FullAfter(left) => {
                let wanted = u64::try_from(bytes).expect("64 bits fit");
                let taken = wanted.min(*left);
                *left = left.saturating_sub(taken);
                Ok(usize::try_from(taken).expect("64 bits fit"))
            }
        }
    }
}

struct Crash {
    durable: Contents,
    contents: Contents,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    unsynced: Vec<Step>,
}

impl Crash {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Create(name, number) => {
                self.names.insert(name.clone(), *number);
                self.contents.insert(*number, Vec::new());
            }
            Step::Remove(name) => {
                self.names.remove(name);
            }
            Step::Write(number, ..) | Step::Cut(number, _) => {
                put(&mut self.contents, step, *number);
                self.unsynced.push(step.clone());
            }
            Step::Sync(number) => {
                let content = self.contents.get(number).cloned().unwrap_or_default();
                self.durable.insert(*number, content);
                self.unsynced.retain(|step| !of(step, *number));
            }
            Step::SyncFolder => self.names_durable.clone_from(&self.names),
            Step::Note(_) => {}
        }
    }

    fn lose(self, loss: Loss) -> (BTreeMap<String, u64>, Contents) {
        let Self { mut durable, contents, names, names_durable, unsynced } = self;
        let names = match loss {
            Loss::Everything | Loss::Names | Loss::Torn(_) | Loss::Sectors => names_durable,
            Loss::Nothing | Loss::Content => names,
        };
        match loss {
            Loss::Nothing | Loss::Names => durable = contents,
            Loss::Everything | Loss::Content => {}
            Loss::Torn(bytes) => {
                for step in unsynced {
                    if let Step::Write(number, offset, written) = step {
                        let kept = written.get(..bytes).unwrap_or(&written).to_vec();
                        put(&mut durable, &Step::Write(number, offset, kept), number);
                    }
                }
            }
            Loss::Sectors => {
                for step in unsynced {
                    if let Step::Write(number, offset, written) = step {
                        keep_odd_sectors(&mut durable, (number, offset), &written);
                    }
                }
            }
        }
        for number in names.values() {
            durable.entry(*number).or_default();
        }
        (names, durable)
    }
}

/// Writes every second sector; the others stay what they were, or are zeros behind the end.
fn keep_odd_sectors(durable: &mut Contents, (number, offset): (u64, u64), written: &[u8]) {
    let mut at = offset;
    for (index, sector) in written.chunks(512).enumerate() {
        if !index.is_multiple_of(2) {
            put(durable, &Step::Write(number, at, sector.to_vec()), number);
        }
        at = at.saturating_add(512);
    }
}

fn of(step: &Step, file: u64) -> bool {
    matches!(step, Step::Write(number, ..) | Step::Cut(number, _) if *number == file)
}

fn put(contents: &mut Contents, step: &Step, number: u64) {
    let content = contents.entry(number).or_default();
    match step {
        Step::Write(_, offset, bytes) => {
            let start = usize::try_from(*offset).expect("64 bits fit");
            let end = start.saturating_add(bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content.get_mut(start..end).expect("it was made as long").copy_from_slice(bytes);
        }
        Step::Cut(_, bytes) => content.truncate(usize::try_from(*bytes).expect("64 bits fit")),
        Step::Create(..) | Step::Remove(_) | Step::Sync(_) | Step::SyncFolder | Step::Note(_) => {}
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.owns.load(Ordering::SeqCst) == 1 {
            self.files.locked.store(0, Ordering::SeqCst);
        }
    }
}

impl Files for Session {
    fn lock(&self) -> io::Result<()> {
        if self.files.locked.swap(1, Ordering::SeqCst) == 1 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.owns.store(1, Ordering::SeqCst);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.names())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.files.state();
        if state.trouble == Trouble::NoNewFiles || FaultFiles::spend(&mut state, 1)? == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.next;
        state.next = state.next.saturating_add(1);
        state.names.insert(name.to_owned(), number);
        state.contents.insert(number, Vec::new());
        self.files.done(&mut state, Step::Create(name.to_owned(), number));
        Ok(Arc::new(FaultFile { files: self.files.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let number = self.files.state().names.get(name).copied();
        let number = number.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(FaultFile { files: self.files.clone(), number }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.files.state();
        state.names.remove(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.files.done(&mut state, Step::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.files.state();
        FaultFiles::spend(&mut state, 0)?;
        self.files.done(&mut state, Step::SyncFolder);
        Ok(())
    }
}

#[derive(Debug)]
struct FaultFile {
    files: FaultFiles,
    number: u64,
}

impl File for FaultFile {
    fn bytes(&self) -> io::Result<u64> {
        let state = self.files.state();
        let length = state.contents.get(&self.number).map_or(0, Vec::len);
        Ok(u64::try_from(length).expect("64 bits fit"))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.files.state();
        let content = state.contents.get(&self.number).map(Vec::as_slice).unwrap_or_default();
        let start = usize::try_from(offset).expect("64 bits fit");
        let found = content.get(start..start.saturating_add(buffer.len()));
        buffer.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.files.state();
        let room = FaultFiles::spend(&mut state, bytes.len())?;
        let written = bytes.get(..room).unwrap_or(bytes).to_vec();
        let step = Step::Write(self.number, offset, written);
        put(&mut state.contents, &step, self.number);
        self.files.done(&mut state, step);
        if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.files.state();
        let step = Step::Cut(self.number, bytes);
        put(&mut state.contents, &step, self.number);
        self.files.done(&mut state, step);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.files.state();
        // The thread that makes segments ahead goes on: only commits are held.
        let commits = std::thread::current().name() == Some("bellpunch-commit");
        while commits && self.files.holds.load(Ordering::SeqCst) == 1 {
            state.held = 1;
            self.files.released.notify_all();
            let woken = self.files.released.wait(state);
            state = woken.expect("no code panics while it holds this lock");
        }
        state.held = 0;
        FaultFiles::spend(&mut state, 0)?;
        self.files.done(&mut state, Step::Sync(self.number));
        Ok(())
    }
}
