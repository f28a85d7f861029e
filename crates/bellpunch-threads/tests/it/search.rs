//! Searches schedules, keeps those that fail, and plays them again.
//!
//! Invariant: a kept schedule says everything that is not in the code: who runs next, and chance.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::scenarios::Scenario;

/// Steps of one schedule; more is a loop that gets nowhere.
const STEPS_MAX: usize = 20_000;
/// Orders that a bug may need: PCT finds it with a chance that this bounds from below.
const DEPTH: usize = 3;
/// Bytes of each task's stack; a build without optimisation needs them.
const STACK_BYTES: usize = 512 << 10;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Runs(usize),
    Draws(u64),
}

/// A schedule that was played.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Played(Vec<Step>);

impl Played {
    /// As text: tasks by number, what was drawn behind `=`.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (place, step) in self.0.iter().enumerate() {
            let gap = if place.is_multiple_of(32) { "\n" } else { " " };
            let gap = if place == 0 { "" } else { gap };
            match step {
                Step::Runs(task) => write!(text, "{gap}{task}"),
                Step::Draws(value) => write!(text, "{gap}={value:x}"),
            }
            .expect("text has room");
        }
        text.push('\n');
        text
    }

    /// From text; lines that begin with `#` are for people.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let words = lines.flat_map(str::split_whitespace);
        let steps = words.map(|word| match word.strip_prefix('=') {
            Some(drawn) => u64::from_str_radix(drawn, 16).ok().map(Step::Draws),
            None => word.parse().ok().map(Step::Runs),
        });
        steps.collect::<Option<_>>().map(Self)
    }
}

/// What is known of the schedule that is played now.
#[derive(Debug, Default)]
struct Notes {
    schedules: usize,
    steps: Vec<Step>,
}

/// A scheduler, and what it chose.
struct Noted<S> {
    inner: S,
    notes: Arc<Mutex<Notes>>,
}

impl<S> Noted<S> {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no code panics while it holds this lock")
    }
}

impl<S: Scheduler> Scheduler for Noted<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.inner.new_execution()?;
        let mut notes = self.notes();
        notes.schedules = notes.schedules.saturating_add(1);
        notes.steps.clear();
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.inner.next_task(runnable, current, is_yielding)?;
        self.notes().steps.push(Step::Runs(next.into()));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        let value = self.inner.next_u64();
        self.notes().steps.push(Step::Draws(value));
        value
    }
}

/// A schedule that was told. Where the code no longer fits it, it goes on in some order: a kept
/// schedule is never in the way of a change.
struct Told {
    steps: VecDeque<Step>,
    started: bool,
    state: u64,
}

impl Told {
    fn new(played: &Played) -> Self {
        Self { steps: played.0.iter().copied().collect(), started: false, state: 1 }
    }

    fn some(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Scheduler for Told {
    fn new_execution(&mut self) -> Option<Schedule> {
        (!std::mem::replace(&mut self.started, true)).then(|| Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let told = match self.steps.pop_front() {
            Some(Step::Runs(task)) => runnable.iter().find(|next| usize::from(next.id()) == task),
            Some(Step::Draws(_)) | None => None,
        };
        let Some(task) = told else {
            self.steps.clear();
            let count = u64::try_from(runnable.len()).expect("a few tasks");
            let place = self.some().checked_rem(count).expect("somebody can run");
            let place = usize::try_from(place).expect("a few tasks");
            return runnable.get(place).map(|task| task.id());
        };
        Some(task.id())
    }

    fn next_u64(&mut self) -> u64 {
        match self.steps.pop_front() {
            Some(Step::Draws(value)) => value,
            Some(Step::Runs(_)) | None => {
                self.steps.clear();
                self.some()
            }
        }
    }
}

/// A schedule that fails.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was broken.
    pub(crate) rule: String,
    /// Schedules until then, this one included.
    pub(crate) schedules: usize,
    pub(crate) played: Played,
}

fn run<S: Scheduler + 'static>(inner: S, scenario: fn()) -> Result<Notes, Failure> {
    let notes = Arc::new(Mutex::new(Notes::default()));
    let scheduler = Noted { inner, notes: Arc::clone(&notes) };
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    let result = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(scenario)));
    let notes = std::mem::take(&mut *notes.lock().expect("it was left in order"));
    let Err(cause) = result else { return Ok(notes) };
    bellpunch_threads::runtime::abandon();
    let text = cause.downcast_ref::<String>().cloned();
    let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let rule = text.unwrap_or_else(|| "a panic without words".to_owned());
    Err(Failure { rule, schedules: notes.schedules, played: Played(notes.steps) })
}

/// The two ways to choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Random,
    Pct,
}

/// Plays so many schedules of a scenario; gives how many, and the last.
pub(crate) fn search(
    (_, scenario): Scenario,
    way: Way,
    (schedules, seed): (usize, u64),
) -> Result<(usize, Played), Failure> {
    let notes = match way {
        Way::Random => run(RandomScheduler::new_from_seed(seed, schedules), scenario)?,
        Way::Pct => run(PctScheduler::new_from_seed(seed, DEPTH, schedules), scenario)?,
    };
    Ok((notes.schedules, Played(notes.steps)))
}

/// Plays a schedule again; gives what was played.
pub(crate) fn replay((_, scenario): Scenario, played: &Played) -> Result<Played, Failure> {
    run(Told::new(played), scenario).map(|notes| Played(notes.steps))
}
