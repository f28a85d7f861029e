//! Valid histories are damaged: each mutant is flagged, or brute force shows that it still holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::history::{Header, History, Line, Read, Rejected};
use crate::instant::{Nanos, print};
use crate::judge::{Judgement, Sequential, Verdict3, judge};
use crate::model::{Call, Verdict};

const NAMES: [&str; 2] = ["a", "b"];
const LIMIT: u64 = 3;

/// Two counters. `take` takes one unit, `both` one of each or none, `look` shows both.
#[derive(Clone, Default)]
struct Pair {
    used: BTreeMap<String, u64>,
}

impl Sequential for Pair {
    fn apply(&mut self, call: &Call<'_>) -> Verdict {
        let of = |name: &str| self.used.get(name).copied().unwrap_or_default();
        let names: Vec<&str> = match call.cmd {
            "pairs.take" => vec![call.args["name"].as_str().unwrap()],
            _ => NAMES.to_vec(),
        };
        let shown: BTreeMap<&str, u64> = names.iter().map(|name| (*name, of(name))).collect();
        if call.cmd == "pairs.read" {
            return Verdict::Accepted { reply: json!(shown), writes: BTreeSet::new() };
        }
        if names.iter().any(|name| LIMIT <= of(name)) {
            return Verdict::Rejected { code: "full".to_owned(), reply: json!(shown) };
        }
        let mut shown = BTreeMap::new();
        for name in names {
            let used = self.used.entry(name.to_owned()).or_default();
            *used += 1;
            shown.insert(name, *used);
        }
        let writes = shown.keys().map(|name| format!("pairs/{name}")).collect();
        Verdict::Accepted { reply: json!(shown), writes }
    }

    fn check(&self, _: Nanos) -> Result<(), String> {
        if self.used.values().all(|used| *used <= LIMIT) { Ok(()) } else { Err("full".to_owned()) }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        (self.0 >> 33) % bound
    }

    fn of<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }
}

fn line(value: Value) -> Line {
    serde_json::from_value(value).unwrap()
}

/// A history that is valid: calls take place one by one, each inside its span.
fn valid(random: &mut Random) -> Vec<Line> {
    let count = 2 + random.below(5);
    let mut state = Pair::default();
    let mut lines = Vec::new();
    for op in 1..=count {
        let place = 100 * op;
        let (sent, returned) = (place - random.below(180).min(place), place + random.below(180));
        let cmd = *random.of(&["pairs.take", "pairs.take", "pairs.both", "pairs.read"]);
        let args = match cmd {
            "pairs.take" => json!({"name": random.of(&NAMES)}),
            _ => json!({}),
        };
        lines.push(json!({"kind": "invoke", "t": sent, "op": op, "proc": "c", "partition": "p",
            "cmd": cmd, "args": args}));
        let nanos = Nanos::from(op);
        let verdict = state.apply(&Call { cmd, args: &args, at: nanos, drawn: None });
        let version = |name: &&str| {
            (format!("pairs/{name}"), state.used.get(*name).copied().unwrap_or_default())
        };
        let versions: BTreeMap<String, u64> = match cmd {
            "pairs.take" => [version(&args["name"].as_str().unwrap())].into(),
            _ => NAMES.iter().map(version).collect(),
        };
        let at = print(nanos);
        lines.push(match verdict {
            Verdict::Accepted { reply, .. } if cmd == "pairs.read" => {
                json!({"kind": "read", "t": returned, "op": op, "at": at, "as_of": versions,
                    "reply": reply})
            }
            Verdict::Accepted { reply, .. } => {
                json!({"kind": "accepted", "t": returned, "op": op, "at": at, "writes": versions,
                    "reply": reply})
            }
            Verdict::Rejected { code, reply } => {
                json!({"kind": "rejected", "t": returned, "op": op, "at": at, "as_of": versions,
                    "code": code, "reply": reply})
            }
            Verdict::Housekeeping | Verdict::NotModelled => unreachable!("all is modelled"),
        });
    }
    for (name, version) in &state.used {
        lines.push(json!({"kind": "record", "partition": "p", "record": format!("pairs/{name}"),
            "version": version, "value": {}}));
    }
    lines.into_iter().map(line).collect()
}

/// One way to damage a history.
const MUTATIONS: [&str; 7] = [
    "swap two replies",
    "drop an acknowledgement",
    "shift a stamp",
    "shift a time",
    "repeat a version",
    "change an amount",
    "move a return before an invoke",
];

/// The ends of calls, as fields.
fn ends(lines: &[Value]) -> Vec<usize> {
    let is_end = |place: &usize| {
        let kind = lines[*place]["kind"].as_str().unwrap();
        ["accepted", "rejected", "read"].contains(&kind)
    };
    (0..lines.len()).filter(is_end).collect()
}

fn mutated(lines: &[Line], mutation: &str, random: &mut Random) -> Vec<Line> {
    let mut lines: Vec<Value> =
        lines.iter().map(|line| serde_json::to_value(line).unwrap()).collect();
    let ends = ends(&lines);
    let (one, other) = (*random.of(&ends), *random.of(&ends));
    match mutation {
        "swap two replies" => {
            let (ops, times) = (
                (lines[one]["op"].clone(), lines[other]["op"].clone()),
                (lines[one]["t"].clone(), lines[other]["t"].clone()),
            );
            (lines[one]["op"], lines[other]["op"]) = (ops.1, ops.0);
            (lines[one]["t"], lines[other]["t"]) = (times.1, times.0);
        }
        "drop an acknowledgement" => drop(lines.remove(one)),
        "shift a stamp" => {
            let t = lines[one]["t"].as_u64().unwrap();
            lines[one]["t"] = (t + random.below(300)).saturating_sub(150).into();
        }
        "shift a time" => lines[one]["at"] = print(Nanos::from(random.below(9))).into(),
        "repeat a version" => {
            for field in ["writes", "as_of"] {
                if !lines[other][field].is_null() && !lines[one][field].is_null() {
                    lines[one][field] = lines[other][field].clone();
                }
            }
        }
        "change an amount" => {
            if let Some(fields) = lines[one]["reply"].as_object_mut() {
                for value in fields.values_mut() {
                    *value = random.below(LIMIT + 1).into();
                }
            }
        }
        _ => {
            let invoke = lines
                .iter()
                .position(|line| line["kind"] == "invoke" && line["op"] == lines[other]["op"]);
            let sent = lines[invoke.unwrap()]["t"].as_u64().unwrap();
            lines[one]["t"] = sent.saturating_sub(1).into();
        }
    }
    lines.into_iter().map(line).collect()
}

/// What brute force takes a history for.
struct Tried<'h> {
    calls: Vec<(u64, u64, &'h str, &'h Value, Option<&'h Line>)>,
    last: BTreeMap<&'h str, u64>,
}

impl<'h> Tried<'h> {
    /// `None` if a call ended before it was sent, or twice.
    fn of(lines: &'h [Line]) -> Option<Self> {
        let mut calls: BTreeMap<u64, (u64, u64, &str, &Value, Option<&Line>)> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for line in lines {
            if let Line::Invoke(call) = line {
                calls.insert(call.op, (call.t, u64::MAX, &call.cmd, &call.args, None));
            }
        }
        for line in lines {
            let (op, t) = match line {
                Line::Invoke(_) => continue,
                Line::Record(record) => {
                    last.insert(record.record.as_str(), record.version);
                    continue;
                }
                Line::Accepted(end) => (end.op, end.t),
                Line::Rejected(end) => (end.op, end.t),
                Line::Read(end) => (end.op, end.t),
                Line::Error(_)
                | Line::Unknown(_)
                | Line::Resolved(_)
                | Line::Floor(_)
                | Line::Entry(_)
                | Line::Fault(_)
                | Line::Note(_) => unreachable!("none is made"),
            };
            let call = calls.get_mut(&op).unwrap();
            if t < call.0 || call.4.is_some() {
                return None;
            }
            (call.1, call.4) = (t, Some(line));
        }
        Some(Self { calls: calls.into_values().collect(), last })
    }

    /// Whether there is an order of all calls that ended, and of some that did not.
    fn holds(&self, state: &Pair, (left, times): (u32, &BTreeMap<String, Nanos>)) -> bool {
        let places = || (0..self.calls.len()).filter(|place| left & (1 << place) != 0);
        let version = |name: &str| state.used.get(name).copied().unwrap_or_default();
        if places().all(|place| self.calls[place].4.is_none())
            && NAMES.iter().all(|name| {
                self.last.get(format!("pairs/{name}").as_str()).copied().unwrap_or_default()
                    == version(name)
            })
        {
            return true;
        }
        places().any(|place| {
            let (sent, _, cmd, args, end) = self.calls[place];
            if places().any(|other| self.calls[other].1 < sent) {
                return false;
            }
            let (mut state, mut times) = (state.clone(), times.clone());
            let before = state.clone();
            let verdict = state.apply(&Call { cmd, args, at: 0, drawn: None });
            let fits = match end {
                None => matches!(verdict, Verdict::Accepted { .. }),
                Some(end) => told_so(end, (&verdict, (&before, &state)), &mut times),
            };
            fits && self.holds(&state, (left & !(1 << place), &times))
        })
    }
}

/// Whether this end is what the model says, at these versions, at a time that has not fallen.
fn told_so(
    end: &Line,
    (verdict, (before, after)): (&Verdict, (&Pair, &Pair)),
    times: &mut BTreeMap<String, Nanos>,
) -> bool {
    let at_versions = |state: &Pair, versions: &BTreeMap<String, u64>| {
        versions.iter().all(|(name, version)| {
            let used = state.used.get(name.trim_start_matches("pairs/")).copied();
            used.unwrap_or_default() == *version
        })
    };
    let time = |at: &str| crate::instant::parse(at).unwrap();
    let not_fallen = |times: &BTreeMap<String, Nanos>, versions: &BTreeMap<String, u64>, at| {
        versions.keys().all(|name| times.get(name).is_none_or(|last| *last <= at))
    };
    match (end, verdict) {
        (Line::Accepted(end), Verdict::Accepted { reply, writes }) => {
            let at = time(&end.at);
            let fits = not_fallen(times, &end.writes, at);
            times.extend(end.writes.keys().map(|name| (name.clone(), at)));
            let names: BTreeSet<String> = end.writes.keys().cloned().collect();
            fits && at_versions(after, &end.writes) && *reply == end.reply && *writes == names
        }
        (Line::Read(end), Verdict::Accepted { reply, writes }) => {
            not_fallen(times, &end.as_of, time(&end.at))
                && at_versions(before, &end.as_of)
                && *reply == end.reply
                && writes.is_empty()
        }
        (Line::Rejected(end), Verdict::Rejected { code, reply }) => {
            not_fallen(times, &end.as_of, time(&end.at))
                && at_versions(before, &end.as_of)
                && *reply == end.reply
                && *code == end.code
        }
        _ => false,
    }
}

fn judged(lines: &[Line]) -> Judgement {
    judge::<Pair>(&History { header: Header::of("kit"), lines: lines.to_vec() })
}

#[test]
fn every_mutant_is_flagged_or_still_valid() {
    let seed = std::env::var("BELLPUNCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(0xBE12);
    let count = std::env::var("BELLPUNCH_HISTORIES").ok().and_then(|count| count.parse().ok());
    let count: usize = count.unwrap_or(3_500);
    let mut random = Random(seed);
    let mut flagged: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut decided = 0_usize;
    for mutation in MUTATIONS.iter().cycle().take(count) {
        let lines = valid(&mut random);
        let judgement = judged(&lines);
        assert_eq!(judgement.verdict, Verdict3::Pass, "seed {seed}: {judgement} {lines:#?}");
        let mutant = mutated(&lines, mutation, &mut random);
        let judgement = judged(&mutant);
        let holds = Tried::of(&mutant).is_some_and(|tried| {
            let all = (1 << tried.calls.len()) - 1;
            tried.holds(&Pair::default(), (all, &BTreeMap::new()))
        });
        let told = format!("BELLPUNCH_SEED={seed}, {mutation}: {judgement} {mutant:#?}");
        match judgement.verdict {
            Verdict3::Pass => assert!(holds, "{told}"),
            Verdict3::Fail => assert!(!holds, "{told}"),
            // Versions that nobody is known to have written stay open.
            Verdict3::Inconclusive => {
                flagged.entry(mutation).or_default()[0] += 1;
                continue;
            }
        }
        decided += 1;
        flagged.entry(mutation).or_default()[usize::from(!holds)] += 1;
    }
    assert!(count < 2 * decided, "most mutants are decided: {decided} of {count}");
    for mutation in MUTATIONS.iter().filter(|name| **name != "drop an acknowledgement") {
        assert!(0 < flagged[mutation][1], "{mutation}: {flagged:?}");
    }
}

/// Refusals and reads as they are told where they rest on what has no version.
fn unnamed(lines: &[Line], random: &mut Random) -> Vec<Line> {
    let mut lines = lines.to_vec();
    for line in &mut lines {
        let is_named = random.below(4) == 0;
        if let (Line::Rejected(Rejected { as_of, .. }) | Line::Read(Read { as_of, .. }), false) =
            (line, is_named)
        {
            as_of.clear();
        }
    }
    lines
}

#[test]
fn calls_that_name_no_versions_are_judged_as_brute_force_judges_them() {
    let seed = std::env::var("BELLPUNCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(0xF2EE);
    let mut random = Random(seed);
    let mut counts = BTreeMap::<(bool, bool), usize>::new();
    for mutation in MUTATIONS.iter().cycle().take(3_500) {
        let lines = unnamed(&valid(&mut random), &mut random);
        let judgement = judged(&lines);
        assert_eq!(judgement.verdict, Verdict3::Pass, "seed {seed}: {judgement} {lines:#?}");
        let mutant = mutated(&lines, mutation, &mut random);
        let judgement = judged(&mutant);
        let holds = Tried::of(&mutant).is_some_and(|tried| {
            let all = (1 << tried.calls.len()) - 1;
            tried.holds(&Pair::default(), (all, &BTreeMap::new()))
        });
        let told = format!("BELLPUNCH_SEED={seed}, {mutation}: {judgement} {mutant:#?}");
        match judgement.verdict {
            Verdict3::Pass => assert!(holds, "{told}"),
            Verdict3::Fail => assert!(!holds, "{told}"),
            Verdict3::Inconclusive => continue,
        }
        *counts.entry((holds, mutant != lines)).or_default() += 1;
    }
    assert!(counts.values().all(|count| 100 < *count) && 2 < counts.len(), "{counts:?}");
}
