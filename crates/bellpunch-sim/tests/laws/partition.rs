//! One partition, decided by the production rules alone and by the reference model, side by side.
//!
//! Invariant: both get the same command at the same instant, and neither sees the other's state.
//! What differs is a failure that prints everything that led to it.

use std::collections::{BTreeMap, BTreeSet};

use bellpunch::{Decision, Duration, Loaded, Request, Timestamp, View, command, decide};
use bellpunch_check::instant::print;
use bellpunch_check::model::state::State;
use bellpunch_check::model::{Call, Verdict};
use serde_json::{Value, json};

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
#[derive(Debug, Default)]
struct Rules {
    view: View,
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
        };
        let now = Timestamp::from_nanos(u128::try_from(at).unwrap()).unwrap();
        loop {
            match decide(&mut self.view, &request, now) {
                Decision::Load { records, due } => {
                    for key in records {
                        self.view.load(key, Loaded::default());
                    }
                    assert!(due.is_empty(), "no rule here asks for due records");
                }
                Decision::Accepted { replies, touched, versions, at: decided, .. } => {
                    assert_eq!(decided, now, "times here never go back");
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
#[derive(Debug, Default)]
pub(crate) struct Pair {
    rules: Rules,
    model: State,
    sent: Vec<String>,
    /// How often each command was answered how: `tickets.redeem ok`, `tickets.redeem wrong_holder`.
    pub(crate) counts: BTreeMap<String, u64>,
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
        self.sent.push(format!("@{offset} {commands:?}"));
        let verdict = self.judge(commands, &told, at);
        if let Err(why) = matches(&told, &verdict, commands) {
            let sent = self.sent.join("\n");
            panic!("{sent}\nrules: {told:?}\nmodel: {verdict:?}\n{why}");
        }
        if let Err(broken) = self.model.check(at) {
            panic!("{}\n{broken}", self.sent.join("\n"));
        }
        let cmd = if let [(cmd, _)] = commands { cmd } else { "commands" };
        let answer = match &told {
            Answer::Yes { .. } => "ok",
            Answer::No { code, .. } => code,
        };
        let count = self.counts.entry(format!("{cmd} {answer}")).or_default();
        *count = count.wrapping_add(1);
        told
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

/// Whether the answer is what the model says: acceptances to the last field and written record,
/// refusals in every field but the words for people.
fn matches(told: &Answer, verdict: &Verdict, commands: &[Command]) -> Result<(), String> {
    let is_single = commands.len() == 1;
    match (told, verdict) {
        (Answer::Yes { reply, writes }, Verdict::Accepted { reply: stated, writes: wrote }) => {
            let reply = if is_single { &reply[0] } else { reply };
            if reply != stated {
                return Err("another reply".to_owned());
            }
            if writes == wrote { Ok(()) } else { Err("other records".to_owned()) }
        }
        (Answer::No { code, data }, Verdict::Rejected { code: expected, reply }) => {
            if code != expected {
                return Err("another code".to_owned());
            }
            let mut data = data.clone();
            let fields = data.as_object_mut().unwrap();
            if code == "invalid_request" {
                fields.remove("reason");
            }
            if is_single {
                fields.remove("index");
            } else if code == "already_pending" && reply.get("ticket").is_none() {
                fields.remove("ticket");
            }
            if data == *reply { Ok(()) } else { Err("other data".to_owned()) }
        }
        _ => Err("another verdict".to_owned()),
    }
}

/// How often each command was answered how, over many pairs.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Adds those of one pair.
    pub(crate) fn add(&mut self, pair: &Pair) {
        for (answer, count) in &pair.counts {
            *self.0.entry(answer.clone()).or_default() += count;
        }
    }

    /// Prints them, and asserts that these answers are among them.
    pub(crate) fn assert_reached(&self, wanted: &[(&str, &str)]) {
        for (answer, count) in &self.0 {
            println!("{count:>6} {answer}");
        }
        for (cmd, answers) in wanted {
            for answer in answers.split_whitespace() {
                let answer = format!("{cmd} {answer}");
                assert!(self.0.contains_key(&answer), "{answer} was never reached");
            }
        }
    }
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
