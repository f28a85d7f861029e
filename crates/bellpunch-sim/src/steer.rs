//! The steered generator: a situation is picked, and a small case is built that leads to it.
//!
//! Written apart from `generate.rs`: what one of them never thinks of, the other may. A case is one
//! plot, told several times with other luck, so that a race is lost and won.
//!
//! Invariant: the same seed gives the same case.

#[expect(clippy::indexing_slicing, reason = "a field of a JSON object is made by writing to it")]
mod book;
mod limits;

use serde_json::{Value, json};

use crate::case::{
    Asked, Case, ClockKind, Episode, FaultKind, Instant, MICRO, MILLI, SECOND, Settings, Step,
    StoreKind,
};
use crate::rng::Rng;
use crate::workload::instant;

pub use book::book;

/// A case that is being built.
struct Plot {
    rng: Rng,
    settings: Settings,
    steps: Vec<Step>,
    faults: Vec<Episode>,
    number: u64,
    partition: String,
}

/// What makes a case of a plot.
type Tell = fn(&mut Plot);

/// All plots, by what they lead to. Those that need luck come twice. Never a multiple of three: of a
/// generator in turns of three every third seed is steered, and would tell two thirds of them.
const PLOTS: &[(&str, Tell)] = &[
    ("the last unit", limits::last_unit),
    ("a hot partition and a cold one", hot_and_cold),
    ("a call of which a part is refused", limits::part_refused),
    ("one key in many requests", same_key),
    ("a replay by somebody else", replay_elsewhere),
    ("a rejection that is tried again", rejected_again),
    ("replies that are lost to clients", lost_replies),
    ("the end of retention", retention),
    ("two that read what the other writes", write_skew),
    ("a lost reply, and others after it", lost_reply),
    ("a lost reply, and a store that forgets", lost_and_forgotten),
    ("a slow clock at an expiry", slow_clock),
    ("a held commit at an expiry", held),
    ("a held commit and another node", held_race),
    ("a stop with a queue", drain),
    ("a full queue", overload),
    ("without the store", outage),
    ("a crash of the only node", crash_alone),
    ("a crash among others", crash_shared),
    ("a crash within replies", crash_replying),
    ("a capture at the expiry of its hold", limits::capture),
    ("a revocation among uses", limits::revoke),
    ("a limit lowered among uses", limits::lowered),
    ("an upload and its completion", upload),
    ("a clock that is ahead for a while", clock_forward),
    ("the margin of the skew", margin),
    ("a stall across an expiry", stall),
    ("more keys than fit", limits::keys_max),
    ("the edge of a window", limits::window_edge),
    ("the instant of an expiry", limits::expiry_edge),
    ("an abandoned commit", late),
    ("a storm of conflicts", storm),
    ("a caller that leaves", gone),
    ("records that cannot be read", unreadable),
    ("one limit of many", limits::many_limits),
    ("a lost reply, and others after it", lost_reply),
    ("the edge of a window", limits::window_edge),
    ("the instant of an expiry", limits::expiry_edge),
    ("a stop with a queue", drain),
    ("without the store", outage),
    ("a held commit at an expiry", held),
    ("one key in many requests", same_key),
    ("a crash of the only node", crash_alone),
    ("a storm of conflicts", storm),
    ("what a node remembers", limits::remembered),
    ("a stop with a queue", drain),
];

const _: () = assert!(!PLOTS.len().is_multiple_of(3), "see above");

/// A case from a seed.
#[must_use]
pub fn steered(seed: u64) -> Case {
    let mut case = Plot::new(Rng::of(seed, "steered", 0));
    // In turn and not by chance: seeds in a row, or every second of them, tell all plots.
    let turn = seed.div_euclid(2).checked_rem(PLOTS.len().try_into().unwrap_or(u64::MAX));
    let place = usize::try_from(turn.unwrap_or_default()).unwrap_or_default();
    if let Some((_, plot)) = PLOTS.get(place) {
        plot(&mut case);
    }
    case.finish(seed)
}

const fn settings() -> Settings {
    Settings {
        nodes: 2,
        store: StoreKind::Shared,
        clock: ClockKind::AtExclusivity,
        defect: String::new(),
        ids_max: 65_536,
        read: 500 * MICRO,
        commit: MILLI,
        queue_max: 4_096,
        batch_max: 512,
        retries_max: 16,
        cache_max: 64 << 20,
        keep: 604_800 * SECOND,
        skew: 500 * MILLI,
        patience: 10 * SECOND,
        sweep: 0,
        heal: 0,
    }
}

fn consume(quota: &str, units: u64) -> (&'static str, Value) {
    ("quotas.consume", json!({ "id": quota, "units": units }))
}

fn use_policy(policy: &str, key: &str) -> (&'static str, Value) {
    ("policies.consume", json!({ "id": policy, "key": key, "units": 1 }))
}

fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn back(nanos: u64) -> i64 {
    signed(nanos).saturating_neg()
}

const fn ms(count: u64) -> u64 {
    count.saturating_mul(MILLI)
}

impl Plot {
    fn new(rng: Rng) -> Self {
        Self {
            rng,
            settings: settings(),
            steps: Vec::new(),
            faults: Vec::new(),
            number: 0,
            partition: "p0".to_owned(),
        }
    }

    fn finish(mut self, seed: u64) -> Case {
        let steps = self.steps.iter().map(|step| step.at);
        let faults = self.faults.iter().map(|episode| episode.until);
        let last = steps.chain(faults).max().unwrap_or_default();
        self.settings.heal = self.settings.heal.max(last.saturating_add(SECOND));
        self.steps.sort_by_key(|step| step.at);
        self.faults.sort_by_key(|episode| episode.from);
        let Self { settings, steps, faults, .. } = self;
        Case { seed, generator: "steered".to_owned(), settings, steps, faults }
    }

    /// A client asks for something; it has a key of its own.
    fn ask(&mut self, at: Instant, node: u64, (cmd, args): (&str, Value)) -> &mut Step {
        self.number = self.number.saturating_add(1);
        let asked = Asked { cmd: cmd.to_owned(), args };
        self.steps.push(Step {
            at,
            client: self.number.checked_rem(16).unwrap_or_default(),
            node,
            partition: self.partition.clone(),
            key: (!cmd.ends_with(".read")).then(|| format!("k{}", self.number)),
            commands: vec![asked],
            dry_run: false,
            elsewhere: self.number.checked_rem(2) == Some(0),
        });
        self.steps.last_mut().expect("it was just put there")
    }

    fn fault(&mut self, fault: FaultKind, node: u64, (from, until): (Instant, Instant)) {
        self.fault_by((fault, 0), node, (from, until));
    }

    fn fault_by(
        &mut self,
        (fault, amount): (FaultKind, i64),
        node: u64,
        (from, until): (Instant, Instant),
    ) {
        self.faults.push(Episode { fault, from, until, node, intensity: 1_000, amount });
    }

    fn quota(&mut self, id: &str, limit: u64) {
        let at = self.rng.below(MILLI);
        self.ask(at, 0, ("quotas.create", json!({ "id": id, "limit": limit })));
    }

    fn quota_until(&mut self, id: &str, end: Instant) {
        let at = self.rng.below(MILLI);
        let args = json!({ "id": id, "limit": 50, "expires_at": instant(end) });
        self.ask(at, 0, ("quotas.create", args));
    }

    fn policy(&mut self, mut args: Value, more: &Value) {
        let at = self.rng.below(MILLI);
        if let (Some(args), Some(more)) = (args.as_object_mut(), more.as_object()) {
            args.extend(more.clone());
        }
        self.ask(at, 0, ("policies.set", args));
    }

    fn node(&mut self) -> u64 {
        self.rng.below(self.settings.nodes)
    }

    /// Some callers at one instant, about.
    fn crowd(&mut self, at: Instant, (count, node): (u64, Option<u64>), what: (&str, Value)) {
        for _ in 0..count {
            let node = node.unwrap_or_else(|| self.node());
            let at = at.saturating_add(self.rng.below(100 * MICRO));
            self.ask(at, node, what.clone());
        }
    }

    /// A little earlier or later than an instant.
    fn about(&mut self, at: Instant, span: u64) -> Instant {
        at.saturating_sub(span).saturating_add(self.rng.below(span.saturating_mul(2)))
    }
}

/// The instants at which a plot is told again.
fn rounds(count: u64, every: u64) -> impl Iterator<Item = (u64, Instant)> {
    (1..=count).map(move |round| (round, round.saturating_mul(every)))
}

fn hot_and_cold(plot: &mut Plot) {
    plot.settings.batch_max = *plot.rng.pick(&[4, 16]);
    plot.settings.commit = *plot.rng.pick(&[MILLI, 5 * MILLI]);
    plot.quota("q", 1_000);
    plot.partition = "p1".to_owned();
    plot.quota("q", 1_000);
    for (_, at) in rounds(3, 400 * MILLI) {
        plot.partition = "p0".to_owned();
        plot.crowd(at, (24, Some(0)), consume("q", 1));
        plot.crowd(at.saturating_add(MILLI), (6, Some(0)), consume("q", 1));
        plot.partition = "p1".to_owned();
        plot.crowd(at.saturating_add(2 * MILLI), (1, Some(0)), consume("q", 1));
    }
}

fn same_key(plot: &mut Plot) {
    plot.quota("q", 100);
    for (round, at) in rounds(6, 200 * MILLI) {
        let count = plot.rng.between(3, 6);
        for _ in 0..count {
            let (node, units) = (plot.node(), *plot.rng.pick(&[1, 1, 1, 2]));
            let at = at.saturating_add(plot.rng.below(200 * MICRO));
            plot.ask(at, node, consume("q", units)).key = Some(format!("same{round}"));
        }
    }
}

fn replay_elsewhere(plot: &mut Plot) {
    plot.quota("q", 100);
    for (round, at) in rounds(3, SECOND) {
        let key = Some(format!("again{round}"));
        let node = plot.node();
        plot.ask(at, node, consume("q", 1)).key.clone_from(&key);
        let dies = at.saturating_add(plot.rng.between(2 * MILLI, 60 * MILLI));
        plot.fault(FaultKind::Crash, node, (dies, dies.saturating_add(100 * MILLI)));
        for later in [200, 300] {
            let (at, node) = (at.saturating_add(ms(later)), plot.node());
            plot.ask(at, node, consume("q", 1)).key.clone_from(&key);
        }
    }
}

fn rejected_again(plot: &mut Plot) {
    plot.quota("q", 1);
    plot.ask(100 * MILLI, 0, consume("q", 1));
    for (round, at) in rounds(4, 200 * MILLI) {
        let key = Some(format!("again{round}"));
        for later in [0, 100] {
            let (at, node) = (at.saturating_add(ms(later)), plot.node());
            plot.ask(at, node, consume("q", 1)).key.clone_from(&key);
        }
        let (at, node) = (at.saturating_add(50 * MILLI), plot.node());
        let args = json!({ "id": "q", "limit": round.saturating_add(1) });
        plot.ask(at, node, ("quotas.set_limit", args));
    }
}

fn lost_replies(plot: &mut Plot) {
    plot.settings.patience = 300 * MILLI;
    plot.quota("q", 2);
    for (round, at) in rounds(3, 500 * MILLI) {
        let node = plot.node();
        plot.fault(FaultKind::DropReply, node, (at, at.saturating_add(50 * MILLI)));
        plot.crowd(at, (3, Some(node)), consume("q", 1));
        // By the time it is tried again, there may be room.
        let args = json!({ "id": "q", "limit": round.saturating_add(2) });
        let other = plot.node();
        plot.ask(at.saturating_add(100 * MILLI), other, ("quotas.set_limit", args));
    }
}

fn retention(plot: &mut Plot) {
    plot.settings.keep = 5 * SECOND;
    plot.settings.patience = 60 * SECOND;
    plot.settings.sweep = *plot.rng.pick(&[0, 2 * SECOND]);
    plot.quota("q", 100);
    for (round, at) in rounds(5, 150 * MILLI) {
        let key = Some(format!("kept{round}"));
        let end = at.saturating_add(5 * SECOND);
        let before = plot.rng.between(20 * MILLI, 100 * MILLI);
        let after = plot.rng.between(20 * MILLI, 80 * MILLI);
        for at in [at, end.saturating_sub(before), end.saturating_add(after)] {
            let node = plot.node();
            plot.ask(at, node, consume("q", 1)).key.clone_from(&key);
        }
    }
}

fn write_skew(plot: &mut Plot) {
    plot.settings.commit = *plot.rng.pick(&[MILLI, 5 * MILLI]);
    plot.quota("q", 50);
    plot.quota("r", 50);
    for node in 0..2 {
        for quota in ["q", "r"] {
            plot.ask(100 * MILLI, node, consume(quota, 1));
        }
    }
    for (_, at) in rounds(8, 200 * MILLI) {
        for (node, used, refused) in [(0, "q", "r"), (1, "r", "q")] {
            plot.ask(at, node, consume(used, 1));
            plot.ask(at, node, consume(refused, 51));
        }
    }
}

fn lost_reply(plot: &mut Plot) {
    plot.settings.patience = 60 * SECOND;
    plot.quota("q", 100);
    plot.quota("r", 100);
    for (_, at) in rounds(3, 1_500 * MILLI) {
        let keyless = plot.rng.chance(700);
        plot.fault(FaultKind::LostReply, 0, (at, at.saturating_add(20 * MILLI)));
        let sent = at.saturating_add(MILLI);
        for _ in 0..plot.rng.between(1, 4) {
            let step = plot.ask(sent, 0, consume("q", 1));
            if keyless {
                step.key = None;
            }
        }
        // Sent again, it conflicts with itself: its fate has to be asked for.
        if plot.rng.chance(600) {
            let again = at.saturating_add(300 * MILLI);
            plot.fault(FaultKind::Conflict, 0, (again, at.saturating_add(450 * MILLI)));
        }
        // Somebody else builds upon it before it is sent again, or nobody does.
        if plot.rng.chance(800) {
            let other = at.saturating_add(plot.rng.between(30 * MILLI, 300 * MILLI));
            plot.ask(other, 1, consume("q", 1));
        }
    }
    if plot.rng.chance(300) {
        plot.fault(FaultKind::LostCommit, 1, (5 * SECOND, 5_010 * MILLI));
        plot.ask(5_001 * MILLI, 1, consume("q", 1));
    }
}

fn lost_and_forgotten(plot: &mut Plot) {
    plot.settings.ids_max = plot.rng.between(1, 3).try_into().unwrap_or(1);
    plot.quota("q", 100);
    for (_, at) in rounds(3, 1_500 * MILLI) {
        plot.fault(FaultKind::LostReply, 0, (at, at.saturating_add(20 * MILLI)));
        let count = plot.rng.between(1, 4);
        plot.crowd(at.saturating_add(MILLI), (count, Some(0)), consume("q", 1));
        for later in [60, 120, 180, 240] {
            plot.ask(at.saturating_add(ms(later)), 1, consume("q", 1));
        }
    }
}

fn slow_clock(plot: &mut Plot) {
    let behind = plot.rng.between(300 * MILLI, 2 * SECOND);
    plot.fault_by((FaultKind::ClockJump, back(behind)), 0, (900 * MILLI, 5 * SECOND));
    for (round, end) in rounds(3, SECOND) {
        let quota = format!("q{round}");
        let end = end.saturating_add(SECOND);
        plot.quota_until(&quota, end);
        let after = end.saturating_add(plot.rng.below(behind.min(500 * MILLI)));
        for _ in 0..plot.rng.between(1, 4) {
            let at = plot.about(after, MILLI);
            plot.ask(at, 0, consume(&quota, 1));
        }
        plot.quota("r", 50);
        plot.crowd(after, (2, Some(0)), consume("r", 1));
        let create = json!({
            "holder": "c1", "audience": "s1", "issued_by": "i", "approved": true,
            "max_amount": { "amount": 10, "unit": "cup" }, "ttl_ns": 500 * MILLI,
        });
        plot.ask(end.saturating_sub(500 * MILLI), 1, ("tickets.create", create));
        let redeem = json!({
            "id": format!("$tickets:{}", round.saturating_sub(1)), "holder": "c1",
            "audience": "s1", "amount": 10,
        });
        let at = plot.about(end.saturating_add(100 * MILLI), 80 * MILLI);
        plot.ask(at, 0, ("tickets.redeem", redeem));
    }
}

fn held(plot: &mut Plot) {
    plot.settings.nodes = plot.rng.between(1, 3);
    for (round, at) in rounds(3, SECOND) {
        let quota = format!("q{round}");
        plot.quota_until(&quota, at);
        let from = at.saturating_sub(plot.rng.between(5 * MILLI, 60 * MILLI));
        plot.fault(FaultKind::Held, 0, (from, from.saturating_add(2 * MILLI)));
        plot.crowd(from, (2, Some(0)), consume(&quota, 1));
    }
}

fn held_race(plot: &mut Plot) {
    plot.quota("q", 4);
    plot.quota("r", 50);
    for node in 0..2 {
        plot.ask(100 * MILLI, node, consume("r", 1));
    }
    for (round, at) in rounds(4, 2 * SECOND) {
        let quota = *plot.rng.pick(&["q", "r"]);
        plot.fault(FaultKind::Held, 0, (at, at.saturating_add(3 * MILLI)));
        let args = json!({ "id": quota, "limit": 4_u64.saturating_add(round) });
        plot.crowd(at, (2, Some(0)), consume(quota, 1));
        plot.crowd(at.saturating_add(8 * MILLI), (2, Some(1)), consume(quota, 1));
        plot.ask(at.saturating_add(9 * MILLI), 1, ("quotas.set_limit", args));
    }
}

fn drain(plot: &mut Plot) {
    plot.settings.commit = *plot.rng.pick(&[10 * MILLI, 40 * MILLI]);
    plot.settings.batch_max = *plot.rng.pick(&[512, 4]);
    plot.quota("q", 100);
    for (_, at) in rounds(2, 2 * SECOND) {
        plot.crowd(at, (4, Some(0)), consume("q", 1));
        plot.crowd(at.saturating_add(5 * MILLI), (4, Some(0)), consume("q", 1));
        let stop = at.saturating_add(7 * MILLI);
        plot.fault(FaultKind::Drain, 0, (stop, stop.saturating_add(1_500 * MILLI)));
        plot.crowd(stop.saturating_add(5 * MILLI), (2, Some(0)), consume("q", 1));
    }
}

fn overload(plot: &mut Plot) {
    plot.settings.queue_max = 8;
    plot.settings.batch_max = 4;
    plot.quota("q", 200);
    for (_, at) in rounds(3, 500 * MILLI) {
        plot.crowd(at, (30, None), consume("q", 1));
    }
}

fn outage(plot: &mut Plot) {
    plot.settings.patience = 60 * SECOND;
    plot.quota("q", 100);
    let terms = |id: &str, limit: u64| {
        json!({
            "id": id, "algorithm": "fixed_window", "align": "epoch", "limit": limit,
            "period_ns": 60 * SECOND,
        })
    };
    plot.policy(terms("f", 8), &json!({ "on_store_failure": "open" }));
    plot.policy(terms("g", 8), &json!({ "on_store_failure": "local", "local_limit": 2 }));
    for node in 0..2 {
        for policy in ["f", "g"] {
            plot.ask(200 * MILLI, node, use_policy(policy, "k")).key = None;
        }
        plot.ask(200 * MILLI, node, consume("q", 1));
    }
    for (_, at) in rounds(2, SECOND) {
        let kinds = [FaultKind::Refuse, FaultKind::Throttle, FaultKind::CutStore, FaultKind::Full];
        let fault = *plot.rng.pick(&kinds);
        let until = at.saturating_add(300 * MILLI);
        plot.fault(fault, 0, (at, until));
        for _ in 0..plot.rng.between(3, 8) {
            let at = plot.rng.between(at.saturating_add(MILLI), until);
            let policy = *plot.rng.pick(&["f", "f", "g"]);
            plot.ask(at, 0, use_policy(policy, "k")).key = None;
            plot.ask(at.saturating_add(MILLI), 0, consume("q", 1));
        }
        plot.crowd(until.saturating_sub(5 * MILLI), (4, Some(0)), consume("q", 1));
    }
    plot.ask(3 * SECOND, 1, ("quotas.read", json!({ "id": "q" })));
}

fn crash_alone(plot: &mut Plot) {
    plot.settings.nodes = 1;
    plot.settings.store = StoreKind::Exclusive;
    plot.settings.commit = *plot.rng.pick(&[2 * MILLI, 10 * MILLI]);
    plot.quota("q", 100);
    for (_, at) in rounds(4, 500 * MILLI) {
        plot.crowd(at, (4, Some(0)), consume("q", 1));
        plot.crowd(at.saturating_add(MILLI), (4, Some(0)), consume("q", 1));
        let most = plot.settings.commit.saturating_mul(2);
        let dies = at.saturating_add(plot.rng.below(most));
        plot.fault(FaultKind::Crash, 0, (dies, dies.saturating_add(100 * MILLI)));
    }
}

fn crash_shared(plot: &mut Plot) {
    plot.settings.commit = *plot.rng.pick(&[2 * MILLI, 10 * MILLI]);
    plot.quota("q", 30);
    for (_, at) in rounds(4, 500 * MILLI) {
        plot.crowd(at, (4, None), consume("q", 1));
        let most = plot.settings.commit.saturating_mul(2);
        let (dies, node) = (at.saturating_add(plot.rng.below(most)), plot.node());
        plot.fault(FaultKind::Crash, node, (dies, dies.saturating_add(100 * MILLI)));
    }
}

fn crash_replying(plot: &mut Plot) {
    if plot.rng.chance(500) {
        plot.settings.nodes = 1;
        plot.settings.store = StoreKind::Exclusive;
    }
    plot.quota("q", 30);
    for (_, at) in rounds(4, 500 * MILLI) {
        plot.crowd(at, (6, Some(0)), consume("q", 1));
        plot.fault(FaultKind::CrashReplying, 0, (at, at.saturating_add(100 * MILLI)));
    }
}

fn upload(plot: &mut Plot) {
    plot.quota("q", 50);
    for (round, at) in rounds(4, 300 * MILLI) {
        let id = format!("u{round}");
        let charge = json!([{ "quota": "q", "units": 2 }]);
        let create = json!({ "id": id, "size_limit": 10, "charge": charge });
        plot.ask(at.saturating_sub(100 * MILLI), 0, ("uploads.create", create));
        for blob in 0..plot.rng.between(2, 4) {
            let args = json!({
                "id": id, "blob": format!("b{blob}"), "size": 5,
                "sha256": format!("{blob:02x}").repeat(32), "started_at": instant(0),
                "publish_window_ns": 3_600 * SECOND,
            });
            plot.crowd(at, (1, None), ("uploads.publish", args));
        }
        plot.crowd(
            at.saturating_add(200 * MICRO),
            (2, None),
            ("uploads.complete", json!({ "id": id })),
        );
        plot.crowd(
            at.saturating_add(3 * MILLI),
            (2, None),
            ("uploads.download", json!({ "id": id })),
        );
    }
}

fn clock_forward(plot: &mut Plot) {
    let far = plot.rng.chance(200);
    let ahead = if far { 3 * SECOND } else { plot.rng.between(250 * MILLI, 450 * MILLI) };
    plot.quota("r", 100);
    for (round, at) in rounds(3, SECOND) {
        let quota = format!("q{round}");
        plot.quota_until(&quota, at.saturating_add(200 * MILLI));
        plot.fault_by(
            (FaultKind::ClockJump, signed(ahead)),
            1,
            (at, at.saturating_add(150 * MILLI)),
        );
        plot.crowd(at.saturating_add(20 * MILLI), (2, Some(1)), consume(&quota, 1));
        plot.crowd(at.saturating_add(30 * MILLI), (2, Some(1)), consume("r", 1));
        // Corrected: what was touched then is decided at its last commit time.
        plot.crowd(at.saturating_add(160 * MILLI), (3, None), consume("r", 1));
        plot.crowd(at.saturating_add(170 * MILLI), (2, Some(0)), consume(&quota, 1));
    }
}

fn margin(plot: &mut Plot) {
    plot.settings.clock = ClockKind::Node;
    plot.quota("q", 20);
    for (round, at) in rounds(4, 800 * MILLI) {
        let hold = format!("h{round}");
        let items = json!([{ "quota": "q", "units": 2 }]);
        let args = json!({ "id": hold, "items": items, "ttl_ns": 700 * MILLI });
        plot.ask(at, 1, ("holds.create", args));
        for _ in 0..2 {
            let (later, node) = (plot.rng.between(100 * MILLI, 690 * MILLI), plot.node());
            plot.ask(at.saturating_add(later), node, ("holds.capture", json!({ "id": hold })));
        }
    }
}

fn stall(plot: &mut Plot) {
    for (round, end) in rounds(4, SECOND) {
        let quota = format!("q{round}");
        plot.quota_until(&quota, end);
        let from = end.saturating_sub(plot.rng.between(5 * MILLI, 50 * MILLI));
        // Not while it reads, but when it has decided.
        let stalls = from.saturating_add(plot.rng.between(400 * MICRO, MILLI));
        let span = (stalls, stalls.saturating_add(3 * MILLI));
        plot.fault_by((FaultKind::Stall, signed(400 * MILLI)), 0, span);
        plot.crowd(from, (2, Some(0)), consume(&quota, 1));
        plot.ask(from.saturating_sub(100 * MILLI), 0, consume(&quota, 1));
    }
}

fn late(plot: &mut Plot) {
    plot.settings.patience = 2 * SECOND;
    plot.settings.heal = 14 * SECOND;
    plot.quota("q", 30);
    for (_, at) in rounds(3, SECOND) {
        plot.fault(FaultKind::Late, 0, (at, at.saturating_add(10 * MILLI)));
        plot.crowd(at, (2, Some(0)), consume("q", 1));
        plot.crowd(at.saturating_add(200 * MILLI), (2, Some(1)), consume("q", 1));
    }
}

fn storm(plot: &mut Plot) {
    plot.settings.nodes = 4;
    plot.settings.retries_max = *plot.rng.pick(&[1, 2, 16]);
    plot.quota("q", 12);
    plot.quota("r", 12);
    for (_, at) in rounds(4, 400 * MILLI) {
        for later in 0..4 {
            let at = at.saturating_add(MILLI.saturating_mul(later));
            let quota = *plot.rng.pick(&["q", "r"]);
            plot.crowd(at, (4, None), consume(quota, 1));
            let items = json!([{ "quota": "q", "units": 1 }, { "quota": "r", "units": 1 }]);
            plot.crowd(at, (1, None), ("checks.consume", json!({ "items": items })));
        }
    }
}

fn gone(plot: &mut Plot) {
    plot.settings.patience = 50 * MILLI;
    plot.quota("q", 30);
    for (_, at) in rounds(4, SECOND) {
        let fault = *plot.rng.pick(&[FaultKind::Slow, FaultKind::CutReplies]);
        plot.fault(fault, 0, (at, at.saturating_add(100 * MILLI)));
        plot.crowd(at.saturating_add(MILLI), (3, Some(0)), consume("q", 1));
        plot.crowd(at.saturating_add(20 * MILLI), (3, Some(0)), consume("q", 1));
        plot.crowd(at.saturating_add(80 * MILLI), (3, Some(0)), consume("q", 1));
    }
}

fn unreadable(plot: &mut Plot) {
    plot.settings.cache_max = 512;
    for quota in ["q", "r", "s"] {
        plot.quota(quota, 30);
    }
    for (_, at) in rounds(3, SECOND) {
        let fault = *plot.rng.pick(&[FaultKind::Corrupt, FaultKind::Newer]);
        plot.fault(fault, 0, (at, at.saturating_add(50 * MILLI)));
        for quota in ["q", "r", "s"] {
            plot.crowd(at.saturating_add(5 * MILLI), (2, None), consume(quota, 1));
        }
    }
}
