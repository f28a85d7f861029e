//! The scripts: one line per command, its answer at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Answer, World, nanos};
use crate::Timestamp;

const SCRIPTS: &str = include_str!("limits.script");
const EDGES: &str = include_str!("edges.script");

#[test]
fn every_script_answers_as_it_says() {
    let scripts: Vec<&str> = SCRIPTS.split("== ").skip(1).collect();
    assert_eq!(scripts.len(), 30);
    for script in scripts {
        play_all(script);
    }
}

#[test]
fn every_edge_answers_as_it_says() {
    for script in EDGES.split("== ").skip(1) {
        play_all(script);
    }
}

/// Plays a script in every order of what it sends concurrently.
fn play_all(script: &str) {
    let mut seen: BTreeMap<usize, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut choice: Vec<usize> = Vec::new();
    loop {
        let mut play = Play { choice: choice.clone(), ..Play::default() };
        play.script(script);
        for (line, wanted, counts) in play.counts {
            seen.entry(line).or_insert_with(|| (wanted, BTreeSet::new())).1.insert(counts);
        }
        choice.resize(play.orders.len(), 0);
        let Some(next) = (0..choice.len()).rev().find(|&at| choice[at] + 1 < play.orders[at])
        else {
            break;
        };
        choice.truncate(next + 1);
        choice[next] += 1;
    }
    for (wanted, counts) in seen.values() {
        let wanted: BTreeSet<String> = wanted.split(" or ").map(sorted_counts).collect();
        assert_eq!(*counts, wanted, "each is reachable, and no other\n{script}");
    }
}

fn sorted_counts(counts: &str) -> String {
    let words: Vec<&str> = counts.split_whitespace().collect();
    let mut pairs: Vec<String> = words.chunks(2).map(|pair| pair.join(" ")).collect();
    pairs.sort_by_key(|pair| pair.split(' ').nth(1).unwrap().to_owned());
    pairs.join(" ")
}

#[derive(Default)]
struct Play {
    world: World,
    store: String,
    choice: Vec<usize>,
    orders: Vec<usize>,
    counts: Vec<(usize, String, String)>,
}

impl Play {
    fn script(&mut self, script: &str) {
        let mut lines = script.lines().filter(|line| !line.trim().is_empty());
        let head = lines.next().unwrap();
        let lines: Vec<&str> = lines.collect();
        let start = instant(lines[0].split(' ').next().unwrap());
        for setup in head.split(" ; ").skip(1) {
            let (verb, rest) = setup.split_once(' ').unwrap();
            let verb = if verb == "quota" { "create_quota" } else { "set_policy" };
            let answer = self.world.send(start, parse(&format!("{verb} {rest}")));
            assert!(answer.ok(), "{setup}: {answer:?}");
        }
        for (index, line) in lines.iter().enumerate() {
            self.line(index, line, head);
        }
    }

    fn line(&mut self, index: usize, line: &str, head: &str) {
        let (time, rest) = line.split_once(' ').unwrap();
        let (command, wanted) = rest.split_once(" => ").unwrap();
        let now = instant(time);
        let context = format!("{head}\n{line}");
        match command {
            "restart" => return,
            "sweep" => {
                let removed = self.world.sweep(now).to_string();
                assert_eq!(removed, wanted, "{context}\n{:?}", self.world.kinds());
                return;
            }
            "store down" => return "down".clone_into(&mut self.store),
            "store up" => return "up".clone_into(&mut self.store),
            _ => {}
        }
        if let Some(commands) = command.strip_prefix("| ") {
            let mut commands: Vec<&str> = commands.split(" | ").collect();
            let orders = (1..=commands.len()).product();
            let mut order = self.choice.get(self.orders.len()).copied().unwrap_or(0);
            self.orders.push(orders);
            let mut codes = Vec::new();
            while !commands.is_empty() {
                let next = commands.remove(order % commands.len());
                order /= commands.len() + 1;
                codes.push(self.world.send(now, parse(next)).code);
            }
            self.counts.push((index, wanted.to_owned(), counted(&codes)));
            return;
        }
        let words = words(command);
        if let Some(count) = words.last().and_then(|word| word.strip_prefix('x'))
            && let Ok(count) = count.parse::<usize>()
        {
            let once = words[..words.len() - 1].join(" ");
            let codes: Vec<String> = (0..count).map(|_| self.send(now, &once).code).collect();
            assert_eq!(counted(&codes), sorted_counts(wanted), "{context}");
            return;
        }
        compare(&self.send(now, command), wanted, &context);
    }

    fn send(&mut self, now: Timestamp, command: &str) -> Answer {
        self.world.try_send(now, parse(command), &self.store)
    }
}

fn counted(codes: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for code in codes {
        *counts.entry(code).or_default() += 1;
    }
    let pairs: Vec<String> = counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
    pairs.join(" ")
}

fn compare(answer: &Answer, wanted: &str, context: &str) {
    // A read has no code to tell: its fields are the answer.
    let (code, fields) = match wanted.split_once(' ') {
        _ if wanted.split(' ').next().unwrap().contains('=') => ("ok", wanted),
        Some((code, fields)) => (code, fields),
        None => (wanted, ""),
    };
    assert_eq!(answer.code, code, "{context}\n{answer:#?}");
    for word in fields.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let found = shown(answer, name);
        let matches = match value.split_once("..") {
            Some((low, high)) => {
                let found: u64 = found.parse().unwrap();
                (low.parse().unwrap()..=high.parse().unwrap()).contains(&found)
            }
            None => found == expected(name, value),
        };
        assert!(matches, "{context}\n{name} is {found}\n{answer:#?}");
    }
}

/// A value as it stands in the reply.
fn expected(name: &str, value: &str) -> String {
    match name {
        "retry_after" | "max_ttl" if value != "none" => instant(value).nanos().to_string(),
        "reset_at" | "expires_at" | "at" | "next_at" | "keep_until" | "revoked_at"
            if value != "none" =>
        {
            instant(value).to_string()
        }
        _ => value.to_owned(),
    }
}

fn shown(answer: &Answer, name: &str) -> String {
    if name == "at" {
        return answer.at.to_string();
    }
    let fields = &answer.fields;
    if name == "violations" {
        let names = fields["violations"].as_array().unwrap().iter().map(|violation| {
            let name = |field: &str| violation[field].as_str().map(str::to_owned);
            name("quota")
                .unwrap_or_else(|| format!("{}/{}", name("policy").unwrap(), name("key").unwrap()))
        });
        return names.collect::<Vec<_>>().join(",");
    }
    let field = match name {
        "retry_after" | "max_ttl" => format!("{name}_ns"),
        _ => name.to_owned(),
    };
    let totals = &fields["quota"]["totals"];
    let (charge, policy) = (&fields["charge"], &fields["policy"]);
    let places =
        [fields, &fields["hold"], &fields["quota"], &fields["counter"], totals, charge, policy];
    let lists = [&fields["targets"], &fields["violations"]].into_iter().filter_map(Value::as_array);
    // Of the whole list, and not of one of its violations.
    let lists = lists.filter(|_| name != "retry_after");
    let mut places = places.into_iter().chain(lists.flatten());
    match places.find_map(|place| place.get(&field).filter(|value| !value.is_null())) {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// A span, or a date; seconds and the like count from the epoch.
fn instant(text: &str) -> Timestamp {
    if text.contains('T') {
        return text.parse().unwrap();
    }
    nanos(span(text))
}

fn span(text: &str) -> u128 {
    let unit_at = text.find(|character: char| character.is_ascii_alphabetic()).unwrap();
    let (number, unit) = text.split_at(unit_at);
    let unit: u128 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "y" => 31_557_600_000_000_000,
        _ => panic!("{text}"),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let tail = format!("{fraction:0<9}").parse::<u128>().unwrap() * unit / 1_000_000_000;
    whole.parse::<u128>().unwrap() * unit + tail
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

fn name(text: &str) -> Value {
    if text.starts_with('"') { serde_json::from_str(text).unwrap() } else { json!(text) }
}

fn target(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    match text.split_once('/') {
        Some((policy, key)) => {
            fields.insert("policy".to_owned(), name(policy));
            fields.insert("key".to_owned(), name(key));
        }
        None => {
            fields.insert("quota".to_owned(), name(text));
        }
    }
    fields
}

/// The fields of `a=b`.
fn field(fields: &mut Map<String, Value>, word: &str) {
    let (name, value) = word.split_once('=').unwrap();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    match name {
        "key" => put("key_", json!(value)),
        "ttl" | "period" | "stale_denials" | "max_ttl" => {
            put(&format!("{name}_ns"), json!(u64::try_from(span(value)).unwrap()))
        }
        "expires" => put("expires_at", json!(instant(value))),
        "rate" => {
            let (rate, period) = value.split_once('/').unwrap();
            put("rate", number(rate));
            put("period_ns", json!(u64::try_from(span(period)).unwrap()));
        }
        "refill" if value.contains('/') => {
            let (amount, period) = value.split_once('/').unwrap();
            let period = u64::try_from(span(period)).unwrap();
            put("refill", json!({ "amount": number(amount), "period_ns": period }));
        }
        _ => put(name, number(value)),
    }
}

fn items(words: &[String]) -> (Vec<Value>, Map<String, Value>) {
    let (mut items, mut extra) = (Vec::new(), Map::new());
    let named = words.iter().filter(|word| *word != "+");
    let mut named = named.peekable();
    while let Some(word) = named.next() {
        if word.contains('=') {
            field(&mut extra, word);
            continue;
        }
        let mut item = target(word);
        item.insert("units".to_owned(), number(named.next().unwrap()));
        items.push(Value::Object(item));
    }
    (items, extra)
}

/// The command of a line.
pub(super) fn parse(line: &str) -> Value {
    let words = words(line);
    let (verb, rest) = words.split_first().unwrap();
    if verb == "dry" {
        let mut command = parse(&rest.join(" "));
        command["dry_run"] = json!(true);
        return command;
    }
    let mut fields = Map::new();
    let named = match verb.as_str() {
        "consume" => return consume(rest),
        "hold" => {
            let (items, extra) = items(&rest[1..]);
            fields.extend(extra);
            fields.insert("items".to_owned(), Value::Array(items));
            fields.insert("id".to_owned(), json!(rest[0]));
            "holds.create"
        }
        "peek" | "reset" => {
            let target = target(&rest[0]);
            match (target.get("quota"), verb.as_str()) {
                (Some(quota), verb) => {
                    fields.insert("id".to_owned(), quota.clone());
                    if verb == "peek" { "quotas.read" } else { "quotas.reset" }
                }
                (None, "peek") => {
                    fields = target;
                    "counters.read"
                }
                (None, _) => {
                    fields.insert("id".to_owned(), target["policy"].clone());
                    fields.insert("key".to_owned(), target["key"].clone());
                    "policies.reset"
                }
            }
        }
        _ => {
            fields.insert("id".to_owned(), name(&rest[0]));
            for word in &rest[1..] {
                if word.contains('=') {
                    field(&mut fields, word);
                } else {
                    let (name, value) = match verb.as_str() {
                        "set_policy" => ("algorithm", json!(word)),
                        "set_limit" => ("limit", number(word)),
                        _ => ("units", number(word)),
                    };
                    fields.insert(name.to_owned(), value);
                }
            }
            wire_name(verb)
        }
    };
    fields.insert("command".to_owned(), json!(named));
    Value::Object(fields)
}

fn wire_name(verb: &str) -> &'static str {
    match verb {
        "create_quota" => "quotas.create",
        "set_limit" => "quotas.set_limit",
        "revoke" => "quotas.revoke",
        "reactivate" => "quotas.reactivate",
        "set_policy" => "policies.set",
        "reset_all" => "policies.reset_all",
        "delete_policy" => "policies.delete",
        "capture" => "holds.capture",
        "void" => "holds.void",
        "extend" => "holds.extend",
        "configure" => "quotas.configure",
        "read_hold" => "holds.read",
        "read_charge" => "charges.read",
        "read_policy" => "policies.read",
        "refund_quota" => "quotas.refund",
        "refund" => "charges.refund",
        _ => panic!("{verb}"),
    }
}

fn consume(rest: &[String]) -> Value {
    let (items, mut fields) = items(rest);
    if let [item] = &items[..] {
        let item = item.as_object().unwrap();
        if let Some(id) = fields.remove("id") {
            fields.insert("charge".to_owned(), id);
        }
        fields.insert("units".to_owned(), item["units"].clone());
        let named = match item.get("quota") {
            Some(quota) => {
                fields.insert("id".to_owned(), quota.clone());
                "quotas.consume"
            }
            None => {
                fields.insert("id".to_owned(), item["policy"].clone());
                fields.insert("key".to_owned(), item["key"].clone());
                "policies.consume"
            }
        };
        fields.insert("command".to_owned(), json!(named));
    } else {
        fields.insert("items".to_owned(), Value::Array(items));
        fields.insert("command".to_owned(), json!("checks.consume"));
    }
    Value::Object(fields)
}
