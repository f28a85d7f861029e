//! The compact form, of tickets: `T01 given; a; b => x; y`, indented lines go on.
//!
//! Each line is read into those of the full form. Given in every script: the currency RCN of scale
//! 2; accounts `c1`, `c2` with 10000, `s1`, `s2` with nothing, `m1` of owner m with 1000. `T` (or
//! `U`, `V`, each with a digit) issues a ticket of holder c1 for audience s1, up to 1000 RCN, for
//! 300 s, from `c1` to `s1`; `T!` also approves it; `W:` issues a bearer ticket from `m1` with what
//! it lists. Every command has an idempotency key of its own unless it names one.
//!
//! Of the parts on the left the last ones are answered on the right, those before them must be
//! accepted. A part on the right that begins with the name of a ticket or an account is a read of
//! it at that instant.

use serde_json::{Map, Value, json};

use super::full::{code, modifier, sums_are, take_repeats, wanted};
use super::model::{
    Alternative, Call, Expect, Expected, Field, KeyChoice, Line, Order, ParseError, Script, Step,
    Wanted,
};
use super::told::{Known, Told};
use super::value;
use super::verb::stand_in_hash;
use crate::Timestamp;

const CURRENCY: &str = "RCN";
const TTL_MILLIS: &str = "300000";
/// The accounts given, their owners and what is on them; all of it came from the mint.
const ACCOUNTS: [(&str, &str, u64); 5] = [
    ("c1", "c1", 10_000),
    ("c2", "c2", 10_000),
    ("s1", "s1", 0),
    ("s2", "s2", 0),
    ("m1", "m", 1_000),
];
const MINT: &str = "mint";
/// What a line says of a store that is exclusive to somebody else: all of these are one to it.
const STALLS: &str = "the stalling holder changed the row; rolled back; only locked it";
const CRASH: &str = ", a crash before or after each internal write";

type Parsed<T> = Result<T, String>;

/// Reads scripts in the compact form. Lines that begin with `#` are comments.
///
/// # Errors
/// At the first line that is not understood to its last word.
pub fn parse_compact(text: &str) -> Result<Vec<Script>, ParseError> {
    let mut scripts: Vec<Script> = Vec::new();
    let mut reader = Reader::default();
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
            scripts.push(Script {
                id: id.to_owned(),
                title: String::new(),
                line: number,
                setup: setup(),
                lines: Vec::new(),
            });
            reader = Reader::default();
            schedule_apart(rest)
        };
        let Some(script) = scripts.last_mut() else {
            return Err(wrong("a script begins with its id at the left margin".to_owned()));
        };
        if let Some(answer) = body.trim().strip_prefix(STALLS) {
            if answer.trim() != "=> the same, three times" {
                return Err(wrong(format!("`{answer}` is not understood here")));
            }
            let stalled = script.clone();
            let ways = STALLS.split("; ").map(|title| title.to_owned());
            scripts.extend(ways.map(|title| Script { title, ..stalled.clone() }));
            continue;
        }
        let (first, second) = crashes(body).map_err(wrong)?;
        let (start, mut other) = (script.clone(), reader.clone());
        script.lines.extend(reader.line(&first, number).map_err(wrong)?);
        if let Some(second) = second {
            let mut after = Script { title: "a crash after its write".to_owned(), ..start };
            "a crash before its write".clone_into(&mut script.title);
            after.lines.extend(other.line(&second, number).map_err(wrong)?);
            scripts.push(after);
        }
    }
    if let Some(script) = scripts.iter().find(|script| script.lines.is_empty()) {
        return Err(ParseError::new(script.line, "a script without lines shows nothing"));
    }
    Ok(scripts)
}

/// What is given in every script.
fn setup() -> Vec<Call> {
    let mut calls = Vec::new();
    let mut given = |text: &str, name: &'static str, content: Value| {
        calls.push(Call::of(text, Step::Command { name, content }));
    };
    let currency = json!({ "code": CURRENCY, "scale": 2 });
    given("currency RCN", "currencies.define", currency);
    let mint = json!({ "id": MINT, "owner": MINT, "currency": CURRENCY, "class": "external" });
    given(MINT, "accounts.create", mint);
    for (id, owner, amount) in ACCOUNTS {
        let account = json!({ "id": id, "owner": owner, "currency": CURRENCY });
        given(id, "accounts.create", account);
        if 0 < amount {
            let amount = json!({ "amount": amount, "currency": CURRENCY });
            let funds = json!({ "id": id, "amount": amount, "from": MINT });
            given(id, "accounts.credit", funds);
        }
    }
    calls
}

fn is_account(word: &str) -> bool {
    ACCOUNTS.iter().any(|(id, _, _)| *id == word)
}

/// `a; b, a crash before or after each internal write => after restart: used and s1 1000, or
/// approved and s1 0`: once without the last command's commit and once without its reply. A command
/// has one internal write, its commit.
fn crashes(body: &str) -> Parsed<(String, Option<String>)> {
    let Some((commands, told)) = body.split_once(CRASH) else { return Ok((body.to_owned(), None)) };
    let wrong = || format!("`{told}` is not understood here");
    let told = told.trim().strip_prefix("=> after restart:").ok_or_else(wrong)?;
    let (after, before) = told.split_once(", or ").ok_or_else(wrong)?;
    let (given, last) = commands.rsplit_once(';').ok_or_else(wrong)?;
    let ticket = last.split_whitespace().nth(1).ok_or_else(wrong)?;
    let states = |text: &str| format!("{ticket} {}", text.trim().replace(" and ", "; "));
    let first = format!("{given}; restart => ok; {}", states(before));
    let second = format!("{given}; {last} !lost; restart => unknown; ok; {}", states(after));
    Ok((first, Some(second)))
}

/// The text without the number of a schedule, `(S6)`, which it may begin with.
pub(super) fn schedule_apart(text: &str) -> &str {
    let text = text.trim_start();
    let number = text.strip_prefix("(S").and_then(|rest| rest.split_once(')'));
    match number {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        Some(_) | None => text,
    }
}

/// What is carried from line to line of one script.
#[derive(Clone, Debug)]
struct Reader {
    at: Timestamp,
    last: Option<Call>,
    ticket: String,
    tickets: Vec<String>,
    /// The version that the last ticket has by what was accepted, of lost replies too.
    version: u64,
    /// What is held for it, as a state.
    held: String,
}

impl Default for Reader {
    fn default() -> Self {
        let ticket = "T".to_owned();
        let (tickets, version, held) = (Vec::new(), 0, String::new());
        Self { at: value::START, last: None, ticket, tickets, version, held }
    }
}

impl Reader {
    fn line(&mut self, text: &str, number: usize) -> Parsed<Vec<Line>> {
        let (left, right) = text.split_once("=>").unwrap_or((text, ""));
        let sent: Vec<&str> = parts(left, ';');
        let mut answers = Vec::new();
        for part in &sent {
            let (at, calls, order) = self.part(part)?;
            for (index, calls) in calls.into_iter().enumerate() {
                // `T!` is two commands, one after the other.
                let order = if index == 0 { order } else { Order::InTurn };
                let all = accepted(calls.len());
                answers.push(Line { number, at, calls, order, expect: all });
            }
        }
        let accounts = ACCOUNTS.map(|(id, _, _)| id);
        let (tickets, version, held) = (self.tickets.as_slice(), self.version, &*self.held);
        let told = Known { tickets, accounts: &accounts, version, held }.read(right)?;
        let count = told.iter().filter(|one| matches!(one, Told::Answer(_))).count();
        let unanswered = answers.len().checked_sub(count).ok_or("more answers than commands")?;
        let mut lines = Vec::new();
        let mut answers = answers.into_iter();
        lines.extend(answers.by_ref().take(unanswered));
        for one in told {
            let line = match one {
                Told::State(state) => self.state(&state, number, lines.last())?,
                Told::Replay(told) => replay(&told, lines.last())?,
                Told::Answer(told) => {
                    let line = answers.next().ok_or("more answers than commands")?;
                    let expect = outcome(&told, line.calls.len())?;
                    Line { expect, ..line }
                }
            };
            lines.push(line);
        }
        Ok(lines)
    }

    /// A part of the left side: its time, its commands in groups that go one after the other.
    fn part(&mut self, text: &str) -> Parsed<(Timestamp, Vec<Vec<Call>>, Order)> {
        let mut text = text.trim();
        if let Some(time) = text.strip_prefix("clock back to @") {
            self.at = instant(time)?;
            return Ok((self.at, Vec::new(), Order::InTurn));
        }
        if let Some(list) = text.strip_prefix("list [") {
            let call = self.list(text, list.strip_suffix(']').ok_or("`]` is missing")?)?;
            return Ok((self.at, vec![vec![call]], Order::InTurn));
        }
        if let Some(rest) = text.strip_prefix('@') {
            let (time, rest) = rest.split_once(char::is_whitespace).ok_or("nothing to do")?;
            self.at = instant(time)?;
            text = rest.trim();
        }
        let mut order = Order::InTurn;
        if text.contains("||") {
            order = Order::AtOnce;
            text = text.strip_suffix("||").unwrap_or(text).trim();
        }
        let mut groups: Vec<Vec<Call>> = vec![Vec::new()];
        for alternative in text.split("||") {
            let mut words = value::words(alternative);
            let times = take_repeats(&mut words)?;
            let calls = self.calls(&words)?;
            if order == Order::AtOnce && calls.len() != 1 {
                return Err(format!("`{alternative}` is more than one command"));
            }
            for (index, call) in calls.into_iter().enumerate() {
                let repeated = vec![call; times];
                match groups.get_mut(index) {
                    Some(group) => group.extend(repeated),
                    None => groups.push(repeated),
                }
            }
        }
        Ok((self.at, groups, order))
    }

    /// `list [a, b]`: all or nothing.
    fn list(&mut self, text: &str, list: &str) -> Parsed<Call> {
        let mut all = Vec::new();
        for command in parts(list, ',') {
            let words = value::words(command);
            let [first, tail @ ..] = words.as_slice() else {
                return Err("there is no command".to_owned());
            };
            match self.step(first, tail)? {
                Step::Command { name, content } => all.push((name, content)),
                Step::List(_) | Step::Restart | Step::StoreDown | Step::StoreUp => {
                    return Err(format!("`{command}` cannot be in a list"));
                }
            }
        }
        Ok(Call { key: KeyChoice::Fresh, ..Call::of(text, Step::List(all)) })
    }

    fn calls(&mut self, words: &[&str]) -> Parsed<Vec<Call>> {
        let mut call = Call::of(words.join(" "), Step::Restart);
        let mut rest = Vec::new();
        for word in words {
            if !modifier(&mut call, word)? {
                rest.push(*word);
            }
        }
        let [first, tail @ ..] = rest.as_slice() else {
            return Err("there is no command".to_owned());
        };
        let symbol = first.strip_suffix(['!', ':']).unwrap_or(first);
        if is_ticket(symbol) {
            return self.issue(first, tail, call);
        }
        call.step = self.step(first, tail)?;
        let reads =
            matches!(call.step, Step::Command { name: "tickets.read" | "accounts.read", .. });
        if call.lost {
            self.version = self.version.saturating_add(1);
        }
        let keyed = call.step.is_command() && !reads && !call.dry_run;
        if keyed && call.key == KeyChoice::None {
            call.key = KeyChoice::Fresh;
        }
        self.last = Some(call.clone());
        Ok(vec![call])
    }

    fn step(&mut self, first: &str, tail: &[&str]) -> Parsed<Step> {
        let (name, content) = match (first, tail) {
            ("restart", []) => return Ok(Step::Restart),
            ("store", ["down"]) => return Ok(Step::StoreDown),
            ("store", ["up"]) => return Ok(Step::StoreUp),
            ("again", []) => return self.last_step().cloned(),
            ("approve" | "reject", _) => self.by("holder", "c1", tail)?.named(first)?,
            ("cancel" | "revoke", _) => self.by("by", "c1", tail)?.named(first)?,
            ("get", [id]) if is_account(id) => ("accounts.read", json!({ "id": id })),
            ("close", [id]) if is_account(id) => ("accounts.close", json!({ "id": id })),
            ("transfer", [from, "to", to, amount]) => {
                let amount = money(amount, CURRENCY).ok_or("how much?")?;
                ("accounts.debit", json!({ "id": from, "amount": amount, "to": to }))
            }
            (id, ["has", amount]) if is_account(id) => has(id, amount)?,
            ("by", [by]) => self.last_by(by)?,
            ("get", [_]) => ("tickets.read", json!({ "id": self.subject(tail)?.0 })),
            ("expire", _) => {
                let ids: Parsed<Vec<Value>> = if tail.is_empty() {
                    Ok(vec![reference(&self.ticket)])
                } else {
                    tail.iter().map(|name| Ok(reference(self.known(name)?))).collect()
                };
                ("tickets.expire", json!({ "ids": ids? }))
            }
            ("redeem", _) => self.redeem(tail)?,
            (amount, rest) => return self.other_amount(amount, rest),
        };
        Ok(Step::Command { name, content })
    }

    fn last_step(&self) -> Parsed<&Step> {
        Ok(&self.last.as_ref().ok_or("there is nothing to do again")?.step)
    }

    /// `by s2` after a revoke: the same by somebody else.
    fn last_by(&self, by: &str) -> Parsed<(&'static str, Value)> {
        let Step::Command { name, content } = self.last_step()? else {
            return Err("that was no command".to_owned());
        };
        let mut content = content.clone();
        match content.get_mut("by") {
            Some(field) => *field = json!(by),
            None => return Err(format!("{name} is not by anybody")),
        }
        Ok((name, content))
    }

    /// `-5` after a redeem: the same with this amount; `secret=right`: with this secret.
    fn other_amount(&self, text: &str, rest: &[&str]) -> Parsed<Step> {
        let unknown = || format!("`{text}` is no command");
        let Step::Command { name: "tickets.redeem", content } = self.last_step()? else {
            return Err(unknown());
        };
        let mut content = content.clone();
        let fields = content.as_object_mut().ok_or_else(unknown)?;
        match (text.strip_prefix("secret="), rest) {
            (Some(secret), []) => {
                fields.insert("secret_hash".to_owned(), json!(stand_in_hash(secret)));
            }
            (None, []) if fields.contains_key("secret_hash") && !text.contains(' ') => {
                fields.insert("secret_hash".to_owned(), json!(stand_in_hash(text)));
            }
            (None, []) => {
                fields.insert("amount".to_owned(), money(text, CURRENCY).ok_or_else(unknown)?);
            }
            (None, [currency]) => {
                fields.insert("amount".to_owned(), money(text, currency).ok_or_else(unknown)?);
            }
            (_, _) => return Err(unknown()),
        }
        Ok(Step::Command { name: "tickets.redeem", content })
    }

    fn known<'t>(&self, name: &'t str) -> Parsed<&'t str> {
        let name = name.trim_matches(|c| matches!(c, '[' | ']' | ','));
        if is_ticket(name) { Ok(name) } else { Err(format!("`{name}` is no ticket")) }
    }

    /// The ticket named first, else the last one; and the words after it.
    fn subject<'w, 't>(&mut self, words: &'w [&'t str]) -> Parsed<(Value, &'w [&'t str])> {
        match words {
            ["it", rest @ ..] => Ok((reference(&self.ticket), rest)),
            [name, rest @ ..] if is_ticket(name) => {
                (*name).clone_into(&mut self.ticket);
                Ok((reference(name), rest))
            }
            rest => Ok((reference(&self.ticket), rest)),
        }
    }

    fn by(&mut self, field: &str, default: &str, words: &[&str]) -> Parsed<Content> {
        let (id, rest) = self.subject(words)?;
        let by = match rest {
            [] => default,
            ["by", by] => by,
            rest => return Err(format!("`{}` is not understood here", rest.join(" "))),
        };
        let mut content = Map::new();
        content.insert("id".to_owned(), id);
        content.insert(field.to_owned(), json!(by));
        Ok(Content(content))
    }

    /// `redeem T c1 s1 1000`, of a bearer ticket `redeem W s1 1000`; `SAR` after the amount.
    fn redeem(&mut self, words: &[&str]) -> Parsed<(&'static str, Value)> {
        let (id, rest) = self.subject(words)?;
        let mut content = Map::new();
        content.insert("id".to_owned(), id);
        let mut plain = Vec::new();
        for word in rest {
            match word.strip_prefix("secret=") {
                Some(secret) => {
                    content.insert("secret_hash".to_owned(), json!(stand_in_hash(secret)));
                }
                None => plain.push(*word),
            }
        }
        let bearer = self.ticket.starts_with('W');
        let (holder, audience, amount, currency) = match (bearer, plain.as_slice()) {
            (true, [audience, amount]) => (None, *audience, *amount, CURRENCY),
            (false, []) => (Some("c1"), "s1", "1000", CURRENCY),
            (false, [holder, audience, amount]) => (Some(*holder), *audience, *amount, CURRENCY),
            (false, [holder, audience, amount, currency]) => {
                (Some(*holder), *audience, *amount, *currency)
            }
            _ => return Err("redeem names holder, audience and amount".to_owned()),
        };
        if let Some(holder) = holder {
            content.insert("holder".to_owned(), json!(holder));
        }
        content.insert("audience".to_owned(), json!(audience));
        let amount = money(amount, currency).ok_or_else(|| format!("`{amount}` is no amount"))?;
        content.insert("amount".to_owned(), amount);
        Ok(("tickets.redeem", Value::Object(content)))
    }

    /// `T`, `T!`, `W` and what is different from the ticket that is given.
    fn issue(&mut self, first: &str, options: &[&str], call: Call) -> Parsed<Vec<Call>> {
        let symbol = first.strip_suffix(['!', ':']).unwrap_or(first);
        let mut fields = given(symbol);
        let used = lay_over(&mut fields, options)?;
        self.version = 1;
        self.held = held(&fields);
        symbol.clone_into(&mut self.ticket);
        self.tickets.push(symbol.to_owned());
        let content = Value::Object(fields);
        let key = match (&call.key, first.ends_with(':')) {
            // What is listed is sent again by its replay.
            (KeyChoice::None, true) => KeyChoice::Given(symbol.to_owned()),
            (KeyChoice::None, false) => KeyChoice::Fresh,
            (key, _) => key.clone(),
        };
        let binds = Some(symbol.to_owned());
        let step = Step::Command { name: "tickets.create", content };
        let text = call.text.clone();
        let call = Call { step, key, binds, ..call };
        self.last = Some(call.clone());
        let mut calls = vec![call];
        let mut follow = |step| {
            calls.push(Call { key: KeyChoice::Fresh, ..Call::of(text.clone(), step) });
        };
        if first.ends_with('!') || used {
            let content = json!({ "id": reference(symbol), "holder": "c1" });
            follow(Step::Command { name: "tickets.approve", content });
            self.version = self.version.saturating_add(1);
        }
        if used {
            let (name, content) = self.redeem(&[symbol])?;
            calls.push(Call {
                key: KeyChoice::Fresh,
                ..Call::of(text, Step::Command { name, content })
            });
            self.version = self.version.saturating_add(1);
        }
        Ok(calls)
    }

    /// `T still approved`, `T {used_by s1}`: a read.
    fn state(&self, part: &str, number: usize, before: Option<&Line>) -> Parsed<Line> {
        let (name, rest) = part.split_once(char::is_whitespace).ok_or("how is it?")?;
        let rest = rest.trim();
        let rest = rest.strip_prefix("still ").unwrap_or(rest);
        let (step, fields) = if is_account(name) {
            let content = json!({ "id": name });
            (Step::Command { name: "accounts.read", content }, sums(rest)?)
        } else {
            let fields = match rest.strip_prefix('{') {
                Some(rest) => fields("ok", rest.strip_suffix('}').ok_or("`}` is missing")?)?,
                None => fields("ok", rest)?,
            };
            let content = json!({ "id": reference(name) });
            (Step::Command { name: "tickets.read", content }, fields)
        };
        let expect = Expect::One(Expected { word: "ok".to_owned(), fields });
        let at = before.map_or(self.at, |line| line.at);
        let calls = vec![Call::of(format!("get {name}"), step)];
        Ok(Line { number, at, calls, order: Order::InTurn, expect })
    }
}

/// `c1 has 1000`: the rest of what is given goes back.
fn has(id: &str, amount: &str) -> Parsed<(&'static str, Value)> {
    let wrong = || format!("`{id} has {amount}` is not less than what is given");
    let given = ACCOUNTS.iter().find(|(known, _, _)| *known == id).map(|(_, _, given)| *given);
    let amount: u64 = amount.parse().map_err(|_| wrong())?;
    let rest = given.and_then(|given| given.checked_sub(amount)).ok_or_else(wrong)?;
    let amount = json!({ "amount": rest, "currency": CURRENCY });
    Ok(("accounts.debit", json!({ "id": id, "amount": amount, "to": MINT })))
}

/// What is held for an approved ticket of these fields, as a state of the account that pays.
fn held(fields: &Map<String, Value>) -> String {
    let account = fields.get("debit_account").and_then(Value::as_str).unwrap_or_default();
    let amount = fields.get("max_amount").and_then(|max| max.get("amount"));
    format!("{account} held {}", amount.cloned().unwrap_or_default())
}

/// `9000 held 1000 available 8000`: sums of an account; the first is what is posted.
fn sums(text: &str) -> Parsed<Vec<Field>> {
    let words = value::words(text);
    let (mut all, mut rest) = (Vec::new(), words.as_slice());
    let is = |name: &str, text: &str| Field { name: name.to_owned(), wanted: wanted(text) };
    if let [posted, tail @ ..] = rest
        && posted.parse::<i64>().is_ok()
    {
        all.push(is("posted", posted));
        rest = tail;
    }
    while let [name, sum, tail @ ..] = rest {
        all.push(is(name, sum));
        rest = tail;
    }
    if rest.is_empty() { Ok(all) } else { Err(format!("`{text}` is not name and sum")) }
}

/// The last command again, under its key, with another secret of the door's.
fn replay(told: &str, last: Option<&Line>) -> Parsed<Line> {
    let Some(line) = last else { return Err("there is nothing to send again".to_owned()) };
    let mut line = line.clone();
    for call in &mut line.calls {
        call.binds = None;
        if let Step::Command { content, .. } = &mut call.step
            && let Some(hash) = content.get_mut("made_secret_hash")
        {
            *hash = json!(stand_in_hash("another"));
        }
    }
    let mut expected = expected("replay")?;
    expected.fields.push(Field { name: told.to_owned(), wanted: wanted("true") });
    Ok(Line { expect: Expect::One(expected), ..line })
}

/// The content of a command whose wire name ends in its verb.
struct Content(Map<String, Value>);

impl Content {
    fn named(self, verb: &str) -> Parsed<(&'static str, Value)> {
        let name = match verb {
            "approve" => "tickets.approve",
            "reject" => "tickets.reject",
            "cancel" => "tickets.cancel",
            "revoke" => "tickets.revoke",
            _ => return Err(format!("`{verb}` is no command")),
        };
        Ok((name, Value::Object(self.0)))
    }
}

/// A capital letter from T to W, and digits.
fn is_ticket(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|byte| (b'T'..=b'W').contains(&byte))
        && bytes.all(|byte| byte.is_ascii_digit())
}

/// Stands for the drawn id of a ticket.
fn reference(name: &str) -> Value {
    json!({ "$id": name })
}

fn instant(text: &str) -> Parsed<Timestamp> {
    let millis = text.parse::<i128>().ok().and_then(|millis| millis.checked_mul(1_000_000));
    match millis {
        Some(nanos) => value::instant_at(nanos),
        None => text.parse().ok(),
    }
    .ok_or_else(|| format!("`@{text}` is no time"))
}

fn money(amount: &str, currency: &str) -> Option<Value> {
    Some(json!({ "amount": value::number(amount)?, "currency": currency }))
}

fn millis_json(text: &str) -> Option<Value> {
    value::span_json(&format!("{text}ms"))
}

fn given(symbol: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    let bearer = symbol.starts_with('W');
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("audience", json!("s1"));
    set("max_amount", json!({ "amount": 1000, "currency": CURRENCY }));
    set("ttl_ns", millis_json(TTL_MILLIS).unwrap_or_default());
    set("debit_account", json!(if bearer { "m1" } else { "c1" }));
    set("credit_account", json!("s1"));
    if bearer {
        set("issued_by", json!("m"));
        set("approved", Value::Bool(true));
    } else {
        set("holder", json!("c1"));
        set("issued_by", json!("s1"));
    }
    fields
}

/// Lays what is listed over the fields of a ticket; tells whether it is to be used at once.
fn lay_over(fields: &mut Map<String, Value>, options: &[&str]) -> Parsed<bool> {
    let mut rest = options;
    let mut used = false;
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    while let [option, tail @ ..] = rest {
        rest = tail;
        let plain = |word: &str| word.trim_end_matches(',').to_owned();
        match (plain(option).as_str(), tail) {
            ("used", _) => used = true,
            ("one_pending", _) => drop(set("one_pending", Value::Bool(true))),
            ("approved", _) => drop(set("approved", Value::Bool(true))),
            ("make_secret", _) => {
                set("make_secret", Value::Bool(true));
                set("made_secret_hash", json!(stand_in_hash("right")));
            }
            // A bearer ticket is given without one.
            ("no", [holder, tail @ ..]) if plain(holder) == "holder" => rest = tail,
            ("audience", [name, tail @ ..]) => {
                set("audience", json!(plain(name)));
                set("credit_account", json!(plain(name)));
                rest = tail;
            }
            ("holder", [name, tail @ ..]) => {
                set("holder", json!(plain(name)));
                rest = tail;
            }
            ("issued_by", [name, tail @ ..]) => {
                set("issued_by", json!(plain(name)));
                rest = tail;
            }
            ("debit", [name, tail @ ..]) => {
                set("debit_account", json!(plain(name)));
                rest = tail;
            }
            (option, _) => {
                let (name, value) = issue_option(option)?;
                set(name, value);
            }
        }
    }
    Ok(used)
}

fn issue_option(option: &str) -> Parsed<(&'static str, Value)> {
    let wrong = || format!("`{option}` is not understood here");
    let (name, text) = option.split_once('=').ok_or_else(wrong)?;
    let field = match name {
        "ttl" => millis_json(text).map(|value| ("ttl_ns", value)),
        "max" => money(text, CURRENCY).map(|value| ("max_amount", value)),
        "partial" => text.parse().ok().map(|partial| ("partial", Value::Bool(partial))),
        "secret" => Some(("secret_hash", json!(stand_in_hash(text)))),
        "issue_limit" => text.split_once('/').and_then(|(count, period)| {
            let (count, period) = (value::number(count)?, millis_json(period)?);
            Some(("issue_limit", json!({ "count": count, "period_ns": period })))
        }),
        _ => None,
    };
    field.ok_or_else(wrong)
}

pub(super) fn accepted(calls: usize) -> Expect {
    let ok = Expected { word: "ok".to_owned(), fields: Vec::new() };
    if calls == 1 { Expect::One(ok) } else { Expect::Counts(vec![vec![(calls, ok)]]) }
}

/// Splits outside of braces and brackets; empty parts are dropped.
pub(super) fn parts(text: &str, at: char) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut from = 0_usize;
    let mut parts = Vec::new();
    for (index, character) in text.char_indices() {
        match character {
            '{' | '[' => depth = depth.saturating_add(1),
            '}' | ']' => depth = depth.saturating_sub(1),
            _ if character == at && depth == 0 => {
                parts.push(text.get(from..index).unwrap_or_default().trim());
                from = index.saturating_add(1);
            }
            _ => {}
        }
    }
    parts.push(text.get(from..).unwrap_or_default().trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn outcome(text: &str, calls: usize) -> Parsed<Expect> {
    let counted = text.starts_with(|c: char| c.is_ascii_digit());
    if !counted {
        if calls != 1 {
            return Err(format!("{calls} answers are told apart by how many there are of each"));
        }
        return Ok(Expect::One(expected(text)?));
    }
    let alternatives: Vec<Alternative> =
        text.split(" or ").map(alternative).collect::<Parsed<_>>()?;
    sums_are(calls, &alternatives)?;
    Ok(Expect::Counts(alternatives))
}

fn alternative(text: &str) -> Parsed<Alternative> {
    let counted = |part: &str| {
        let (count, rest) = part.split_once(' ').ok_or("a count and an outcome")?;
        let count = count.parse().map_err(|_| format!("`{count}` is no count"))?;
        Ok((count, expected(rest)?))
    };
    parts(text, ',').into_iter().map(counted).collect()
}

/// `ok`, `ok {used, used_at 2000}`, `replay`, `code {v}`.
fn expected(text: &str) -> Parsed<Expected> {
    let (word, rest) = text.split_once('{').map_or((text, None), |(word, rest)| (word, Some(rest)));
    let word = word.trim();
    if rest.is_none() && word.contains(char::is_whitespace) {
        // A read says only its fields.
        return Ok(Expected { word: "ok".to_owned(), fields: fields("ok", word)? });
    }
    code(word)?;
    let mut all = match rest {
        Some(rest) => fields(word, rest.trim().strip_suffix('}').ok_or("`}` is missing")?)?,
        None => Vec::new(),
    };
    if word == "replay" {
        all.push(Field { name: "replayed".to_owned(), wanted: Wanted::Is("true".to_owned()) });
    }
    let word = if word == "replay" { "ok" } else { word };
    Ok(Expected { word: word.to_owned(), fields: all })
}

fn fields(word: &str, text: &str) -> Parsed<Vec<Field>> {
    parts(text, ',').into_iter().map(|part| field(word, part)).collect()
}

/// `used_at 2000`; `zero`, the datum of its code, of a ticket its status; `expired [T]`.
fn field(word: &str, text: &str) -> Parsed<Field> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let is = |name: &str, text: &str| Field { name: name.to_owned(), wanted: wanted(text) };
    if rest.is_empty() {
        return Ok(match word {
            "invalid_amount" => is("reason", name),
            "account_closed" | "account_owner_mismatch" | "insufficient_funds" => {
                is("account", name)
            }
            "ok" | "replay" | "ticket_not_approved" => is("status", name),
            _ => return Err(format!("`{name}` of {word} has no value")),
        });
    }
    if let Some(list) = rest.strip_prefix('[') {
        let list = list.strip_suffix(']').ok_or("`]` is missing")?;
        let entry = |entry: &str| {
            let (ticket, status) = entry.split_once(' ').unwrap_or((entry, ""));
            let id = reference(ticket.trim());
            if status.is_empty() { id } else { json!({ "id": id, "status": status.trim() }) }
        };
        let list = parts(list, ',').into_iter().map(entry).collect();
        return Ok(Field { name: name.to_owned(), wanted: Wanted::Json(Value::Array(list)) });
    }
    if name.ends_with("_at") {
        let at = instant(rest)?;
        return Ok(is(name, &at.to_string()));
    }
    Ok(is(name, rest))
}
