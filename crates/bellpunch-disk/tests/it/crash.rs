//! Power is lost behind every write and every sync, and what was not synced is lost in many ways:
//! the state is then one that was reached, with everything that was acknowledged.

use std::sync::Arc;

use bellpunch_disk::testing::{FaultFiles, Loss, Step};
use bellpunch_store::Store;

use crate::open;
use crate::workload::{Workload, dump, seed, small};

const LOSSES: [Loss; 9] = [
    Loss::Nothing,
    Loss::Everything,
    Loss::Content,
    Loss::Names,
    Loss::Sectors,
    Loss::Torn(1),
    Loss::Torn(24),
    Loss::Torn(40),
    Loss::Torn(200),
];

/// Opens the folder as it is after losing power, and gives which state it is in.
fn recover(
    files: &FaultFiles,
    workload: &Workload,
    (steps, loss): (usize, Loss),
) -> (FaultFiles, usize) {
    let left = files.after(steps, loss);
    let what = || format!("behind step {steps} of {}, {loss:?}", files.steps().len());
    let store = match open(&left, &small(), workload.clock()) {
        Ok(store) => store,
        Err(error) => panic!("{}: {error}", what()),
    };
    let state = dump(&store);
    let reached = workload.states.iter().rposition(|reached| *reached == state);
    let reached = reached.unwrap_or_else(|| panic!("{}: no such state was reached", what()));
    store.close();
    (left, reached)
}

/// How many states were certainly reached before each step.
fn acknowledged(files: &FaultFiles, before: usize) -> Vec<usize> {
    let mut states = before;
    let mut all = vec![states];
    for step in files.steps() {
        if let Step::Note(reached) = step {
            states = usize::try_from(reached).unwrap();
        }
        all.push(states);
    }
    all
}

/// Runs some calls on a folder, and notes what was acknowledged.
fn run(files: &FaultFiles, workload: &mut Workload, calls: usize) {
    let store = open(files, &small(), workload.clock()).unwrap();
    for _ in 0..calls {
        let reached = workload.step(&store);
        files.note(u64::try_from(reached).unwrap());
    }
    store.close();
}

fn sweep(files: &FaultFiles, workload: &Workload, before: usize) {
    let acknowledged = acknowledged(files, before);
    let steps = files.steps();
    for (behind, acknowledged) in acknowledged.into_iter().enumerate() {
        let mut losses = LOSSES.to_vec();
        if behind % 5 == 0
            && let Some(Step::Write(_, _, bytes)) = behind.checked_sub(1).map(|last| &steps[last])
        {
            losses.extend((0..bytes.len()).step_by(11).map(Loss::Torn));
        }
        for loss in losses {
            let (_, reached) = recover(files, workload, (behind, loss));
            // A state that is one of several equal ones is taken for the last of them.
            assert!(
                acknowledged <= reached + 1,
                "behind step {behind}, {loss:?}: {acknowledged} states were acknowledged, {} are left",
                reached + 1
            );
        }
    }
}

#[test]
fn keeps_what_was_acknowledged_behind_every_step() {
    let seed = seed();
    println_seed(seed);
    let mut workload = Workload::new(seed);
    let files = FaultFiles::default();
    run(&files, &mut workload, 25);
    // Once more: the steps of opening after an orderly close are swept too.
    run(&files, &mut workload, 5);
    sweep(&files, &workload, 1);
}

#[test]
fn keeps_what_was_acknowledged_when_power_is_lost_again() {
    let seed = seed();
    println_seed(seed);
    let mut workload = Workload::new(seed);
    for _ in 0..4 {
        let mut files = FaultFiles::default();
        let mut fresh = Workload::new(workload.draw(u64::MAX));
        run(&files, &mut fresh, 6);
        let behind = usize::try_from(workload.draw(u64::MAX)).unwrap() % files.steps().len();
        let loss = LOSSES[usize::try_from(workload.draw(9)).unwrap()];
        let (_, reached) = recover(&files, &fresh, (behind, loss));
        files = files.after(behind, loss);
        // The model goes back to what is left, and both go on from there.
        let mut fresh = fresh.resumed(reached);
        run(&files, &mut fresh, 4);
        sweep(&files, &fresh, reached + 1);
    }
}

#[test]
fn goes_on_after_every_recovery() {
    let seed = seed();
    println_seed(seed);
    let mut workload = Workload::new(seed);
    let files = FaultFiles::default();
    run(&files, &mut workload, 8);
    for behind in (0..=files.steps().len()).step_by(3) {
        let (left, reached) = recover(&files, &workload, (behind, Loss::Torn(30)));
        let mut resumed = workload.resumed(reached);
        let store = open(&left, &small(), resumed.clock()).unwrap();
        resumed.step(&store);
        let state = dump(&store);
        drop(store);
        let store: Arc<dyn Store> = Arc::new(open(&left, &small(), resumed.clock()).unwrap());
        assert_eq!(dump(&*store), state);
        assert_eq!(resumed.states.last(), Some(&state));
    }
}

#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
fn println_seed(seed: u64) {
    println!("BELLPUNCH_SEED={seed}");
}
