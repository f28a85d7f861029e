//! One partition, decided by the production rules alone and by the reference model, side by side.
//!
//! Invariant: both get the same command at the same instant, and neither sees the other's state.
//! What differs is a failure that prints everything that led to it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bellpunch::{Decision, Duration, Request, Timestamp, View, command, decide};
use bellpunch_check::instant::print;
use bellpunch_check::model::limits::Limits;
use bellpunch_check::model::state::State;
use bellpunch_check::model::{Call, Verdict};
use serde_json::{Value, json};

use crate::gone::Gone;

/// The instant that offsets count from: 2027-01-15T08:00:00Z.
pub(crate) const START: i128 = 1_800_000_000_000_000_000;

/// An instant so many nanoseconds after the start, as it is written.
pub(crate) fn written(offset: i128) -> String {
    print(START.checked_add(offset).unwrap())
}

/// What the rules answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Yes.
    Yes { reply: Value, writes: BTreeSet<String> },
    /// No.
    No { code: String, data: Value },
}

/// The rules on an empty partition.
#[derive(Clone, Debug, Default)]
struct Rules {
    view: View,
    gone: Gone,
    drawn: u128,
}

/// A command's name and content.
pub(crate) type Command = (&'static str, Value);

/// Whether a content can be read at all. A list that has one that cannot is refused as a whole
/// before anything is decided, which is no model's to say.
pub(crate) fn is_legible((cmd, args): &Command) -> bool {
    (command(cmd).unwrap().parse)(args.clone()).is_ok()
}

impl Rules {
    /// Decides commands as one list, and keeps what it accepts.
    fn send(&mut self, commands: &[Command], at: i128) -> Answer {
        let mut parsed = Vec::new();
        for (index, (cmd, args)) in commands.iter().enumerate() {
            match (command(cmd).unwrap().parse)(args.clone()) {
                Ok(command) => parsed.push(command),
                Err(error) => {
                    let data = json!({ "field": error.field, "index": index,
                                       "reason": error.reason });
                    return Answer::No { code: error.code.to_owned(), data };
                }
            }
        }
        let mut draw = || {
            self.drawn = self.drawn.wrapping_add(1);
            self.drawn.wrapping_shl(64)
        };
        let request = Request {
            entropy: parsed.iter().map(|_| draw()).collect(),
            commands: parsed,
            key: None,
            keep: Duration::from_days(7),
            dry_run: false,
            journaling: bellpunch::Journaling::Off,
        };
        let now = Timestamp::from_nanos(u128::try_from(at).unwrap()).unwrap();
        loop {
            match decide(&mut self.view, &request, now) {
                Decision::Load { records, due } => {
                    for key in records {
                        let loaded = self.gone.loaded(&key);
                        self.view.load(key, loaded);
                    }
                    assert!(due.is_empty(), "no rule here asks for due records");
                }
                Decision::Accepted { replies, touched, versions, at: decided, .. } => {
                    assert_eq!(decided, now, "times here never go back");
                    self.gone.note(&self.view, &touched.writes);
                    self.view.settle(&touched.writes);
                    let reply = replies.into_iter().map(|reply| reply.to_json()).collect();
                    return Answer::Yes { reply, writes: versions.into_keys().collect() };
                }
                Decision::Rejected { rejection, touched, index, .. } => {
                    assert!(touched.writes.is_empty(), "a rejection writes nothing");
                    let mut data = Value::Object(rejection.data);
                    data["index"] = json!(index);
                    return Answer::No { code: rejection.code.to_owned(), data };
                }
                other @ (Decision::Failed(_) | _) => panic!("{other:?}"),
            }
        }
    }
}

/// The rules and the model, with all that was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    rules: Rules,
    model: State,
    sent: Vec<Rc<(i128, Vec<Command>)>>,
}

impl Pair {
    /// Sends one command to both, and compares.
    pub(crate) fn send(&mut self, cmd: &'static str, args: Value, offset: i128) -> Answer {
        match self.send_all(&[(cmd, args)], offset) {
            Answer::Yes { mut reply, writes } => Answer::Yes { reply: reply[0].take(), writes },
            no @ Answer::No { .. } => no,
        }
    }

    /// Sends a list to both, and compares. A list of one goes to the model as a command.
    pub(crate) fn send_all(&mut self, commands: &[Command], offset: i128) -> Answer {
        let at = START.checked_add(offset).unwrap();
        let told = self.rules.send(commands, at);
        self.sent.push(Rc::new((offset, commands.to_vec())));
        let verdict = self.judge(commands, &told, at);
        if let Err(why) = matches(&told, &verdict, commands) {
            panic!("{}rules: {told:?}\nmodel: {verdict:?}\n{why}", self.history());
        }
        if let Err(broken) = self.model.check(at) {
            panic!("{}{broken}", self.history());
        }
        told
    }

    fn history(&self) -> String {
        let line = |(offset, commands): &(i128, Vec<Command>)| {
            let commands = commands.iter().map(|(cmd, args)| format!(" {cmd} {args}"));
            format!("@{offset}{}\n", commands.collect::<String>())
        };
        self.sent.iter().map(|sent| line(sent)).collect()
    }

    fn judge(&mut self, commands: &[Command], told: &Answer, at: i128) -> Verdict {
        let drawn = match told {
            Answer::Yes { reply, .. } => Some(reply),
            Answer::No { .. } => None,
        };
        if let [(cmd, args)] = commands {
            let drawn = drawn.and_then(|replies| replies.get(0));
            return self.model.apply(&Call { cmd, args, at, drawn });
        }
        let list: Value =
            commands.iter().map(|(cmd, args)| json!({ "cmd": cmd, "args": args })).collect();
        self.model.apply(&Call { cmd: "commands", args: &list, at, drawn })
    }
}

/// Whether the answer is what the model says. Of limits that is what it states, of everything else
/// all there is but the words for people.
fn matches(told: &Answer, verdict: &Verdict, commands: &[Command]) -> Result<(), String> {
    let own = ["tickets.", "uploads.", "currencies.", "outcomes."];
    let is_own = |(cmd, _): &Command| own.iter().any(|collection| cmd.starts_with(collection));
    let is_exact = commands.iter().all(is_own);
    let is_single = commands.len() == 1;
    match (told, verdict) {
        (Answer::Yes { reply, writes }, Verdict::Accepted { reply: stated, writes: wrote }) => {
            let reply = if is_single { &reply[0] } else { reply };
            if !(agrees(reply, stated) && (!is_exact || *reply == there(stated))) {
                return Err("another reply".to_owned());
            }
            let writes = writes.iter().filter(|name| Limits::states(name));
            if writes.eq(wrote.iter().filter(|name| Limits::states(name))) {
                Ok(())
            } else {
                Err("other records".to_owned())
            }
        }
        (Answer::No { code, data }, Verdict::Rejected { code: expected, reply }) => {
            if code != expected {
                return Err("another code".to_owned());
            }
            let mut data = data.clone();
            let fields = data.as_object_mut().unwrap();
            let of_limits = ["quota_", "policy_", "algorithm_", "too_many_", "exceeds_", "rate_"];
            let is_exact = is_exact && !of_limits.iter().any(|start| code.starts_with(start));
            if code == "invalid_request" {
                fields.remove("reason");
            }
            if is_single {
                fields.remove("index");
            } else if code == "already_pending" && reply.get("ticket").is_none() {
                fields.remove("ticket");
            }
            let agrees = agrees(&data, reply) && (!is_exact || data == there(reply));
            if agrees { Ok(()) } else { Err("other data".to_owned()) }
        }
        _ => Err("another verdict".to_owned()),
    }
}

/// Whether everything that is stated is so.
fn agrees(told: &Value, stated: &Value) -> bool {
    match (told, stated) {
        (Value::Object(told), Value::Object(stated)) => stated.iter().all(|(name, value)| {
            let is_empty = value.is_null() || *value == json!({});
            told.get(name).map_or(is_empty, |told| agrees(told, value))
        }),
        (Value::Array(told), Value::Array(stated)) => {
            told.len() == stated.len()
                && told.iter().zip(stated).all(|(told, stated)| agrees(told, stated))
        }
        _ => told == stated,
    }
}

/// What is stated to be there: a field that is stated as `null` must be absent.
fn there(stated: &Value) -> Value {
    match stated {
        Value::Array(list) => list.iter().map(there).collect(),
        Value::Object(fields) => {
            let some = fields.iter().filter(|(_, value)| !value.is_null());
            some.map(|(name, value)| (name.clone(), there(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => stated.clone(),
    }
}

/// How often each command was answered how: `tickets.redeem ok`, `tickets.redeem wrong_holder`.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<(&'static str, String), u64>);

impl Counts {
    /// Counts one answer; that of a list under `commands`.
    pub(crate) fn count(&mut self, commands: &[Command], answer: &Answer) {
        let cmd = if let [(cmd, _)] = commands { cmd } else { "commands" };
        let answer = match answer {
            Answer::Yes { .. } => "ok",
            Answer::No { code, .. } => code,
        };
        *self.0.entry((cmd, answer.to_owned())).or_default() += 1;
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Prints them, and asserts that these answers are among them.
    pub(crate) fn assert_reached(&self, wanted: &[(&'static str, &str)]) {
        for ((cmd, answer), count) in &self.0 {
            println!("{count:>6} {cmd} {answer}");
        }
        for (cmd, answers) in wanted {
            for answer in answers.split_whitespace() {
                let is_reached = self.0.contains_key(&(*cmd, answer.to_owned()));
                assert!(is_reached, "{cmd} {answer} was never reached");
            }
        }
    }
}

/// Every three of these, in order.
pub(crate) fn every_three(kinds: &[&'static str]) -> Vec<[&'static str; 3]> {
    let mut all = Vec::new();
    for (third, last) in kinds.iter().enumerate() {
        for (second, middle) in kinds[..third].iter().enumerate() {
            all.extend(kinds[..second].iter().map(|first| [*first, *middle, *last]));
        }
    }
    all
}

/// Numbers from a seed (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From `BELLPUNCH_SEED`, or a seed of its own; it is printed either way.
    pub(crate) fn of(default: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a seed is given back to a test this way")]
        let given = std::env::var("BELLPUNCH_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(default);
        println!("BELLPUNCH_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Others that do not depend on how many are drawn from these.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(u64::try_from(from.len()).unwrap());
        &from[usize::try_from(place).unwrap()]
    }

    /// One time out of so many.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// All sequences of at most `length` commands of an alphabet, at instants that never fall, each
/// compared with the model.
///
/// A command that writes nothing (a refusal, a read) leaves everything as it was, which is asserted.
/// So what comes after one is a shorter sequence that is enumerated as well, and only what wrote is
/// gone on from.
pub(crate) struct Enumeration<'a> {
    /// What may be sent, given what was accepted so far and the instant.
    pub(crate) alphabet: &'a dyn Fn(&[Answer], i128) -> Vec<Command>,
    /// When, in order.
    pub(crate) instants: &'a [i128],
}

impl Enumeration<'_> {
    /// Goes on from a pair that got these answers; counts each sequence by its last answer.
    pub(crate) fn extend(
        &self,
        (pair, answers): (&Pair, &mut Vec<Answer>),
        length: usize,
        counts: &mut Counts,
    ) {
        if length == 0 {
            return;
        }
        for (place, at) in self.instants.iter().enumerate() {
            let later = Enumeration { instants: &self.instants[place..], ..*self };
            for command in (self.alphabet)(answers, *at) {
                let mut next = pair.clone();
                let commands = [command];
                let answer = next.send_all(&commands, *at);
                counts.count(&commands, &answer);
                let wrote = matches!(&answer, Answer::Yes { writes, .. } if !writes.is_empty());
                if wrote {
                    answers.push(answer);
                    later.extend((&next, answers), length - 1, counts);
                    answers.pop();
                } else {
                    assert_eq!(next.model, pair.model, "nothing written, nothing changed");
                }
            }
        }
    }
}
