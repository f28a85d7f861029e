//! Damage of a whole image of a store: every bit flipped, every length cut, blocks swapped.
//!
//! The image is 65,536 bytes of folder in `testdata/sweep`: partitions, records, tombstones,
//! floors, copies of a compaction, several segments, the mark of an orderly close. What may come
//! of a damage: it is detected, or the state is equal, or, only without that mark, the torn tail:
//! damage within the last batch looks like a batch that was being written.
//!
//! `cargo test` tries a part and says how much. All of it, on two threads:
//!
//! `BELLPUNCH_SWEEP=all cargo test --profile sim -p bellpunch-disk --test sweep -- --nocapture`
#![expect(clippy::unwrap_used, reason = "tests stop at the unexpected")]
#![expect(clippy::indexing_slicing, reason = "tests stop at the unexpected")]
#![expect(clippy::arithmetic_side_effects, reason = "overflow is checked, and ends the test")]

mod damage;
mod image;

use std::io::Write as _;
use std::time::Duration;

use bellpunch_disk::testing::Unchecked;
use bellpunch_store::kit::KitClock;

use damage::{Damage, Tally, at_rest, in_use, sweep};
use image::{Image, Left};

/// How many damages of each sort a run without `BELLPUNCH_SWEEP` tries.
const PART: usize = 1_000;
/// What the whole of one sweep of bits may take.
const FULL: Duration = Duration::from_secs(60);

/// How many steps are left out between two damages, and which one is the first.
#[derive(Clone, Copy)]
struct Share {
    step: usize,
    first: usize,
}

#[expect(clippy::disallowed_methods, reason = "how much is tried is the caller's choice")]
fn share(all: usize) -> Share {
    if std::env::var("BELLPUNCH_SWEEP").is_ok_and(|how| how == "all") {
        return Share { step: 1, first: 0 };
    }
    // Odd, so that each bit of a byte has its turn; another part each run.
    let step = all.div_ceil(PART) | 1;
    let first = usize::try_from(seed() % u64::try_from(step).unwrap()).unwrap();
    Share { step, first }
}

#[expect(clippy::disallowed_methods, reason = "a random test takes its seed back")]
fn seed() -> u64 {
    let given = std::env::var("BELLPUNCH_SEED").ok().map(|seed| seed.parse().unwrap());
    given.unwrap_or_else(|| {
        let marker = Box::new(0_u8);
        // Where the allocator and the linker put things differs from run to run.
        let place = format!("{:p}{}", &raw const *marker, std::process::id());
        place.bytes().fold(1_469_598_103_934_665_603, |seed: u64, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
        })
    })
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tries a share of the damages, says what came of them, and fails on what must not.
#[expect(clippy::disallowed_methods, reason = "it says how long it took")]
fn run(name: &str, image: &Image, damages: &[Damage]) -> Tally {
    let share = share(damages.len());
    let part: Vec<Damage> = damages.iter().skip(share.first).step_by(share.step).copied().collect();
    let begun = std::time::Instant::now();
    let tally = sweep(image, &part, at_rest);
    report(name, (&part, damages), begun.elapsed(), &tally);
    assert_eq!(tally.wrong, Vec::<String>::new(), "first of {share}", share = share.first);
    tally
}

fn report(name: &str, (part, all): (&[Damage], &[Damage]), took: Duration, tally: &Tally) {
    say(&format!("{name}: {} of {} in {took:.1?}", part.len(), all.len()));
    for (what, count) in &tally.counts {
        say(&format!("  {count:>8}  {what}"));
    }
    let whole = part.len() == all.len();
    assert!(!whole || took <= FULL, "{name}: {took:?} for the whole");
}

#[test]
fn the_image_is_64_kib_of_everything() {
    let (closed, killed) = (Image::read(Left::Closed), Image::read(Left::Killed));
    assert_eq!(closed.bytes(), 65_536);
    let [partitions, records, floors, commits] = closed.state.counts();
    let (tombstones, batches) = (closed.state.tombstones(), closed.batches.len());
    say(&format!(
        "{} files, {batches} batches, {partitions} partitions, {records} records, {tombstones} of \
         them tombstones, {floors} floors, {commits} commit ids",
        closed.names().len()
    ));
    assert!(4 <= partitions && 80 <= records && 8 <= tombstones, "too little is in it");
    assert!(3 <= floors && 40 <= commits && 40 <= batches, "too little is in it");
    assert!(!closed.names().contains(&"00000001.log".to_owned()), "a segment was compacted");
    assert_eq!(closed.state, killed.state);
}

#[test]
fn flipped_bits_are_noticed_in_a_closed_folder() {
    let image = Image::read(Left::Closed);
    let flips = image.flips();
    assert_eq!(flips.len(), 524_288);
    let tally = run("flips, closed in order", &image, &flips);
    assert!(!tally.counts.keys().any(|what| what.contains("torn tail")), "{tally:?}");
}

#[test]
fn flipped_bits_are_noticed_in_a_folder_that_was_left() {
    let image = Image::read(Left::Killed);
    run("flips, killed", &image, &image.flips());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it says how long it took")]
fn flipped_bits_are_noticed_when_they_are_read() {
    let image = Image::read(Left::Killed);
    let flips = image.flips();
    let share = share(flips.len());
    let part: Vec<Damage> = flips.iter().skip(share.first).step_by(share.step).copied().collect();
    let begun = std::time::Instant::now();
    let tally = sweep(&image, &part, in_use);
    report("flips under an open store", (&part, &flips), begun.elapsed(), &tally);
    assert_eq!(tally.wrong, Vec::<String>::new());
}

#[test]
fn cuts_are_noticed() {
    for left in [Left::Closed, Left::Killed] {
        let image = Image::read(left);
        run(&format!("cuts, {left:?}"), &image, &image.cuts());
    }
}

#[test]
fn swapped_and_misdirected_blocks_are_noticed() {
    for left in [Left::Closed, Left::Killed] {
        let image = Image::read(left);
        for block in [512, 4_096] {
            let name = format!("blocks of {block} swapped, {left:?}");
            run(&name, &image, &image.blocks(block, Damage::Swap));
            let name = format!("blocks of {block} written over another, {left:?}");
            run(&name, &image, &image.blocks(block, Damage::Copy));
        }
    }
}

#[test]
fn without_checksums_the_sweep_finds_what_goes_unnoticed() {
    let image = Image::read(Left::Closed);
    let flips = image.flips();
    let part: Vec<Damage> = flips.iter().step_by(flips.len().div_ceil(200)).copied().collect();
    let blind = |image: &Image, folder: &mut damage::Folder, damage: &Damage| {
        let _unchecked = Unchecked::begin();
        at_rest(image, folder, damage)
    };
    let tally = sweep(&image, &part, blind);
    say(&format!("without checksums: {} of {} unnoticed", tally.wrong.len(), part.len()));
    assert!(part.len() < tally.wrong.len() * 4, "{tally:?}");
    assert_eq!(sweep(&image, &part, at_rest).wrong, Vec::<String>::new());
}

fn clock() -> KitClock {
    KitClock::new()
}
