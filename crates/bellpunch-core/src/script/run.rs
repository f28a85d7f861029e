//! Runs a script on a world.
//!
//! Commands sent at once may be decided in any order, and what comes later in the script depends on
//! which: so a script is run once for every order of every such line, apart and in one batch, each
//! time in a fresh world. Every answer must be legal, and every legal one must have come.
//!
//! Beside what the script says, this is tested of every answer: a replay is its first receipt
//! again; only an accepted command raises versions, each by one; and a refused command passes at
//! its `retry_after`, not a nanosecond earlier.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::compare::differences;
use super::model::{Call, Expect, Expected, KeyChoice, Line, Order, Script, Step, Wanted};
use super::world::{Answer, Sending, Unsupported, World};
use crate::audit::audit;
use crate::{Duration, IdempotencyKey, Timestamp, Versions, command};

/// Calls of one line up to which all their orders are run; above, as written and backwards.
const ALL_ORDERS_MAX: usize = 6;
/// How often one script is run at most.
const RUNS_MAX: usize = 4_096;
/// Records that are never purged, so their versions rise without gaps.
const LASTING: [&str; 8] = [
    "accounts/",
    "invoices/",
    "payments/",
    "policies/",
    "quotas/",
    "retainers/",
    "tickets/",
    "uploads/",
];

/// What a command makes, by its name in the reply.
const MADE: [&str; 6] = ["ticket", "consumption", "refund", "dispute", "hold", "transfer"];

/// Where a script and a world disagree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The script's id.
    pub script: String,
    /// The number of the line in the text.
    pub line: usize,
    /// What was wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}): {}", self.script, self.line, self.message)
    }
}

impl std::error::Error for Failure {}

/// What came of a script.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Report {
    /// All answers were as they should be, in so many runs.
    Passed {
        /// How many orders were run.
        runs: usize,
    },
    /// This world cannot run it.
    Unsupported(Unsupported),
}

/// How the calls of a line are sent in one run.
#[derive(Clone, Debug)]
struct Plan {
    /// Places of the calls, in the order sent.
    order: Vec<usize>,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Apart,
    Batch,
}

/// Runs a script in all its orders, each in a world from `fresh`.
///
/// # Errors
/// At the first answer that is not as it should be.
pub fn run<W: World>(script: &Script, mut fresh: impl FnMut() -> W) -> Result<Report, Failure> {
    let plans: Vec<Vec<Plan>> = script.lines.iter().map(plans).collect();
    let runs = plans.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul);
    let runs = runs.filter(|runs| *runs <= RUNS_MAX).ok_or_else(|| Failure {
        script: script.id.clone(),
        line: script.line,
        message: format!("there are more than {RUNS_MAX} orders to run"),
    })?;
    let mut reached = BTreeSet::new();
    for run in 0..runs {
        let mut rest = run;
        let chosen: Vec<&Plan> = plans
            .iter()
            .filter_map(|plans| {
                let plan = plans.get(rest.checked_rem(plans.len())?);
                rest = rest.checked_div(plans.len())?;
                plan
            })
            .collect();
        let mut one = Run::new(script, fresh());
        match one.all(&chosen) {
            Ok(alternatives) => reached.extend(alternatives),
            Err(Stop::Unsupported(what)) => return Ok(Report::Unsupported(what)),
            Err(Stop::Wrong(line, message)) => {
                let message = format!("{message} (order {:?})", orders(&chosen));
                return Err(Failure { script: script.id.clone(), line, message });
            }
        }
    }
    for line in &script.lines {
        let Expect::Counts(alternatives) = &line.expect else { continue };
        let all = 0..alternatives.len();
        if let Some(index) = all.into_iter().find(|i| !reached.contains(&(line.number, *i))) {
            let message = format!("in no order came {:?}", alternatives.get(index));
            return Err(Failure { script: script.id.clone(), line: line.number, message });
        }
    }
    Ok(Report::Passed { runs })
}

fn orders(chosen: &[&Plan]) -> Vec<String> {
    let sent = chosen.iter().filter(|plan| 1 < plan.order.len() && plan.order.len() < 10);
    sent.map(|plan| format!("{:?} {:?}", plan.how, plan.order)).collect()
}

fn plans(line: &Line) -> Vec<Plan> {
    let written: Vec<usize> = (0..line.calls.len()).collect();
    if line.order == Order::InTurn || line.calls.len() < 2 {
        return vec![Plan { order: written, how: How::Apart }];
    }
    let mut orders = Vec::new();
    if line.calls.windows(2).all(|pair| matches!(pair, [a, b] if a == b)) {
        orders.push(written);
    } else if line.calls.len() <= ALL_ORDERS_MAX {
        permutations(&line.calls, &mut Vec::new(), &mut orders);
    } else {
        orders.push(written.iter().rev().copied().collect());
        orders.push(written);
    }
    let both =
        |order: Vec<usize>| [How::Apart, How::Batch].map(|how| Plan { order: order.clone(), how });
    orders.into_iter().flat_map(both).collect()
}

/// All orders of these calls; of equal ones only the first order.
fn permutations(calls: &[Call], begun: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
    if begun.len() == calls.len() {
        all.push(begun.clone());
        return;
    }
    let mut tried: Vec<&Call> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        if begun.contains(&index) || tried.contains(&call) {
            continue;
        }
        tried.push(call);
        begun.push(index);
        permutations(calls, begun, all);
        begun.pop();
    }
}

enum Stop {
    Wrong(usize, String),
    Unsupported(Unsupported),
}

impl From<Unsupported> for Stop {
    fn from(what: Unsupported) -> Self {
        Self::Unsupported(what)
    }
}

/// One run of a script in one world.
struct Run<'s, W> {
    script: &'s Script,
    world: W,
    now: Timestamp,
    /// The latest time so far: no decision is earlier once it was made at this one.
    latest: Timestamp,
    ids: BTreeMap<String, Value>,
    fresh_keys: u64,
    receipts: BTreeMap<IdempotencyKey, Answer>,
    versions: Versions,
}

/// A call as it was sent, if it had the right shape.
struct Sent {
    text: String,
    sending: Option<Sending>,
    answer: Answer,
}

impl<'s, W: World> Run<'s, W> {
    const fn new(script: &'s Script, world: W) -> Self {
        Self {
            script,
            world,
            now: Timestamp::EPOCH,
            latest: Timestamp::EPOCH,
            ids: BTreeMap::new(),
            fresh_keys: 0,
            receipts: BTreeMap::new(),
            versions: Versions::new(),
        }
    }

    /// Runs all lines; gives the alternatives that came, by line and place.
    fn all(&mut self, plans: &[&Plan]) -> Result<Vec<(usize, usize)>, Stop> {
        let start = self.script.lines.first().map_or(Timestamp::EPOCH, |line| line.at);
        self.tell(start);
        for call in &self.script.setup {
            let sent = self.one(call, self.script.line)?;
            if sent.answer.word != "ok" {
                let message = format!("setup `{}`: {}", call.text, shown(&sent.answer));
                return Err(Stop::Wrong(self.script.line, message));
            }
        }
        let mut reached = Vec::new();
        for (line, plan) in self.script.lines.iter().zip(plans) {
            self.tell(line.at);
            let sent = match plan.how {
                How::Apart => {
                    let calls = plan.order.iter().filter_map(|index| line.calls.get(*index));
                    calls.map(|call| self.one(call, line.number)).collect::<Result<Vec<_>, _>>()?
                }
                How::Batch => self.batch(line, &plan.order)?,
            };
            let wrong = |message: String| Stop::Wrong(line.number, message);
            let expect = self.told(&line.expect).map_err(wrong)?;
            if let Some(index) = judge(&expect, &sent).map_err(wrong)? {
                reached.push((line.number, index));
            }
            self.promised(&sent).map_err(wrong)?;
            let found = audit(self.world.records(), self.latest);
            if let Some(finding) = found.first() {
                return Err(wrong(format!("the audit found {finding}")));
            }
        }
        Ok(reached)
    }

    fn tell(&mut self, now: Timestamp) {
        self.now = now;
        self.latest = self.latest.max(now);
        self.world.set_clock(now);
    }

    fn one(&mut self, call: &Call, line: usize) -> Result<Sent, Stop> {
        let wrong = |message: String| Stop::Wrong(line, message);
        let done = |()| Answer::code("ok");
        let (sending, answer) = match &call.step {
            Step::Restart => (None, self.world.restart().map(done)?),
            Step::StoreDown => (None, self.world.store_down().map(done)?),
            Step::StoreUp => (None, self.world.store_up().map(done)?),
            Step::Command { name, content } => match self.prepare(call, name, content) {
                Ok(sending) => {
                    let answer = self.world.send(&sending)?;
                    (Some(sending), answer)
                }
                Err(Unsent::Shape(answer)) => (None, *answer),
                Err(Unsent::Script(message)) => return Err(wrong(message)),
            },
            Step::List(commands) => match self.prepare_list(call, commands) {
                Ok(sending) => {
                    let answer = self.world.send(&sending)?;
                    (Some(sending), answer)
                }
                Err(Unsent::Shape(answer)) => (None, *answer),
                Err(Unsent::Script(message)) => return Err(wrong(message)),
            },
        };
        let sent = Sent { text: call.text.clone(), sending, answer };
        self.note(call, &sent);
        self.receipted(std::slice::from_ref(&sent)).map_err(wrong)?;
        Ok(sent)
    }

    fn batch(&mut self, line: &Line, order: &[usize]) -> Result<Vec<Sent>, Stop> {
        let wrong = |message: String| Stop::Wrong(line.number, message);
        let mut calls = Vec::new();
        let mut prepared = Vec::new();
        for call in order.iter().filter_map(|index| line.calls.get(*index)) {
            let Step::Command { name, content } = &call.step else {
                return Err(wrong(format!("`{}` cannot be sent at once with others", call.text)));
            };
            calls.push(call);
            prepared.push(match self.prepare(call, name, content) {
                Ok(sending) => Ok(sending),
                Err(Unsent::Shape(answer)) => Err(*answer),
                Err(Unsent::Script(message)) => return Err(wrong(message)),
            });
        }
        let sendings: Vec<Sending> =
            prepared.iter().filter_map(|one| one.as_ref().ok()).cloned().collect();
        let mut answers = self.world.send_at_once(&sendings)?.into_iter();
        let mut all = Vec::new();
        for (call, prepared) in calls.into_iter().zip(prepared) {
            let text = call.text.clone();
            let sent = match prepared {
                Err(answer) => Sent { text, sending: None, answer },
                Ok(sending) => {
                    let answer = answers.next().unwrap_or_else(|| Answer::code("no_answer"));
                    Sent { text, sending: Some(sending), answer }
                }
            };
            self.note(call, &sent);
            all.push(sent);
        }
        self.receipted(&all).map_err(wrong)?;
        Ok(all)
    }

    fn prepare_list(
        &mut self,
        call: &Call,
        commands: &[(&'static str, Value)],
    ) -> Result<Sending, Unsent> {
        let mut all = Vec::new();
        for (name, content) in commands {
            all.push(self.prepare(call, name, content)?);
        }
        let mut all = all.into_iter();
        let first = all.next().ok_or_else(|| Unsent::Script("a list of nothing".to_owned()))?;
        Ok(Sending { rest: all.map(|sending| sending.command).collect(), ..first })
    }

    fn prepare(&mut self, call: &Call, name: &str, content: &Value) -> Result<Sending, Unsent> {
        let content = self.filled(content).map_err(Unsent::Script)?;
        let unknown = || Unsent::Script(format!("no command is called {name}"));
        let parsed = (command(name).ok_or_else(unknown)?.parse)(content);
        let command = parsed.map_err(|error| {
            let json = json!({ "field": error.field, "reason": error.reason });
            Unsent::Shape(Box::new(Answer { json, ..Answer::code(error.code) }))
        })?;
        let key = match &call.key {
            KeyChoice::None => None,
            KeyChoice::Given(key) => Some(key.clone()),
            KeyChoice::Fresh => {
                self.fresh_keys = self.fresh_keys.saturating_add(1);
                Some(format!("fresh-{}", self.fresh_keys))
            }
        };
        let key = key.map(|key| {
            let refused = |_| Unsent::Shape(Box::new(Answer::code("idempotency_key_invalid")));
            IdempotencyKey::new(&key).map_err(refused)
        });
        Ok(Sending {
            command,
            rest: Vec::new(),
            key: key.transpose()?,
            dry_run: call.dry_run,
            lost: call.lost,
            stall_until: call.stall_until,
        })
    }

    /// The content with drawn ids and the time in their places.
    fn filled(&self, content: &Value) -> Result<Value, String> {
        Ok(match content {
            Value::Object(fields) => match fields.iter().next() {
                Some((name, _)) if name == "$now" => Value::String(self.now.to_string()),
                Some((name, Value::String(id))) if name == "$id" => {
                    let missing = || format!("nothing was made that is called {id}");
                    self.ids.get(id).cloned().ok_or_else(missing)?
                }
                Some(_) | None => {
                    let fields = fields
                        .iter()
                        .map(|(name, value)| self.filled(value).map(|value| (name.clone(), value)));
                    Value::Object(fields.collect::<Result<Map<_, _>, _>>()?)
                }
            },
            Value::Array(values) => {
                let values = values.iter().map(|value| self.filled(value));
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => content.clone(),
        })
    }

    /// What must come back, with drawn ids in their places.
    fn told(&self, expect: &Expect) -> Result<Expect, String> {
        let mut expect = expect.clone();
        let all: Vec<&mut Expected> = match &mut expect {
            Expect::One(expected) => vec![expected],
            Expect::Counts(alternatives) => {
                alternatives.iter_mut().flatten().map(|(_, expected)| expected).collect()
            }
        };
        for field in all.into_iter().flat_map(|expected| &mut expected.fields) {
            if let Wanted::Json(json) = &mut field.wanted {
                *json = self.filled(json)?;
            }
        }
        Ok(expect)
    }

    /// Remembers what was made, by the name the script has for it.
    fn note(&mut self, call: &Call, sent: &Sent) {
        let made = |answer: &Answer| {
            let made = MADE.iter().find_map(|name| answer.json.get(name))?;
            made.get("id").cloned()
        };
        if let (Some(name), "ok") = (&call.binds, sent.answer.word.as_str())
            && let Some(id) = made(&sent.answer)
        {
            self.ids.insert(name.clone(), id);
        }
    }

    /// Tests receipts against those before: replays and versions.
    fn receipted(&mut self, all: &[Sent]) -> Result<(), String> {
        let mut rises: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let mut unsure = false;
        for Sent { text, sending, answer } in all {
            let Some(sending) = sending else { continue };
            unsure |= answer.word == "unknown";
            if (answer.word != "ok" || answer.dry_run) && !answer.versions.is_empty() {
                return Err(format!("`{text}` wrote nothing, but raised {:?}", answer.versions));
            }
            if answer.replayed {
                self.replayed(sending, answer)?;
                continue;
            }
            for (record, version) in &answer.versions {
                rises.entry(record).or_default().push(version.get());
            }
            if let (Some(key), "ok", false) = (&sending.key, answer.word.as_str(), answer.dry_run) {
                self.receipts.insert(key.clone(), answer.clone());
            }
        }
        for (record, mut versions) in rises {
            versions.sort_unstable();
            let last = self.versions.get(record).map(|version| version.get());
            let lasting =
                !self.world.is_swept() && LASTING.iter().any(|kind| record.starts_with(kind));
            let mut before = last;
            for version in &versions {
                let next = before.map(|before| before.saturating_add(1));
                let fits = match next {
                    None => true,
                    Some(next) if lasting => next == *version,
                    Some(next) => next <= *version,
                };
                if !fits {
                    return Err(format!("{record} rose from {last:?} to {versions:?}"));
                }
                before = Some(*version);
            }
            if let Some(version) = before {
                self.versions.insert(record.to_owned(), crate::Version::new(version));
            }
        }
        if unsure {
            // What was written without a receipt is not known.
            self.versions.clear();
        }
        Ok(())
    }

    fn replayed(&self, sending: &Sending, answer: &Answer) -> Result<(), String> {
        let Some(key) = &sending.key else {
            return Err("a command without a key was answered from a record".to_owned());
        };
        // No first receipt: its reply was lost.
        let Some(first) = self.receipts.get(key) else { return Ok(()) };
        if first.json != answer.json || first.at != answer.at || first.versions != answer.versions {
            return Err(format!("a replay differs: {} then {}", shown(first), shown(answer)));
        }
        Ok(())
    }

    /// Tests what refusals promise: at `retry_after` the same command passes, not earlier.
    fn promised(&mut self, all: &[Sent]) -> Result<(), String> {
        let mut refused = all.iter().rev().filter_map(|sent| {
            let sending = sent.sending.as_ref().filter(|_| sent.answer.word != "ok")?;
            let nanos = sent.answer.json.get("retry_after_ns")?.as_u64()?;
            Some((sent, sending, nanos, sent.answer.at?))
        });
        // The last one saw what all of them left; earlier ones promised for their own time.
        let Some((sent, sending, nanos, at)) = refused.next() else { return Ok(()) };
        let after = |nanos: u64| match Duration::checked(nanos.into()) {
            Some(span) => at.plus(span),
            None => Some(at),
        };
        for (nanos, passes) in [(nanos, true), (nanos.saturating_sub(1), false)] {
            let Some(then) = after(nanos) else { continue };
            let Some(answer) = self.world.probe(sending, then) else { return Ok(()) };
            if (answer.word == "ok") != passes {
                let text = &sent.text;
                let promise = shown(&sent.answer);
                return Err(format!(
                    "`{text}` was told {promise}; {nanos} ns later: {}",
                    shown(&answer)
                ));
            }
        }
        Ok(())
    }
}

enum Unsent {
    /// The command refused its content.
    Shape(Box<Answer>),
    /// The script is wrong.
    Script(String),
}

fn shown(answer: &Answer) -> String {
    format!("{} {}", answer.word, answer.json)
}

/// Compares answers with what was to come; gives the place of the alternative that came.
fn judge(expect: &Expect, all: &[Sent]) -> Result<Option<usize>, String> {
    match expect {
        Expect::One(expected) => {
            for sent in all {
                let differences = differences(&sent.answer, expected);
                if !differences.is_empty() {
                    let differences = differences.join("; ");
                    let answer = shown(&sent.answer);
                    return Err(format!("`{}`: {differences}; the answer: {answer}", sent.text));
                }
            }
            Ok(None)
        }
        Expect::Counts(alternatives) => {
            let like = |expected: &Expected| {
                all.iter().filter(|sent| differences(&sent.answer, expected).is_empty()).count()
            };
            let came = alternatives.iter().position(|alternative| {
                alternative.iter().all(|(count, expected)| like(expected) == *count)
            });
            let came = came.ok_or_else(|| {
                let mut answers: BTreeMap<String, usize> = BTreeMap::new();
                for sent in all {
                    let count = answers.entry(shown(&sent.answer)).or_default();
                    *count = count.saturating_add(1);
                }
                let first: Vec<_> = answers.into_iter().take(4).collect();
                format!("none of the legal counts came, but {first:?}")
            })?;
            Ok(Some(came))
        }
    }
}
