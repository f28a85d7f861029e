//! Damages, and what came of them.

use std::collections::BTreeMap;

use bellpunch_disk::testing::{Dump, FaultFiles, Recovered};
use bellpunch_disk::{OpenError, OpenErrorKind};
use bellpunch_store::FailureKind;

use crate::image::{Image, Left};

/// Threads of a sweep.
const THREADS: usize = 2;

/// A place in the image: a file by its position, and a byte of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) at: usize,
}

/// What two blocks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    pub(crate) one: Place,
    pub(crate) two: Place,
    pub(crate) bytes: usize,
}

/// One damage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Flip(Place, u8),
    Cut(Place),
    Swap(Blocks),
    /// The second one was meant for elsewhere, and is as the first.
    Copy(Blocks),
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<String, usize>,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

/// A copy of the image to damage.
pub(crate) struct Folder {
    files: FaultFiles,
    /// Recovered before the damage, for those in use.
    open: Option<Recovered>,
}

impl Folder {
    fn of(image: &Image) -> Self {
        Self { files: image.files(), open: None }
    }

    /// Puts the image back.
    fn reset(&mut self, image: &Image) {
        *self = Self::of(image);
    }

    fn do_damage(&self, image: &Image, damage: &Damage) {
        let name = |place: Place| image.names()[place.file].clone();
        let block = |place: Place, bytes: usize| {
            let mut block = Vec::new();
            self.files.change(&name(place), |all| {
                block = all[place.at..place.at + bytes].to_vec();
            });
            block
        };
        let put = |place: Place, block: &[u8]| {
            self.files.change(&name(place), |all| {
                all[place.at..place.at + block.len()].copy_from_slice(block);
            });
        };
        match *damage {
            Damage::Flip(place, bit) => {
                self.files.change(&name(place), |all| all[place.at] ^= 1 << bit);
            }
            Damage::Cut(place) => self.files.change(&name(place), |all| all.truncate(place.at)),
            Damage::Swap(Blocks { one, two, bytes }) => {
                let (first, second) = (block(one, bytes), block(two, bytes));
                put(one, &second);
                put(two, &first);
            }
            Damage::Copy(Blocks { one, two, bytes }) => put(two, &block(one, bytes)),
        }
    }
}

impl Damage {
    /// Whether it reaches the last batch, or what lies behind it.
    fn reaches_last(&self, image: &Image) -> bool {
        let behind = |place: Place, bytes: usize| {
            let last = image.last();
            (last.file, last.at) < (place.file, place.at + bytes)
        };
        match *self {
            Self::Flip(place, _) => behind(place, 1),
            Self::Cut(place) => place.file == image.last().file,
            Self::Swap(Blocks { one, two, bytes }) => behind(one, bytes) || behind(two, bytes),
            Self::Copy(Blocks { two, bytes, .. }) => behind(two, bytes),
        }
    }
}

/// A refusal without its place and numbers.
fn sort_of(error: &OpenError) -> String {
    let text = error.to_string();
    let text = text.split_once(": ").map_or(text.as_str(), |(_, what)| what);
    let what = text.split(';').next().unwrap_or_default();
    format!("refused: {}", what.replace(|letter: char| letter.is_ascii_digit(), "#"))
}

/// Opens a damaged folder. `Err`: what must not come of it.
pub(crate) fn at_rest(
    image: &Image,
    folder: &mut Folder,
    damage: &Damage,
) -> Result<String, String> {
    folder.do_damage(image, damage);
    let files = folder.files.session();
    match Recovered::open(&*files, &crate::clock()) {
        Err(error) => {
            assert!(folder.files.steps().is_empty(), "{damage:?}: refused, and yet changed");
            if let Damage::Flip(..) = damage {
                folder.do_damage(image, damage);
            } else {
                folder.reset(image);
            }
            if [OpenErrorKind::Damaged, OpenErrorKind::Newer].contains(&error.kind()) {
                Ok(sort_of(&error))
            } else {
                Err(format!("{damage:?}: {:?}: {error}", error.kind()))
            }
        }
        Ok(recovered) => {
            folder.reset(image);
            match recovered.dump() {
                Err(failure) if failure.kind() == FailureKind::Corrupt => {
                    Ok("opened, the read says corrupt".to_owned())
                }
                Err(failure) => Err(format!("{damage:?}: {failure}")),
                Ok(state) => judge(image, damage, &state),
            }
        }
    }
}

fn judge(image: &Image, damage: &Damage, state: &Dump) -> Result<String, String> {
    if *state == image.state {
        return Ok("equal".to_owned());
    }
    let torn = image.left == Left::Killed && damage.reaches_last(image);
    match damage {
        Damage::Flip(..) if torn && *state == image.before_last => {
            Ok("torn tail: the state before the last batch".to_owned())
        }
        Damage::Cut(_) | Damage::Swap(_) | Damage::Copy(_) if torn && image.reached(state) => {
            Ok("torn tail: a state that was reached".to_owned())
        }
        Damage::Flip(..) | Damage::Cut(_) | Damage::Swap(_) | Damage::Copy(_) => {
            Err(format!("{damage:?}: unnoticed"))
        }
    }
}

/// Reads everything of a store that was open before the damage.
pub(crate) fn in_use(
    image: &Image,
    folder: &mut Folder,
    damage: &Damage,
) -> Result<String, String> {
    let open = folder.open.take();
    let open =
        open.unwrap_or_else(|| Recovered::open(&*folder.files.session(), &crate::clock()).unwrap());
    if let Damage::Flip(place, _) = damage
        && !folder.files.names().contains(&image.names()[place.file])
    {
        folder.open = Some(open);
        return Ok("equal: the segment made ahead is removed at the start".to_owned());
    }
    folder.do_damage(image, damage);
    let read = open.dump();
    folder.do_damage(image, damage);
    folder.open = Some(open);
    match read {
        Err(failure) if failure.kind() == FailureKind::Corrupt => {
            Ok("the read says corrupt".to_owned())
        }
        Err(failure) => Err(format!("{damage:?}: {failure}")),
        Ok(state) if state == image.state => Ok("equal: no record is read from there".to_owned()),
        Ok(_) => Err(format!("{damage:?}: unnoticed")),
    }
}

/// Tries damages on all threads.
pub(crate) fn sweep(
    image: &Image,
    damages: &[Damage],
    outcome: impl Fn(&Image, &mut Folder, &Damage) -> Result<String, String> + Sync,
) -> Tally {
    let work = |first: usize| {
        let mut folder = Folder::of(image);
        let mut tally = Tally::default();
        for damage in damages.iter().skip(first).step_by(THREADS) {
            match outcome(image, &mut folder, damage) {
                Ok(what) => *tally.counts.entry(what).or_default() += 1,
                Err(what) => tally.wrong.push(what),
            }
        }
        tally
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || work(first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut whole = Tally::default();
    for tally in tallies {
        for (what, count) in tally.counts {
            *whole.counts.entry(what).or_default() += count;
        }
        whole.wrong.extend(tally.wrong);
    }
    if !whole.wrong.is_empty() {
        whole.counts.insert("WRONG".to_owned(), whole.wrong.len());
    }
    whole
}
