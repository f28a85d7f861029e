//! The random generator: a case from a seed.
//!
//! A seed draws which faults exist at all, and many draw none of a kind: a world where everything
//! fails all the time reaches nothing deep.

use serde_json::Value;

use crate::case::{
    Case, ClockKind, Episode, FaultKind, MICRO, MILLI, SECOND, Settings, Step, StoreKind,
};
use crate::rng::Rng;
use crate::workload::{DOMAINS, Domain, MONEY, first, next};

/// Commands of a case, about.
const COMMANDS: u64 = 300;

/// How the world of a seed is built.
fn settings(rng: &mut Rng) -> Settings {
    let exclusive = rng.chance(300);
    let nodes = if exclusive { 1 } else { *rng.pick(&[1, 2, 2, 2, 3, 4]) };
    let batch_max = *rng.pick(&[512, 512, 16, 4, 1]);
    // What cannot keep up is not alive, however well it is.
    let slowest = if batch_max < 16 { 3 } else { 5 };
    let commits = [100 * MICRO, MILLI, 2 * MILLI, 10 * MILLI, 50 * MILLI];
    let commit = *commits.get(rng.place(slowest)).unwrap_or(&MILLI);
    let keep = *rng.pick(&[604_800 * SECOND, 604_800 * SECOND, 604_800 * SECOND, 5 * SECOND]);
    let patience = *rng.pick(&[10 * SECOND, 10 * SECOND, 2 * SECOND, 300 * MILLI]);
    Settings {
        nodes,
        store: if exclusive { StoreKind::Exclusive } else { StoreKind::Shared },
        clock: if exclusive || rng.chance(700) {
            ClockKind::AtExclusivity
        } else {
            ClockKind::Node
        },
        defect: String::new(),
        ids_max: *rng.pick(&[65_536, 65_536, 65_536, 8, 2]),
        read: commit.checked_div(2).unwrap_or(MILLI),
        commit,
        queue_max: *rng.pick(&[4_096, 4_096, 64, 8]),
        batch_max,
        retries_max: *rng.pick(&[16, 16, 16, 4, 1]),
        cache_max: *rng.pick(&[64 << 20, 64 << 20, 4_096, 512]),
        keep,
        skew: *rng.pick(&[500 * MILLI, 500 * MILLI, MILLI]),
        patience: if keep < 60 * SECOND { 60 * SECOND } else { patience },
        sweep: *rng.pick(&[0, 2 * SECOND, 5 * SECOND]),
        heal: rng.between(8 * SECOND, 25 * SECOND),
    }
}

/// The faults that a store of this kind can have.
fn faults_of(settings: &Settings) -> Vec<FaultKind> {
    if settings.keep < 60 * SECOND {
        // Whoever hears nothing for longer than outcomes are kept can never know.
        return vec![
            FaultKind::ClockDrift,
            FaultKind::Conflict,
            FaultKind::Delay,
            FaultKind::StaleReads,
            FaultKind::TornReads,
        ];
    }
    let mut all = vec![
        FaultKind::ClockJump,
        FaultKind::ClockFreeze,
        FaultKind::ClockDrift,
        FaultKind::Stall,
        FaultKind::Pause,
        FaultKind::Crash,
        FaultKind::Crash,
        FaultKind::Drain,
        FaultKind::CutClients,
        FaultKind::Slow,
        FaultKind::SlowPartition,
        FaultKind::Refuse,
        FaultKind::Full,
        FaultKind::Corrupt,
        FaultKind::Newer,
        FaultKind::DropRequest,
        FaultKind::DropReply,
        FaultKind::Delay,
        FaultKind::Duplicate,
        FaultKind::DuplicateLate,
    ];
    if settings.store == StoreKind::Shared {
        all.extend([
            FaultKind::CutStore,
            FaultKind::CutReplies,
            FaultKind::Throttle,
            FaultKind::LostReply,
            FaultKind::LostReply,
            FaultKind::LostCommit,
            FaultKind::Late,
            FaultKind::Twice,
            FaultKind::Conflict,
            FaultKind::PartRefused,
            FaultKind::StaleReads,
            FaultKind::TornReads,
            FaultKind::Held,
        ]);
        if settings.clock == ClockKind::AtExclusivity {
            all.push(FaultKind::StoreClock);
        }
    }
    all
}

fn amount(fault: FaultKind, settings: &Settings, rng: &mut Rng) -> i64 {
    let signed = |nanos: u64, rng: &mut Rng| {
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        if rng.chance(500) { nanos } else { nanos.saturating_neg() }
    };
    match fault {
        // Without a clock of the store's own, deadlines rest on clocks that agree up to the skew.
        FaultKind::ClockJump if settings.clock == ClockKind::Node => {
            let most = settings.skew.checked_div(2).unwrap_or_default();
            signed(rng.below(most), rng)
        }
        FaultKind::ClockJump => {
            let far = *rng.pick(&[SECOND, 5 * SECOND, 60 * SECOND, 3_600 * SECOND]);
            signed(rng.below(far), rng)
        }
        FaultKind::StoreClock => signed(rng.below(3 * SECOND), rng),
        FaultKind::ClockDrift => signed(rng.below(500), rng),
        FaultKind::Stall => i64::try_from(rng.between(MILLI, 4 * SECOND)).unwrap_or_default(),
        FaultKind::StaleReads => i64::try_from(rng.between(MILLI, 3 * SECOND)).unwrap_or_default(),
        _ => 0,
    }
}

/// Whether every changing command has an idempotency key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keys {
    Always,
    Some,
    /// And some for other contents too. Whose effect it was can then be told by the replies alone.
    Reused,
}

/// Faults after which a client may never hear of a command.
const LOSES_CALLERS: &[FaultKind] = &[
    FaultKind::Crash,
    FaultKind::Drain,
    FaultKind::CutClients,
    FaultKind::DropRequest,
    FaultKind::DropReply,
    FaultKind::Newer,
    FaultKind::Duplicate,
    FaultKind::DuplicateLate,
];

/// A case from a seed.
#[must_use]
pub fn random(seed: u64) -> Case {
    let mut rng = Rng::of(seed, "case", 0);
    let settings = settings(&mut rng);
    let keys = match rng.below(10) {
        0 | 1 => Keys::Some,
        2 | 3 => Keys::Reused,
        _ => Keys::Always,
    };
    case((seed, "random"), (settings, keys, &DOMAINS), &mut rng)
}

/// A case about money from a seed. Whoever moves money says under which key.
#[must_use]
pub fn money(seed: u64) -> Case {
    let mut rng = Rng::of(seed, "money", 0);
    let settings = settings(&mut rng);
    let keys = if rng.chance(200) { Keys::Reused } else { Keys::Always };
    case((seed, "money"), (settings, keys, &MONEY), &mut rng)
}

fn case(
    (seed, generator): (u64, &str),
    (settings, keys, domains): (Settings, Keys, &[Domain]),
    rng: &mut Rng,
) -> Case {
    let settings = match keys {
        // Who hears nothing of a command without a key can never know: only the engine may.
        Keys::Some | Keys::Reused => {
            Settings { ids_max: 65_536, patience: 60 * SECOND, ..settings }
        }
        Keys::Always => settings,
    };
    let steps = steps(&settings, (keys, domains), rng);
    let faults = episodes(&settings, keys, rng);
    Case { seed, generator: generator.to_owned(), settings, steps, faults }
}

fn episodes(settings: &Settings, keys: Keys, rng: &mut Rng) -> Vec<Episode> {
    let mut all = faults_of(settings);
    if keys != Keys::Always {
        all.retain(|fault| !LOSES_CALLERS.contains(fault));
    }
    // Some worlds are well.
    let kinds = if rng.chance(100) { 0 } else { rng.between(1, 9) };
    let mut faults = Vec::new();
    for _ in 0..kinds {
        let fault = *rng.pick(&all);
        let frozen = fault == FaultKind::ClockFreeze && settings.clock == ClockKind::Node;
        for _ in 0..rng.between(1, 4) {
            let from = rng.below(settings.heal);
            let span = *rng.pick(&[10 * MILLI, 300 * MILLI, SECOND, 5 * SECOND, 60 * SECOND]);
            let span = if frozen { settings.skew.checked_div(4).unwrap_or_default() } else { span };
            faults.push(Episode {
                fault,
                from,
                until: from.saturating_add(rng.between(MILLI, span.max(2 * MILLI))),
                node: rng.below(settings.nodes),
                intensity: *rng.pick(&[20, 100, 300, 700, 1_000]),
                amount: amount(fault, settings, rng),
            });
        }
    }
    faults.sort_by_key(|episode| episode.from);
    faults
}

fn steps(settings: &Settings, (keys, all): (Keys, &[Domain]), rng: &mut Rng) -> Vec<Step> {
    let clients = *rng.pick(&[1, 2, 4, 8, 16, 32]);
    let partitions = *rng.pick(&[1, 1, 1, 2, 3]);
    let mut domains: Vec<Domain> = all.iter().copied().filter(|_| rng.chance(500)).collect();
    if domains.is_empty() {
        domains.push(*rng.pick(all));
    }
    let keyless = if keys == Keys::Some { 400 } else { 0 };
    let mut steps = Vec::new();
    let mut number = 0_u64;
    for partition in 0..partitions {
        for commands in first(&domains, rng) {
            number = number.saturating_add(1);
            steps.push(Step {
                at: rng.below(2 * MILLI),
                client: 0,
                node: 0,
                partition: format!("p{partition}"),
                commands,
                key: Some(format!("first{number}")),
                dry_run: false,
                elsewhere: true,
            });
        }
    }
    let mut at = 20 * MILLI;
    let mut used: Vec<(String, Vec<crate::case::Asked>)> = Vec::new();
    while number < COMMANDS {
        // Crowds come at one instant; between them it is quiet.
        let crowd = *rng.pick(&[1, 1, 1, 2, 4, 9, 20]);
        at = at.saturating_add(rng.below(settings.heal.checked_div(60).unwrap_or(SECOND)));
        let hot = next(*rng.pick(&domains), rng);
        for _ in 0..crowd {
            number = number.saturating_add(1);
            let partition = if rng.chance(800) { 0 } else { rng.below(partitions) };
            let same = rng.chance(400);
            let mut commands = if same { hot.clone() } else { next(*rng.pick(&domains), rng) };
            let read = commands.iter().all(|asked| asked.cmd.ends_with(".read"));
            let mut key = (!read && !rng.chance(keyless)).then(|| format!("k{number}"));
            if !read && rng.chance(60) && !used.is_empty() {
                let (old, content) = rng.pick(&used).clone();
                if keys != Keys::Reused || rng.chance(600) {
                    commands = content;
                }
                key = Some(old);
            }
            let drawn = commands.iter().any(|asked| has_placeholder(&asked.args));
            if let Some(key) = &key
                && !drawn
            {
                used.push((key.clone(), commands.clone()));
            }
            steps.push(Step {
                at: at.saturating_add(rng.below(300 * MICRO)),
                client: rng.below(clients),
                node: rng.below(settings.nodes),
                partition: format!("p{partition}"),
                commands,
                key,
                dry_run: !read && rng.chance(30),
                elsewhere: rng.chance(500),
            });
        }
    }
    steps.sort_by_key(|step| step.at);
    steps
}

fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('$'),
        Value::Array(values) => values.iter().any(has_placeholder),
        Value::Object(fields) => fields.values().any(has_placeholder),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
