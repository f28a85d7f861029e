//! The compact form, of the book: `M01 given; a; b => x; y`, indented lines go on.
//!
//! Given in every script: the zone Asia/Riyadh, the client C (and D), an account `bank` of the
//! outside, the date 2025-06-15. All sums are SAR unless a code stands behind them (`100 USD`).
//!
//! A name says what it is by its letter: `R…` a retainer, `I…` an invoice, `P…` a payment, `A…` or
//! `B…` an account, `J…` a job, `U…` a client. `R=100`, `I=100`, `P=100>I` and `A=100` make one. `K:
//! consume …` calls what the command makes `K`. A part on the right that begins with such a name is
//! a read of it at that instant, and its first word may be the balance: `R 4000`.
//!
//! Of the parts on the left the last ones are answered on the right, those before them must be
//! accepted. Every command has an idempotency key of its own unless it names one.

use serde_json::{Map, Value, json};

use super::compact::{accepted, parts, schedule_apart};
use super::full::{code, modifier, sums_are, take_repeats, wanted};
use super::model::{
    Alternative, Call, Expect, Expected, Field, KeyChoice, Line, Order, ParseError, Script, Step,
};
use super::value;
use crate::Timestamp;

const DAY: &str = "2025-06-15T00:00:00Z";
const CURRENCY: &str = "SAR";

type Parsed<T> = Result<T, String>;
/// The wire name of a command, and its content.
type Made = (&'static str, Map<String, Value>);

/// Reads scripts of the book. Lines that begin with `#` are comments.
///
/// # Errors
/// At the first line that is not understood to its last word.
pub fn parse_book(text: &str) -> Result<Vec<Script>, ParseError> {
    let mut scripts: Vec<Script> = Vec::new();
    let mut at = start().map_err(|message| ParseError::new(1, message))?;
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |message: String| ParseError::new(number, message);
        let body = if line.starts_with(char::is_whitespace) {
            line
        } else {
            let (id, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (id, title, lines) = (id.to_owned(), String::new(), Vec::new());
            scripts.push(Script { id, title, line: number, setup: given(), lines });
            at = start().map_err(wrong)?;
            schedule_apart(rest)
        };
        let Some(script) = scripts.last_mut() else {
            return Err(wrong("a script begins with its id at the left margin".to_owned()));
        };
        let (until, lines) = read(at, body, number).map_err(wrong)?;
        at = until;
        script.lines.extend(lines);
    }
    if let Some(script) = scripts.iter().find(|script| script.lines.is_empty()) {
        return Err(ParseError::new(script.line, "a script without lines shows nothing"));
    }
    Ok(scripts)
}

fn start() -> Parsed<Timestamp> {
    DAY.parse().map_err(|_| "the day is no instant".to_owned())
}

/// What every book has.
fn given() -> Vec<Call> {
    let client = |id: &str| json!({ "id": id, "scope": "firm", "name": id });
    let bank = json!({ "id": "bank", "owner": "bank", "currency": CURRENCY, "class": "external" });
    let given = [
        ("zone", "book.configure", json!({ "zone": "Asia/Riyadh" })),
        ("client C", "clients.create", client("C")),
        ("client D", "clients.create", client("D")),
        ("account bank", "accounts.create", bank),
    ];
    let call = |(text, name, content): (&str, &'static str, Value)| {
        Call::of(text, Step::Command { name, content })
    };
    given.into_iter().map(call).collect()
}

/// One line of text: what is sent, and what must come back; and the time after it.
fn read(mut at: Timestamp, text: &str, number: usize) -> Parsed<(Timestamp, Vec<Line>)> {
    let (left, right) = match text.split_once("=>") {
        Some((left, right)) => (left, parts(right, ';')),
        None => (text, Vec::new()),
    };
    let mut sent = Vec::new();
    for part in parts(left, ';') {
        let (time, mut body) = timed(at, part)?;
        at = time;
        let mut order = Order::InTurn;
        if body.contains("||") {
            order = Order::AtOnce;
            body = body.strip_suffix("||").unwrap_or(body).trim();
        }
        let mut calls = Vec::new();
        let mut follow = Vec::new();
        for alternative in body.split("||") {
            let mut words = value::words(alternative);
            let times = take_repeats(&mut words)?;
            let mut made = self::calls(&words)?.into_iter();
            let first = made.next().ok_or("there is no command")?;
            calls.extend(vec![first; times]);
            follow.extend(made);
        }
        if order == Order::AtOnce && !follow.is_empty() {
            return Err(format!("`{body}` has parts that come one after the other"));
        }
        sent.push((at, calls, order));
        sent.extend(follow.into_iter().map(|call| (at, vec![call], Order::InTurn)));
    }
    let told = right.iter().filter(|part| state_of(part).is_none()).count();
    let unanswered = sent.len().checked_sub(told).ok_or("more answers than commands")?;
    let line = |(at, calls, order): (Timestamp, Vec<Call>, Order), expect: Expect| Line {
        number,
        at,
        calls,
        order,
        expect,
    };
    let mut sent = sent.into_iter();
    let mut lines: Vec<Line> = Vec::new();
    for one in sent.by_ref().take(unanswered) {
        let count = one.1.len();
        lines.push(line(one, accepted(count)));
    }
    for part in right {
        if let Some(name) = state_of(part) {
            let time = lines.last().map_or(at, |line| line.at);
            let expect = Expect::One(state(part, name)?);
            lines.push(line((time, vec![read_of(name)?], Order::InTurn), expect));
            continue;
        }
        let one = sent.next().ok_or("more answers than commands")?;
        let expect = outcome(part, one.1.len())?;
        lines.push(line(one, expect));
    }
    Ok((at, lines))
}

/// `@1000 rest`: milliseconds from the day's start, or a date.
fn timed(at: Timestamp, text: &str) -> Parsed<(Timestamp, &str)> {
    let Some(rest) = text.trim().strip_prefix('@') else { return Ok((at, text.trim())) };
    let (time, rest) = rest.split_once(char::is_whitespace).ok_or("nothing to do")?;
    Ok((instant(time)?, rest.trim()))
}

fn instant(text: &str) -> Parsed<Timestamp> {
    let wrong = || format!("`@{text}` is no time");
    match text.parse::<u64>() {
        Ok(millis) => start()?.plus(crate::Duration::from_millis(millis)).ok_or_else(wrong),
        Err(_) => text.parse().map_err(|_| wrong()),
    }
}

/// The collection of a name, by its letter.
fn collection(name: &str) -> Option<&'static str> {
    let mut letters = name.chars();
    let first = letters.next()?;
    if !letters.all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    Some(match first {
        'R' => "retainers.read",
        'I' => "invoices.read",
        'P' | 'Q' | 'S' => "payments.read",
        'A' | 'B' => "accounts.read",
        'J' => "jobs.read",
        'U' => "clients.read",
        _ => return None,
    })
}

/// The name that a state of the right side is of: `R 4000`, `I {paid}`.
fn state_of(part: &str) -> Option<&str> {
    let name = part.split_whitespace().next()?;
    collection(name).map(|_| name)
}

fn read_of(name: &str) -> Parsed<Call> {
    let read = collection(name).ok_or_else(|| format!("`{name}` is nothing to read"))?;
    let content = json!({ "id": name });
    Ok(Call::of(format!("read {name}"), Step::Command { name: read, content }))
}

fn state(part: &str, name: &str) -> Parsed<Expected> {
    let rest = part.strip_prefix(name).unwrap_or_default().trim();
    let rest = match rest.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or("`}` is missing")?,
        None => rest,
    };
    let mut fields = fields("ok", rest)?;
    for field in &mut fields {
        // The first word of a state may be its sum.
        let is_sum = field.name == "status"
            && matches!(&field.wanted, super::model::Wanted::Is(text) if text.parse::<u64>().is_ok());
        if is_sum {
            let sum = if name.starts_with('R') { "balance" } else { "posted" };
            sum.clone_into(&mut field.name);
        }
    }
    Ok(Expected { word: "ok".to_owned(), fields })
}

fn outcome(text: &str, calls: usize) -> Parsed<Expect> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        if calls != 1 {
            return Err(format!("{calls} answers are told apart by how many there are of each"));
        }
        return Ok(Expect::One(expected(text)?));
    }
    let alternatives: Vec<Alternative> = text
        .split(" or ")
        .map(|text| {
            let counted = |part: &str| {
                let (count, rest) = part.split_once(' ').ok_or("a count and an outcome")?;
                let count = count.parse().map_err(|_| format!("`{count}` is no count"))?;
                Ok::<_, String>((count, expected(rest)?))
            };
            parts(text, ',').into_iter().map(counted).collect()
        })
        .collect::<Parsed<_>>()?;
    sums_are(calls, &alternatives)?;
    Ok(Expect::Counts(alternatives))
}

fn expected(text: &str) -> Parsed<Expected> {
    let (word, rest) = text.split_once('{').map_or((text, None), |(word, rest)| (word, Some(rest)));
    let word = word.trim();
    code(word)?;
    let mut all = match rest {
        Some(rest) => fields(word, rest.trim().strip_suffix('}').ok_or("`}` is missing")?)?,
        None => Vec::new(),
    };
    if word == "replay" {
        all.push(Field { name: "replayed".to_owned(), wanted: wanted("true") });
    }
    let word = if word == "replay" { "ok" } else { word };
    Ok(Expected { word: word.to_owned(), fields: all })
}

fn fields(word: &str, text: &str) -> Parsed<Vec<Field>> {
    let field = |text: &str| {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let is = |name: &str, text: &str| Field { name: name.to_owned(), wanted: wanted(text) };
        match (rest.trim(), word) {
            ("", "invalid_amount") => Ok(is("reason", name)),
            ("", "ok" | "replay") | ("", _) if word_alone(word) => Ok(is("status", name)),
            ("", _) => Err(format!("`{name}` of {word} has no value")),
            (time, _) if time.starts_with('@') => {
                Ok(is(name, &instant(time.trim_start_matches('@'))?.to_string()))
            }
            (rest, _) => Ok(is(name, rest)),
        }
    };
    parts(text, ',').into_iter().map(field).collect()
}

/// Whether the only datum of an outcome is a status.
fn word_alone(word: &str) -> bool {
    word.ends_with("_pending")
        || word.ends_with("_open")
        || word.ends_with("_completed")
        || word.ends_with("_payable")
        || matches!(word, "ok" | "replay" | "already_proposed")
}

/// The commands of one part: what is made by `R=100 …` may be several.
fn calls(words: &[&str]) -> Parsed<Vec<Call>> {
    let mut call = Call::of(words.join(" "), Step::Restart);
    let mut rest = Vec::new();
    for word in words {
        if !modifier(&mut call, word)? {
            rest.push(*word);
        }
    }
    if let [name, tail @ ..] = rest.as_slice()
        && let Some(name) = name.strip_suffix(':')
    {
        call.binds = Some(name.to_owned());
        rest = tail.to_vec();
    }
    if rest == ["restart"] {
        return Ok(vec![call]);
    }
    let made = super::ledger_verb::commands(&rest)?;
    let calls = made.into_iter().enumerate().map(|(index, (name, content))| {
        let step = Step::Command { name, content: Value::Object(content) };
        let reads = name.ends_with(".read");
        let key = match &call.key {
            KeyChoice::Given(key) if index == 0 => KeyChoice::Given(key.clone()),
            KeyChoice::None | KeyChoice::Fresh | KeyChoice::Given(_) if reads || call.dry_run => {
                KeyChoice::None
            }
            KeyChoice::None | KeyChoice::Fresh | KeyChoice::Given(_) => KeyChoice::Fresh,
        };
        Call { step, key, ..call.clone() }
    });
    Ok(calls.collect())
}

/// Words of one command of the book: plain ones, then options `name=value`.
pub(super) struct Words<'a> {
    pub(super) plain: Vec<&'a str>,
    pub(super) options: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    pub(super) fn of(words: &[&'a str]) -> Self {
        let mut all = Self { plain: Vec::new(), options: Vec::new() };
        for word in words {
            match word.split_once('=') {
                Some(option) => all.options.push(option),
                None => all.plain.push(*word),
            }
        }
        all
    }
}

/// What a name stands for: its own id, or the drawn one of what was bound to it.
pub(super) fn reference(name: &str) -> Value {
    let bound = name.starts_with(['F', 'K', 'L', 'H', 'X'])
        && name.chars().skip(1).all(|c| c.is_ascii_digit());
    if bound { json!({ "$id": name }) } else { json!(name) }
}

/// Money: a count as JSON has it, right or wrong, in the book's currency or another.
pub(super) fn money(text: &str) -> Parsed<Value> {
    let (count, currency) = text.split_once(':').unwrap_or((text, CURRENCY));
    let count = match value::number(count) {
        Some(number) => number,
        // A quoted number is for the command to refuse.
        None => {
            serde_json::from_str::<Value>(count).map_err(|_| format!("`{text}` is no amount"))?
        }
    };
    Ok(json!({ "amount": count, "currency": currency }))
}

/// An option's time.
pub(super) fn time(text: &str) -> Parsed<Value> {
    Ok(json!(instant(text.trim_start_matches('@'))?))
}

pub(super) type Commands = Parsed<Vec<Made>>;
