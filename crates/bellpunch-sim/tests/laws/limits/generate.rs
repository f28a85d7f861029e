//! Random commands on few names, at times that like edges.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::collapsible_if,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "it makes tests, and stops them where it is wrong"
)]

use std::sync::Arc;

use bellpunch::AnyCommand;
use bellpunch::limits::AuditQuota;
use bellpunch_check::instant;
use serde_json::{Map, Value, json};

use super::world::{Answer, World};

const MAX: u64 = 9_007_199_254_740_991;
const SECOND: i128 = 1_000_000_000;
const STARTS: [&str; 4] = [
    "1970-01-01T00:00:00Z",
    "2026-03-28T21:59:50Z",
    "2026-10-24T21:59:00Z",
    "2028-02-28T23:59:59.999999999Z",
];

/// One command.
pub(super) struct Step {
    pub(super) command: Arc<dyn AnyCommand>,
    pub(super) name: &'static str,
    pub(super) args: Value,
    pub(super) dry_run: bool,
}

#[derive(Debug)]
pub(super) struct Generator {
    state: u64,
    now: i128,
    /// Whether time runs fast.
    wild: bool,
    /// What is made first.
    first: Vec<(&'static str, Map<String, Value>)>,

    /// Instants that answers named.
    edges: Vec<i128>,
    charges: Vec<String>,
    holds: Vec<String>,
    versions: Vec<u64>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let mut made = Self {
            state: seed,
            now: 0,
            wild: false,
            first: Vec::new(),

            edges: Vec::new(),
            charges: Vec::new(),
            holds: Vec::new(),
            versions: vec![0, 1],
        };
        // Neighbouring seeds would be one sequence, a step apart.
        made.state = made.next();
        made.now = instant::parse(made.pick(&STARTS)).unwrap();
        made.wild = made.chance(35);
        made.prologue();

        made
    }

    /// Most of what is asked for is there.
    fn prologue(&mut self) {
        for name in ["q", "r", "x", "z"] {
            if self.chance(85) {
                let mut args = Map::from_iter([("id".to_owned(), json!(name))]);
                self.creation(&mut args);
                args.insert("id".to_owned(), json!(name));
                self.first.push(("quotas.create", args));
            }
        }
        for name in ["f", "e", "d", "c", "l", "g", "n", "u"] {
            if self.chance(85) {
                let mut args = self.terms(name);
                if self.chance(25) {
                    args.insert("max_keys".to_owned(), json!(self.below(3) + 1));
                }
                args.insert("id".to_owned(), json!(name));
                self.first.push(("policies.set", args));
            }
        }
    }

    pub(super) const fn now(&self) -> i128 {
        self.now
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let at = self.below(u64::try_from(of.len()).unwrap());
        of[usize::try_from(at).unwrap()].clone()
    }

    /// Remembers what an answer named.
    pub(super) fn heard(&mut self, answer: &Answer) {
        let told = match answer {
            Answer::Accepted { told, versions, .. } => {
                self.versions.extend(versions.values().copied().max());
                told
            }
            Answer::Rejected { data, .. } => data,
        };
        let mut seen = Vec::new();
        self.note(told, "", &mut seen);
        let now = self.now;
        self.edges.extend(seen.into_iter().filter(|at| now < *at));
        let over = self.edges.len().saturating_sub(12);
        self.edges.drain(..over);
        for list in [&mut self.charges, &mut self.holds] {
            let over = list.len().saturating_sub(8);
            list.drain(..over);
        }
        let over = self.versions.len().saturating_sub(4);
        self.versions.drain(..over);
    }

    fn note(&mut self, told: &Value, name: &str, seen: &mut Vec<i128>) {
        match (told, name) {
            (Value::Object(fields), _) => {
                if let (true, Some(id)) =
                    (fields.contains_key("ended_at") || name == "hold", fields.get("id"))
                {
                    self.holds.extend(id.as_str().map(str::to_owned));
                }
                for (name, value) in fields {
                    self.note(value, name, seen);
                }
            }
            (Value::Array(all), _) => all.iter().for_each(|one| self.note(one, "", seen)),
            (Value::String(id), "charge") => self.charges.push(id.clone()),
            (Value::String(at), _) if name.ends_with("_at") || name == "keep_until" => {
                seen.extend(instant::parse(at));
            }
            (Value::Number(wait), "retry_after_ns") => {
                seen.extend(wait.as_u64().map(|wait| self.now + i128::from(wait)));
            }
            _ => {}
        }
    }

    fn advance(&mut self) {
        let edges: Vec<i128> = self.edges.iter().copied().filter(|at| self.now <= *at).collect();
        let near = edges.iter().copied().min();
        let wild = self.wild || self.chance(4);
        let span = match self.below(20) {
            0..=8 => 0,
            9 => 1,
            10..=12 if wild => i128::from(self.below(20)) * SECOND,
            13 if wild && self.chance(30) => i128::from(self.below(90_000)) * SECOND,
            14 if wild && self.chance(5) => i128::from(self.below(40)) * 86_400 * SECOND,
            10..=14 => i128::from(self.below(900_000_000)),
            15..=17 if near.is_some() => {
                let far = wild && self.chance(20);
                let edge = if far { self.pick(&edges) } else { near.unwrap() };
                let span = edge + i128::from(self.below(3)) - 1 - self.now;
                // Far edges would end everything; most are near.
                if 40 * 86_400 * SECOND < span || (!wild && 100 * SECOND < span) { 0 } else { span }
            }
            _ => 1_000_000,
        };
        self.now += span.max(0);
    }

    fn quota(&mut self) -> &'static str {
        self.pick(&["q", "q", "r", "x", "z"])
    }

    fn policy(&mut self) -> &'static str {
        self.pick(&["f", "e", "d", "c", "l", "g", "n", "u"])
    }

    fn key(&mut self) -> &'static str {
        self.pick(&["k", "k", "k", "m", "o:1"])
    }

    fn units(&mut self) -> u64 {
        if self.chance(3) {
            return self.pick(&[MAX, 12]);
        }
        self.pick(&[1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 0, 7])
    }

    fn limit(&mut self) -> Value {
        if self.chance(6) {
            json!("unlimited")
        } else {
            json!(self.pick(&[0_u64, 1, 3, 5, 5, 8, 10, 10, 12, 20, MAX]))
        }
    }

    fn period(&mut self) -> u64 {
        self.pick(&[1_000_000_000, 3_000_000_001, 10_000_000_000, 60_000_000_000, 1_000_000])
    }

    fn instant(&mut self) -> String {
        let span = i128::from(self.below(200)) - 5;
        instant::print((self.now + span * SECOND).max(0))
    }

    fn calendar(&mut self) -> Map<String, Value> {
        let unit = self.pick(&["day", "week", "month", "year"]);
        let zone = self.pick(&["UTC", "Europe/Berlin", "America/Havana", "Africa/Cairo"]);
        let mut terms = Map::new();
        terms.insert("unit".to_owned(), json!(unit));
        terms.insert("zone".to_owned(), json!(zone));
        if self.chance(50) {
            let anchor = match unit {
                "week" => json!(self.below(7) + 1),
                "month" => json!(self.pick(&[1_u64, 15, 29, 30, 31])),
                "year" => json!(self.pick(&["01-01", "02-29", "03-29", "10-25"])),
                _ => return terms,
            };
            terms.insert("anchor".to_owned(), anchor);
        }
        terms
    }

    fn refill(&mut self) -> Value {
        let amount =
            if self.chance(25) { json!("full") } else { json!(self.pick(&[1_u64, 2, 3, 0])) };
        let mut refill = if self.chance(30) {
            self.calendar()
        } else {
            let mut period = Map::new();
            period.insert("period_ns".to_owned(), json!(self.period()));
            if self.chance(30) {
                period.insert("origin".to_owned(), json!(self.instant()));
            }
            period
        };
        refill.insert("amount".to_owned(), amount);
        Value::Object(refill)
    }

    fn retention(&mut self) -> Value {
        match self.below(4) {
            0 => json!("none"),
            1 => json!("for_ever"),
            2 => json!({ "keep_ns": self.period() }),
            _ => json!({ "keep_ns": 2_592_000_000_000_000_u64 }),
        }
    }

    /// Terms of a policy; each name stands for one algorithm, mostly.
    fn terms(&mut self, name: &str) -> Map<String, Value> {
        let name = if self.chance(2) { self.policy() } else { name };
        let mut terms = match name {
            "d" => {
                let mut terms = self.calendar();
                terms.insert("algorithm".to_owned(), json!("calendar"));
                terms
            }
            "n" => Map::from_iter([("algorithm".to_owned(), json!("concurrency"))]),
            _ => Map::from_iter([("period_ns".to_owned(), json!(self.period()))]),
        };
        let (algorithm, align) = match name {
            "f" | "u" => ("fixed_window", Some("first_hit")),
            "e" => ("fixed_window", Some("epoch")),
            "c" => ("sliding_counter", None),
            "l" => ("sliding_log", None),
            "g" => ("gcra", None),
            "d" => ("calendar", None),
            _ => ("concurrency", None),
        };
        terms.insert("algorithm".to_owned(), json!(algorithm));
        if let Some(align) = align {
            terms.insert("align".to_owned(), json!(align));
        }
        if algorithm == "gcra" {
            terms.insert("rate".to_owned(), json!(self.pick(&[1_u64, 3, 5, 7, MAX])));
            if self.chance(60) {
                let burst = self.limit();
                if burst != json!(0) {
                    terms.insert("burst".to_owned(), burst);
                }
            }
        } else if algorithm == "sliding_log" {
            terms.insert("limit".to_owned(), json!(self.pick(&[0_u64, 1, 3, 5, 5, 8, 10_000])));
        } else {
            let limit = self.limit();
            terms.insert("limit".to_owned(), limit);
        }
        for (field, percent) in [("charges", 60), ("shadow", 7)] {
            if self.chance(percent) {
                terms.insert(field.to_owned(), json!(true));
            }
        }
        if self.chance(12) {
            terms.insert("max_ttl_ns".to_owned(), json!(self.period()));
        }
        if self.chance(20) {
            terms.insert("max_open_holds".to_owned(), json!(self.below(2) + 1));
        }
        terms
    }

    fn if_version(&mut self, args: &mut Map<String, Value>) {
        if self.chance(8) {
            let version = self.pick(&self.versions.clone());
            let wanted = match self.below(6) {
                0 => json!("*"),
                1 => json!("none"),
                2 => json!([version, 1, 2, 3]),
                _ => json!(version),
            };
            args.insert("if_version".to_owned(), wanted);
        }
    }

    fn item(&mut self) -> Map<String, Value> {
        let mut item = Map::new();
        if self.chance(40) {
            item.insert("quota".to_owned(), json!(self.quota()));
        } else {
            let policy = self.policy();
            item.insert("policy".to_owned(), json!(policy));
            item.insert("key".to_owned(), json!(self.key()));
            if self.chance(25) {
                let terms = self.terms(policy);
                item.insert("terms".to_owned(), Value::Object(terms));
            }
        }
        item.insert("units".to_owned(), json!(self.units()));
        item
    }

    fn items(&mut self) -> Value {
        let count = self.pick(&[1, 1, 1, 1, 1, 2, 2, 3, 0]);
        let count = if count == 0 && self.chance(70) { 4 } else { count };
        let mut items: Vec<Map<String, Value>> = (0..count).map(|_| self.item()).collect();
        if 1 < items.len() && self.chance(25) {
            let mut again = items[0].clone();
            again.insert("units".to_owned(), json!(self.units()));
            items.push(again);
        }
        json!(items)
    }

    fn charge_id(&mut self) -> String {
        let known = self.charges.clone();
        if known.is_empty() || self.chance(10) {
            self.pick(&["c1", "c2", "c3"]).to_owned()
        } else {
            self.pick(&known)
        }
    }

    fn hold_id(&mut self) -> String {
        let known = self.holds.clone();
        if known.is_empty() || self.chance(10) {
            self.pick(&["h1", "h2", "h3"]).to_owned()
        } else {
            self.pick(&known)
        }
    }

    fn owner(&mut self, args: &mut Map<String, Value>, percent: u64) {
        if self.chance(percent) {
            args.insert("owner".to_owned(), json!(self.pick(&["w1", "w2"])));
        }
    }

    fn labels(&mut self, args: &mut Map<String, Value>) {
        if self.chance(10) {
            args.insert("labels".to_owned(), json!({ "action": "up" }));
        }
    }

    /// What a quota is asked.
    fn on_quota(&mut self) -> (&'static str, Map<String, Value>) {
        let mut args = Map::new();
        args.insert("id".to_owned(), json!(self.quota()));
        let name = match self.below(40) {
            0..=2 => "quotas.create",
            3..=6 => "quotas.set_limit",
            7..=9 => "quotas.configure",
            10 => "quotas.revoke",
            11..=12 => "quotas.reactivate",
            13 => "quotas.reset",
            14..=15 => "quotas.read",
            16..=33 => "quotas.consume",
            _ => "quotas.refund",
        };
        match name {
            "quotas.create" => self.creation(&mut args),
            "quotas.set_limit" => {
                args.insert("limit".to_owned(), self.limit());
            }
            "quotas.configure" => self.configuration(&mut args),
            "quotas.consume" => {
                args.insert("units".to_owned(), json!(self.units()));
                if self.chance(20) {
                    args.insert("charge".to_owned(), json!(self.pick(&["c1", "c2", "c3"])));
                }
                self.labels(&mut args);
            }
            "quotas.refund" => {
                args.insert("charge".to_owned(), json!(self.charge_id()));
                if self.chance(50) {
                    args.insert("units".to_owned(), json!(self.units()));
                }
            }
            _ => {}
        }
        if name != "quotas.create" && name != "quotas.read" {
            self.if_version(&mut args);
        }
        (name, args)
    }

    fn creation(&mut self, args: &mut Map<String, Value>) {
        if self.chance(3) {
            args.remove("id");
        }
        args.insert("limit".to_owned(), self.limit());
        if self.chance(25) {
            args.insert("used".to_owned(), json!(self.units()));
        }
        if self.chance(20) {
            args.insert("expires_at".to_owned(), json!(self.instant()));
        }
        if self.chance(50) {
            args.insert("refill".to_owned(), self.refill());
        }
        if self.chance(60) {
            args.insert("charges".to_owned(), self.retention());
        }
        if self.chance(20) {
            args.insert("metadata".to_owned(), json!({ "by": "me" }));
        }
    }

    fn configuration(&mut self, args: &mut Map<String, Value>) {
        if self.chance(50) {
            let end = if self.chance(75) { Value::Null } else { json!(self.instant()) };
            args.insert("expires_at".to_owned(), end);
        }
        if self.chance(40) {
            let refill = if self.chance(30) { Value::Null } else { self.refill() };
            args.insert("refill".to_owned(), refill);
        }
        if self.chance(40) {
            args.insert("charges".to_owned(), self.retention());
        }
        if self.chance(20) {
            args.insert("metadata".to_owned(), json!({ "by": "you" }));
        }
    }

    /// What a policy is asked.
    fn on_policy(&mut self) -> (&'static str, Map<String, Value>) {
        let policy = self.policy();
        let mut args = Map::new();
        let name = match self.below(40) {
            0..=9 => "policies.set",
            10 => "policies.delete",
            11 => "policies.reset",
            12 => "policies.reset_all",
            13 => "policies.read",
            14..=16 => "counters.read",
            _ => "policies.consume",
        };
        match name {
            "policies.set" => {
                args = self.terms(policy);
                if self.chance(25) {
                    args.insert("max_keys".to_owned(), json!(self.below(3) + 1));
                }
                self.if_version(&mut args);
            }
            "policies.delete" | "policies.reset_all" => self.if_version(&mut args),
            "policies.reset" | "counters.read" => {
                args.insert("key".to_owned(), json!(self.key()));
            }
            "policies.consume" => {
                args.insert("key".to_owned(), json!(self.key()));
                args.insert("units".to_owned(), json!(self.units()));
                if self.chance(20) {
                    args.insert("charge".to_owned(), json!(self.pick(&["c1", "c2", "c3"])));
                }
            }
            _ => {}
        }
        let id = if name == "counters.read" { "policy" } else { "id" };
        args.insert(id.to_owned(), json!(policy));
        (name, args)
    }

    /// What a hold is asked.
    fn on_hold(&mut self) -> (&'static str, Map<String, Value>) {
        let mut args = Map::new();
        let name = match self.below(40) {
            0..=17 => "holds.create",
            18..=27 => "holds.capture",
            28..=31 => "holds.void",
            32..=36 => "holds.extend",
            _ => "holds.read",
        };
        if name == "holds.create" {
            args.insert("items".to_owned(), self.items());
            if self.chance(40) {
                args.insert("id".to_owned(), json!(self.pick(&["h1", "h2", "h3"])));
            }
            self.owner(&mut args, 20);
            self.labels(&mut args);
        } else {
            args.insert("id".to_owned(), json!(self.hold_id()));
        }
        match name {
            "holds.capture" => {
                if self.chance(50) {
                    let units = if self.chance(30) {
                        json!([self.units(), self.units()])
                    } else {
                        json!(self.units())
                    };
                    args.insert("units".to_owned(), units);
                }
                if self.chance(15) {
                    args.insert("charge".to_owned(), json!(self.pick(&["c1", "c2", "c3"])));
                }
                self.owner(&mut args, 20);
                self.labels(&mut args);
            }
            "holds.void" => self.owner(&mut args, 20),
            "holds.extend" => {
                args.insert("ttl_ns".to_owned(), json!(self.ttl()));
                self.owner(&mut args, 20);
            }
            "holds.create" if self.chance(70) => {
                args.insert("ttl_ns".to_owned(), json!(self.ttl()));
            }
            _ => {}
        }
        (name, args)
    }

    fn ttl(&mut self) -> u64 {
        self.pick(&[
            1,
            1_000_000,
            1_000_000_000,
            5_000_000_000,
            30_000_000_000,
            60_000_000_000,
            90_000_000_000,
            90_000_000_000,
            100_000_000_000,
            3_000_000_000_000_000,
        ])
    }

    fn on_charge(&mut self) -> (&'static str, Map<String, Value>) {
        let mut args = Map::new();
        args.insert("id".to_owned(), json!(self.charge_id()));
        if self.chance(25) {
            return ("charges.read", args);
        }
        if self.chance(35) {
            let count = self.below(2) + 1;
            let items: Vec<Value> = (0..count)
                .map(|_| {
                    let mut item = self.item();
                    item.remove("terms");
                    if self.chance(50) {
                        item.remove("units");
                    }
                    Value::Object(item)
                })
                .collect();
            args.insert("items".to_owned(), json!(items));
        }
        if self.chance(40) {
            args.insert("units".to_owned(), json!(self.units()));
        }
        ("charges.refund", args)
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        self.advance();
        if self.chance(4) {
            if let Some(command) = world.sweep(self.now) {
                let args = serde_json::from_slice(&command.content()).unwrap();
                return Step { name: command.name(), command, args, dry_run: false };
            }
        }
        if self.chance(3) {
            let id = serde_json::from_value(json!(self.quota())).unwrap();
            let (charges, holds) = (world.ids("charges"), world.ids("holds"));
            let command: Arc<dyn AnyCommand> = Arc::new(AuditQuota { id, charges, holds });
            let args = serde_json::from_slice(&command.content()).unwrap();
            return Step { name: command.name(), command, args, dry_run: false };
        }
        let first = if self.first.is_empty() { None } else { Some(self.first.remove(0)) };
        let is_first = first.is_some();
        let kind = self.below(20);
        let (name, args) = match kind {
            _ if is_first => first.unwrap(),
            0..=5 => self.on_quota(),
            6..=10 => self.on_policy(),
            11..=14 => {
                let mut args = Map::new();
                args.insert("items".to_owned(), self.items());
                if self.chance(20) {
                    args.insert("id".to_owned(), json!(self.pick(&["c1", "c2", "c3"])));
                }
                self.labels(&mut args);
                ("checks.consume", args)
            }
            15..=17 => self.on_hold(),
            _ => self.on_charge(),
        };
        let spec = bellpunch::command(name).unwrap();
        let args = Value::Object(args);
        let command = (spec.parse)(args.clone());
        let command = command.unwrap_or_else(|error| panic!("{name} {args}: {error}"));
        let whole = self.chance(30);
        let args = if whole { serde_json::from_slice(&command.content()).unwrap() } else { args };
        Step { command, name, args, dry_run: !is_first && self.chance(4) }
    }
}
