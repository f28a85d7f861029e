//! Clients: they send intents, wait, try again, and write down what they saw.

use std::sync::Arc;

use bellpunch::executor::{Caller, Input};
use bellpunch::{
    AnyCommand, AnyOutcome, AnyReceipt, DecidedBy, Duration, ErrorKind, IdempotencyKey, Journaling,
    Partition, Refusal, Request, Timestamp, Versions, command, fingerprint, sweep,
};
use bellpunch_check::history::{self, Accepted, Broke, Invoke, Line, Read, Rejected, Resolved};
use serde_json::{Value, json};

use crate::case::{Asked, FaultKind, MICRO, MILLI, SECOND};
use crate::node::LAST_WORD;
use crate::workload::STALE_DENIALS;
use crate::world::{Event, Told, World};

/// How often an intent is sent, at most.
const ATTEMPTS_MAX: u32 = 8;
/// The median way between a client and a node.
const WAY: u64 = 200 * MICRO;

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) client: u64,
    pub(crate) node: usize,
    pub(crate) partition: Partition,
    pub(crate) commands: Vec<Asked>,
    pub(crate) key: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) elsewhere: bool,
    pub(crate) attempts: u32,
    /// The key whose outcome this asks for, in the end.
    pub(crate) resolves: Option<String>,
    pub(crate) ended: bool,
    /// Whether the ids in it stand fast: they do from the first time on.
    fixed: bool,
}

/// A request of a client.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) intent: usize,
    pub(crate) node: usize,
    pub(crate) ended: bool,
}

fn parse(asked: &Asked) -> Arc<dyn AnyCommand> {
    let Asked { cmd, args } = asked;
    let parsed = match cmd.split_once('.') {
        Some((kind, "sweep")) => {
            let ids = args.get("ids").and_then(Value::as_array).into_iter().flatten();
            let ids = ids.filter_map(Value::as_str).map(bellpunch::RecordId::stored).collect();
            sweep(kind, ids)
        }
        _ => {
            let spec = command(cmd).unwrap_or_else(|| panic!("no command is named {cmd}"));
            Some((spec.parse)(args.clone()).unwrap_or_else(|error| panic!("{cmd} {args}: {error}")))
        }
    };
    parsed.expect("kinds that are swept have a command for it")
}

impl World {
    pub(crate) fn plan_step(&mut self, place: usize) {
        let step = self.case.steps.get(place).expect("a step of this case").clone();
        let node = usize::try_from(step.node).unwrap_or_default();
        let intent = Intent {
            client: step.client,
            node: node.min(self.nodes.len().saturating_sub(1)),
            partition: Partition::new(step.partition).expect("a legal name"),
            commands: step.commands,
            key: step.key,
            dry_run: step.dry_run,
            elsewhere: step.elsewhere,
            attempts: 0,
            resolves: None,
            ended: false,
            fixed: false,
        };
        self.plan(intent, step.at);
    }

    pub(crate) fn plan(&mut self, intent: Intent, delay: u64) {
        self.intents.push(intent);
        let intent = self.intents.len().saturating_sub(1);
        self.after(delay, Event::Send { intent });
    }

    /// An intent of the world's own, at the end of it.
    pub(crate) fn plan_last(
        &mut self,
        partition: &Partition,
        asked: Asked,
        resolves: Option<String>,
    ) {
        let intent = Intent {
            client: 0,
            node: 0,
            partition: partition.clone(),
            commands: vec![asked],
            key: None,
            dry_run: false,
            elsewhere: true,
            attempts: 0,
            resolves,
            ended: false,
            fixed: false,
        };
        self.plan(intent, MILLI);
    }

    pub(crate) fn intent(&self, intent: usize) -> &Intent {
        self.intents.get(intent).expect("an intent of this world")
    }

    fn intent_mut(&mut self, intent: usize) -> &mut Intent {
        self.intents.get_mut(intent).expect("an intent of this world")
    }

    /// Puts ids that were drawn in the place of `$collection:number`.
    fn fix(&mut self, place: usize) {
        if self.intent(place).fixed {
            return;
        }
        let partition = self.intent(place).partition.as_str().to_owned();
        let mut commands = std::mem::take(&mut self.intent_mut(place).commands);
        for asked in &mut commands {
            self.fix_value(&partition, &mut asked.args);
        }
        let intent = self.intent_mut(place);
        intent.commands = commands;
        intent.fixed = true;
    }

    fn fix_value(&self, partition: &str, value: &mut Value) {
        match value {
            Value::String(text) => {
                let Some(name) = text.strip_prefix('$') else { return };
                let (collection, number) = name.split_once(':').unwrap_or((name, "0"));
                let number: usize = number.parse().unwrap_or_default();
                let known = self.drawn.get(&(partition.to_owned(), collection.to_owned()));
                let known = known.map(Vec::as_slice).unwrap_or_default();
                let place = number.checked_rem(known.len()).unwrap_or_default();
                *text = known.get(place).cloned().unwrap_or_else(|| "nothing".to_owned());
            }
            Value::Array(values) => {
                values.iter_mut().for_each(|value| self.fix_value(partition, value))
            }
            Value::Object(fields) => {
                fields.values_mut().for_each(|value| self.fix_value(partition, value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A client sends an intent.
    pub(crate) fn send(&mut self, place: usize) {
        self.fix(place);
        let count = self.nodes.len();
        let intent = self.intent_mut(place);
        if intent.elsewhere && 0 < intent.attempts {
            intent.node = intent.node.saturating_add(1).checked_rem(count).unwrap_or_default();
        }
        intent.attempts = intent.attempts.saturating_add(1);
        let intent = intent.clone();
        if intent.elsewhere && 1 < intent.attempts && 1 < count {
            self.reached("retry_elsewhere");
        }
        self.next_caller = self.next_caller.saturating_add(1);
        let caller = self.next_caller;
        self.sent.insert(caller, Sent { intent: place, node: intent.node, ended: false });
        let t = self.stamp();
        let (cmd, args) = match intent.commands.as_slice() {
            [one] => (one.cmd.clone(), one.args.clone()),
            many => {
                let each = many.iter().map(|one| json!({ "cmd": one.cmd, "args": one.args }));
                ("commands".to_owned(), Value::Array(each.collect()))
            }
        };
        let key = intent.key.clone();
        self.note(format_args!(
            "c{} sends {caller} to n{}: {cmd} {args} {key:?}",
            intent.client, intent.node
        ));
        self.lines.push(Line::Invoke(Invoke {
            t,
            op: caller,
            proc: format!("c{}", intent.client),
            node: Some(format!("n{}", intent.node)),
            partition: intent.partition.as_str().to_owned(),
            cmd,
            target: String::new(),
            args,
            key: intent.key.clone(),
        }));
        self.travel(caller, &intent);
    }

    /// A request is on its way, once, twice or not at all.
    fn travel(&mut self, caller: Caller, intent: &Intent) {
        let mut rng = self.rng("request", caller);
        let node = intent.node;
        let patience = self.case.settings.patience.saturating_add(LAST_WORD).saturating_add(SECOND);
        let timeout = Event::Lost { sent: caller, code: "timeout" };
        self.after(patience.saturating_mul(2), timeout);
        let keyed = intent.key.is_some() || intent.resolves.is_some();
        let lost = self.fault(FaultKind::CutClients, node).is_some()
            || (keyed && self.strikes(FaultKind::DropRequest, node, &mut rng));
        if lost {
            return;
        }
        let mut delay = rng.delay(WAY);
        if self.strikes(FaultKind::Delay, node, &mut rng) {
            delay = delay.saturating_add(rng.below(500 * MILLI));
        }
        self.after(delay, Event::Arrive { sent: caller, as_caller: caller });
        let twice = self.strikes(FaultKind::Duplicate, node, &mut rng);
        let late = self.strikes(FaultKind::DuplicateLate, node, &mut rng);
        if intent.key.is_some() && (twice || late) {
            self.next_caller = self.next_caller.saturating_add(1);
            let as_caller = self.next_caller;
            self.duplicates.insert(as_caller);
            self.record_duplicate(caller, as_caller);
            let more = if late { rng.between(SECOND, 8 * SECOND) } else { rng.below(4 * MILLI) };
            self.after(delay.saturating_add(more), Event::Arrive { sent: caller, as_caller });
        }
    }

    /// To whoever judges, the second time is a call of its own whose end nobody heard.
    fn record_duplicate(&mut self, caller: Caller, as_caller: Caller) {
        let first = self.lines.iter().rev().find_map(|line| match line {
            Line::Invoke(invoke) if invoke.op == caller => Some(invoke.clone()),
            _ => None,
        });
        let Some(first) = first else { return };
        let Some(Sent { intent, node, .. }) = self.sent.get(&caller) else { return };
        let sent = Sent { intent: *intent, node: *node, ended: true };
        self.sent.insert(as_caller, sent);
        let (op, t) = (as_caller, self.stamp());
        self.lines.push(Line::Invoke(Invoke { op, t, proc: "network".to_owned(), ..first }));
        let (t, code) = (self.stamp(), "duplicate".to_owned());
        self.lines.push(Line::Unknown(Broke { t, op, code }));
    }

    /// A request reaches its node.
    pub(crate) fn arrive(&mut self, sent: Caller, as_caller: Caller) {
        let Some(request) = self.sent.get(&sent) else { return };
        let (node, place) = (request.node, request.intent);
        let intent = self.intent(place).clone();
        if !self.node(node).is_up() {
            if sent == as_caller {
                self.after(WAY, Event::Lost { sent, code: "refused" });
            }
            return;
        }
        let life = self.node(node).life;
        self.note(format_args!("n{node} hears {sent} as {as_caller}"));
        let commands: Vec<_> = intent.commands.iter().map(parse).collect();
        let mut rng = self.rng("entropy", as_caller);
        let entropy = commands.iter().map(|_| rng.wide()).collect();
        let key = intent.key.as_ref().map(|key| {
            let key = IdempotencyKey::new(key).expect("a legal key");
            (key, fingerprint(&intent.partition, &commands))
        });
        let keep = Duration::from_nanos(self.case.settings.keep);
        // Where money is, a journal may have begun; elsewhere there is none.
        let about_money = self.case.generator == "money";
        let journaling = if about_money { Journaling::Begun } else { Journaling::Off };
        let dry_run = intent.dry_run;
        let request = Request { commands, entropy, key, keep, dry_run, journaling };
        let partition = intent.partition.clone();
        self.watch_arrival(node, as_caller, place);
        let touched = &mut self.node_mut(node).touched;
        touched.insert(partition.clone());
        self.node_mut(node).waiters.insert(as_caller, partition.clone());
        let input = Input::Arrived {
            caller: as_caller,
            partition: partition.clone(),
            request: Box::new(request),
        };
        self.deliver((node, life), input);
        let patience = self.case.settings.patience;
        self.after(patience, Event::GiveUp { node, life, caller: as_caller, partition });
    }

    /// The time of a caller is up.
    pub(crate) fn give_up(
        &mut self,
        (node, life): (usize, u64),
        caller: Caller,
        partition: Partition,
    ) {
        if self.node(node).life == life && self.node(node).waiters.contains_key(&caller) {
            self.deliver((node, life), Input::GaveUp { caller, partition });
        }
    }

    /// A node tells a caller.
    pub(crate) fn reply(&mut self, (node, caller): (usize, Caller), told: Told, delay: u64) {
        let Some(partition) = self.node_mut(node).waiters.remove(&caller) else {
            self.violated("reply.once", format!("n{node} answered {caller} again"));
            return;
        };
        if let Ok(outcome) = &told {
            self.test_rests_on_durable((node, &partition), outcome);
            self.test_remembers_not_for_long((node, &partition), outcome);
            self.test_remembers_what_may_be(caller, outcome);
        }
        if self.duplicates.contains(&caller) {
            return;
        }
        let mut rng = self.rng("reply", caller);
        let place = self.sent.get(&caller).map_or(0, |sent| sent.intent);
        let keyed = self.intent(place).key.is_some() || self.intent(place).resolves.is_some();
        let lost = self.fault(FaultKind::CutClients, node).is_some()
            || self.strikes(FaultKind::DropReply, node, &mut rng);
        if lost && keyed {
            if matches!(told, Ok(AnyOutcome::Rejected(_))) {
                self.reached("rejection_lost");
            }
            return;
        }
        let way = delay.saturating_add(rng.delay(WAY));
        self.after(way, Event::Told { sent: caller, told: Box::new(told) });
    }

    /// Nothing is told that rests on what a crash could take.
    fn test_rests_on_durable(
        &mut self,
        (node, partition): (usize, &Partition),
        outcome: &AnyOutcome,
    ) {
        let (versions, decided_by) = match outcome {
            AnyOutcome::Accepted(AnyReceipt { versions, decided_by, .. }) => (versions, decided_by),
            AnyOutcome::Rejected(Refusal { as_of, decided_by, .. }) => (as_of, decided_by),
        };
        if *decided_by != DecidedBy::Store {
            return;
        }
        let mut early = Vec::new();
        for (name, version) in versions {
            let version = version.get();
            let known = self.published.get(&(partition.clone(), name.clone()));
            let durable = known.is_some_and(|versions| {
                // A commit of many commands is at the version of the last of them.
                let carried = versions.range(version..).next();
                carried.is_some_and(|(_, index)| *index < self.store.synced())
            });
            // A record that is not there may have the version of a floor.
            let absent = matches!(outcome, AnyOutcome::Rejected(_));
            if !durable && version != 0 && !absent {
                early.push(format!("{name} {version}"));
            }
        }
        if !early.is_empty() {
            let text = format!("n{node} told of {} before it was durable", early.join(", "));
            self.violated("reply.durable_first", text);
        }
    }

    /// What is refused from memory was so no longer ago than policies allow.
    fn test_remembers_not_for_long(
        &mut self,
        (node, partition): (usize, &Partition),
        outcome: &AnyOutcome,
    ) {
        let AnyOutcome::Rejected(Refusal { as_of, decided_by: DecidedBy::Cache, .. }) = outcome
        else {
            return;
        };
        self.reached("refused_from_memory");
        // How long is told by the node's clock.
        let number = u64::try_from(node).unwrap_or_default();
        let turned = |fault| {
            matches!(fault, FaultKind::ClockJump | FaultKind::ClockFreeze | FaultKind::ClockDrift)
        };
        let clock_stands =
            !self.case.faults.iter().any(|one| one.node == number && turned(one.fault));
        let since = self.now.saturating_sub(STALE_DENIALS.saturating_add(MILLI));
        let over = as_of.iter().filter(|(name, version)| {
            let known = self.published.get(&(partition.clone(), (*name).clone()));
            let after = version.get().saturating_add(1);
            let next = known.and_then(|versions| versions.range(after..).next());
            let next = next.and_then(|(_, index)| self.store.log().get(*index));
            next.is_some_and(|applied| applied.when < since)
        });
        let over: Vec<_> = over.map(|(name, version)| format!("{name} {version}")).collect();
        if clock_stands && !over.is_empty() {
            let text = format!("n{node} refused by {}, long after it was so", over.join(", "));
            self.violated("reply.remembered_too_long", text);
        }
    }

    /// Only rate limits are refused from memory, and only those who cannot have passed before.
    fn test_remembers_what_may_be(&mut self, caller: Caller, outcome: &AnyOutcome) {
        let by = match outcome {
            AnyOutcome::Accepted(AnyReceipt { decided_by, .. })
            | AnyOutcome::Rejected(Refusal { decided_by, .. }) => *decided_by,
        };
        let place = self.sent.get(&caller).map_or(0, |sent| sent.intent);
        let intent = self.intent(place);
        let about_rates = |asked: &Asked| {
            let items = asked.args.get("items").and_then(Value::as_array);
            asked.cmd == "policies.consume"
                || asked.cmd == "checks.consume"
                    && items.is_some_and(|items| items.iter().all(|one| one["policy"].is_string()))
        };
        let may_be = matches!(outcome, AnyOutcome::Rejected(_))
            && intent.key.is_none()
            && !intent.dry_run
            && intent.commands.iter().all(about_rates);
        if by == DecidedBy::Cache && !may_be {
            self.violated("reply.remembered_wrongly", format!("{caller} was told from memory"));
        }
    }

    /// A reply reaches its client.
    pub(crate) fn told(&mut self, caller: Caller, told: Told) {
        let Some(sent) = self.sent.get_mut(&caller) else { return };
        if std::mem::replace(&mut sent.ended, true) {
            return;
        }
        let place = sent.intent;
        let t = self.stamp();
        match told {
            Ok(AnyOutcome::Accepted(receipt)) => self.accepted((caller, place), t, receipt),
            Ok(AnyOutcome::Rejected(refusal)) => self.rejected((caller, place), t, refusal),
            Err(error) => {
                let code = error.kind().code().to_owned();
                self.note(format_args!("{caller} is told {error}"));
                let broke = Broke { t, op: caller, code };
                if error.kind() == ErrorKind::Unknown {
                    self.lines.push(Line::Unknown(broke));
                    self.again(place, error.kind());
                } else {
                    self.lines.push(Line::Error(broke));
                    self.again(place, error.kind());
                }
            }
        }
    }

    fn accepted(&mut self, (caller, place): (Caller, usize), t: u64, receipt: AnyReceipt) {
        let intent = self.intent(place).clone();
        let replies: Vec<Value> = receipt.replies.iter().map(bellpunch::Reply::to_json).collect();
        let reply = match replies.as_slice() {
            [one] if intent.commands.len() == 1 => one.clone(),
            _ => Value::Array(replies.clone()),
        };
        self.note(format_args!(
            "{caller} accepted at {}: {reply} {:?}",
            receipt.at, receipt.versions
        ));
        for reply in &replies {
            self.learn(intent.partition.as_str(), reply);
        }
        self.intent_mut(place).ended = true;
        let flag = match receipt.decided_by {
            _ if receipt.dry_run => Some("dry_run"),
            DecidedBy::Store => None,
            DecidedBy::Open => Some("open"),
            DecidedBy::Local => Some("local"),
            DecidedBy::Cache | _ => Some("stale"),
        };
        match flag {
            Some("open") => self.reached("degraded_open"),
            Some("local") => self.reached("degraded_local"),
            _ => {}
        }
        let flag = flag.map(str::to_owned);
        let (at, writes) = (receipt.at.to_string(), plain(&receipt.versions));
        let reads = plain(&receipt.as_of);
        let is_read = intent
            .commands
            .iter()
            .all(|asked| command(&asked.cmd).is_some_and(|spec| !spec.changes));
        if is_read {
            let read = Read { t, op: caller, as_of: reads, at, flag, reply: reply.clone() };
            self.lines.push(Line::Read(read));
        } else {
            // The journal's place of a list is that of its last command.
            let seq = receipt.seqs.iter().flatten().last().copied();
            let replayed = receipt.replayed;
            let reply = reply.clone();
            let accepted =
                Accepted { t, op: caller, at, replayed, writes, reads, seq, flag, reply };
            self.lines.push(Line::Accepted(accepted));
        }
        if let Some(key) = intent.resolves {
            let applied = reply.get("status").and_then(Value::as_str) == Some("applied");
            let receipt = reply.get("receipt").cloned().unwrap_or_default();
            let (t, partition) = (self.stamp(), intent.partition.as_str().to_owned());
            self.lines.push(Line::Resolved(Resolved { t, partition, key, applied, receipt }));
        }
    }

    /// Remembers ids that were drawn.
    fn learn(&mut self, partition: &str, reply: &Value) {
        let hold = match reply.get("hold").and_then(|hold| hold.get("account")) {
            Some(_) => "account_holds",
            None => "holds",
        };
        for (field, collection) in [
            ("ticket", "tickets"),
            ("hold", hold),
            ("upload", "uploads"),
            ("charge", "charges"),
            ("transfer", "transfers"),
            ("consumption", "consumptions"),
            ("refund", "refunds"),
            ("dispute", "disputes"),
        ] {
            let id = match reply.get(field) {
                Some(Value::String(id)) => Some(id.clone()),
                Some(view) => view.get("id").and_then(Value::as_str).map(str::to_owned),
                None => None,
            };
            if let Some(id) = id {
                let key = (partition.to_owned(), collection.to_owned());
                let known = self.drawn.entry(key).or_default();
                if !known.contains(&id) {
                    known.push(id);
                }
            }
        }
    }

    fn rejected(&mut self, (caller, place): (Caller, usize), t: u64, refusal: Refusal) {
        let code = refusal.rejection.code;
        if self.case.settings.defect == "canary" {
            self.violated("canary", format!("{caller} was rejected: {code}"));
        }
        self.note(format_args!("{caller} rejected at {}: {code} {:?}", refusal.at, refusal.as_of));
        let intent = self.intent_mut(place);
        intent.ended = true;
        let list = 1 < intent.commands.len();
        let dry = intent.dry_run;
        let flag = match refusal.decided_by {
            _ if dry => Some("dry_run"),
            DecidedBy::Store => None,
            DecidedBy::Open => Some("open"),
            DecidedBy::Local => Some("local"),
            DecidedBy::Cache | _ => Some("stale"),
        };
        self.lines.push(Line::Rejected(Rejected {
            t,
            op: caller,
            code: code.to_owned(),
            as_of: plain(&refusal.as_of),
            at: refusal.at.to_string(),
            index: list.then(|| u64::try_from(refusal.index).unwrap_or_default()),
            flag: flag.map(str::to_owned),
            reply: Value::Object(refusal.rejection.data),
        }));
    }

    /// A client waits no longer, or its connection is cut.
    pub(crate) fn lost(&mut self, caller: Caller, code: &'static str) {
        let Some(sent) = self.sent.get_mut(&caller) else { return };
        if std::mem::replace(&mut sent.ended, true) {
            return;
        }
        let place = sent.intent;
        self.note(format_args!("{caller} hears nothing: {code}"));
        let (t, op, code_text) = (self.stamp(), caller, code.to_owned());
        let broke = Broke { t, op, code: code_text };
        if code == "refused" {
            self.lines.push(Line::Error(broke));
            self.again(place, ErrorKind::StoreUnavailable);
        } else {
            self.lines.push(Line::Unknown(broke));
            self.again(place, ErrorKind::Unknown);
        }
    }

    /// Sends an intent again, if that is what a client does.
    fn again(&mut self, place: usize, why: ErrorKind) {
        let intent = self.intent(place);
        let safe = intent.key.is_some() || intent.resolves.is_some() || why != ErrorKind::Unknown;
        let hopeless = matches!(why, ErrorKind::Internal | ErrorKind::TooLarge);
        let bound = if self.healed { ATTEMPTS_MAX.saturating_mul(4) } else { ATTEMPTS_MAX };
        if intent.attempts < bound && safe && (!hopeless || intent.resolves.is_some()) {
            let attempts = intent.attempts;
            let mut rng = self.rng("again", self.next_caller);
            let longest = (10 * MILLI).saturating_mul(1 << attempts.min(6));
            let delay = rng.between(MILLI, longest.max(2 * MILLI));
            self.after(delay, Event::Send { intent: place });
        } else {
            self.intent_mut(place).ended = true;
        }
    }

    /// A node looks for records that say nothing any more, as the sweeper does.
    pub(crate) fn sweep(&mut self, (number, life): (usize, u64)) {
        if self.node(number).life != life || self.healed {
            return;
        }
        let skew = Duration::from_nanos(self.case.settings.skew);
        let by: Timestamp = self.clock(number).minus_or_epoch(skew);
        let partitions: Vec<Partition> = self.store.partitions().cloned().collect();
        for partition in partitions {
            let mut kinds = std::collections::BTreeMap::<String, Vec<String>>::new();
            for key in self.store.sweepable(&partition, (by, self.now)) {
                let ids = kinds.entry(key.kind.name().to_owned()).or_default();
                ids.push(key.id.as_str().to_owned());
            }
            for (kind, mut ids) in kinds {
                ids.truncate(64);
                let stored = ids.iter().map(|id| bellpunch::RecordId::stored(id)).collect();
                if sweep(&kind, stored).is_none() {
                    continue;
                }
                self.reached("swept");
                let key = Some(format!("sweep-{}", self.intents.len()));
                let cmd = match kind.as_str() {
                    "tickets" => "tickets.expire".to_owned(),
                    _ => format!("{kind}.sweep"),
                };
                let intent = Intent {
                    client: 1_000_u64.saturating_add(number.try_into().unwrap_or_default()),
                    node: number,
                    partition: partition.clone(),
                    commands: vec![Asked { cmd, args: json!({ "ids": ids }) }],
                    key,
                    dry_run: false,
                    elsewhere: false,
                    attempts: 0,
                    resolves: None,
                    ended: false,
                    fixed: true,
                };
                self.plan(intent, MICRO);
            }
        }
        let every = self.case.settings.sweep;
        self.after(every, Event::Sweep { node: number, life });
    }
}

fn plain(versions: &Versions) -> history::Versions {
    versions.iter().map(|(name, version)| (name.clone(), version.get())).collect()
}
