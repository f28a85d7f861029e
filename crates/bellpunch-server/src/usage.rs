//! What commands on limits did, for metrics and the log.
//!
//! Invariant: only what was committed is counted: no replay, no dry run, no look. Keys are never
//! told, and the names of policies only in a line about one decision.

use bellpunch::{AnyReceipt, DecidedBy, Partition};
use serde_json::{Map, Value};

use crate::app::App;
use crate::config::LogLevel;
use crate::metrics::Used;

/// One item that a command asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    policy: Option<String>,
    key: Option<String>,
    units: u64,
}

/// What a command asks for, in the wire's names.
pub(crate) fn asked(command: &str, content: &Map<String, Value>) -> Vec<Asked> {
    let text = |item: &Map<String, Value>, name: &str| {
        item.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let units =
        |item: &Map<String, Value>| item.get("units").map_or(Some(1), Value::as_u64).unwrap_or(0);
    match command {
        "quotas.consume" => vec![Asked { policy: None, key: None, units: units(content) }],
        "policies.consume" => vec![Asked {
            policy: text(content, "id"),
            key: text(content, "key"),
            units: units(content),
        }],
        "checks.consume" => {
            let items = content.get("items").and_then(Value::as_array).into_iter().flatten();
            let item = |item: &Value| {
                let item = item.as_object()?;
                let (policy, key) = (text(item, "policy"), text(item, "key"));
                Some(Asked { policy, key, units: units(item) })
            };
            items.filter_map(item).collect()
        }
        _ => Vec::new(),
    }
}

/// Counts and tells what an accepted command did; `body` is its reply.
pub(crate) fn note(
    app: &App,
    partition: &Partition,
    (command, asked): (&str, &[Asked]),
    (receipt, body): (&AnyReceipt, &Map<String, Value>),
) {
    if receipt.dry_run || receipt.replayed || body.contains_key("dry_run") {
        return;
    }
    let targets = targets(body);
    if receipt.decided_by != DecidedBy::Store {
        storeless(app, receipt.decided_by, &targets);
    }
    over_limit(app, partition, command, &targets);
    count(app, command, body, &targets);
    if receipt.decided_by == DecidedBy::Open {
        return;
    }
    for item in asked {
        let same = |target: &&&Value, name: &str, wanted: &Option<String>| {
            target.get(name).and_then(Value::as_str) == wanted.as_deref()
        };
        let target = targets
            .iter()
            .find(|target| same(target, "policy", &item.policy) && same(target, "key", &item.key));
        let label = if item.policy.is_some() { "other" } else { "quota" };
        let passed_over = target
            .and_then(|target| target.get("would_reject").and_then(Value::as_bool))
            .unwrap_or_default();
        if !passed_over {
            app.metrics.used(Used::Charged(label), item.units);
        }
    }
}

fn targets(body: &Map<String, Value>) -> Vec<&Value> {
    let single = ["quota", "counter"].iter().filter_map(|name| body.get(*name));
    let several = body.get("targets").and_then(Value::as_array).into_iter().flatten();
    single.chain(several).filter(|target| target.is_object()).collect()
}

/// Captures and refunds tell one sum over their items; it is a quota's if all of them are.
fn label_of(targets: &[&Value]) -> &'static str {
    let rate = targets.iter().any(|target| target.get("policy").is_some());
    if rate { "other" } else { "quota" }
}

fn count(app: &App, command: &str, body: &Map<String, Value>, targets: &[&Value]) {
    let number = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or_default();
    match command {
        "holds.capture" => {
            app.metrics.used(Used::HoldEnded("captured"), 1);
            app.metrics.used(Used::Charged(label_of(targets)), number("captured"));
        }
        "holds.void" => app.metrics.used(Used::HoldEnded("voided"), 1),
        "quotas.refund" | "charges.refund" => {
            app.metrics.used(Used::Refunded(label_of(targets)), number("refunded"));
        }
        _ => {}
    }
    let shadow = |target: &&&Value| target.get("would_reject") == Some(&Value::Bool(true));
    let shadows = u64::try_from(targets.iter().filter(shadow).count()).unwrap_or(u64::MAX);
    if 0 < shadows {
        app.metrics.used(Used::ShadowRejection("other"), shadows);
    }
}

/// Never a race: the limit was lowered, units were imported, or an older hold was captured.
fn over_limit(app: &App, partition: &Partition, command: &str, targets: &[&Value]) {
    for quota in targets.iter().filter(|target| target.get("policy").is_none()) {
        let number = |name: &str| quota.get(name).and_then(Value::as_u64);
        let (Some(limit), Some(used), Some(held)) =
            (number("limit"), number("used"), number("held"))
        else {
            continue;
        };
        if limit < used.saturating_add(held) {
            let id = quota.get("id").and_then(Value::as_str).unwrap_or_default();
            let fields = [
                ("partition", partition.as_str().to_owned()),
                ("quota", id.to_owned()),
                ("limit", limit.to_string()),
                ("used", used.to_string()),
                ("held", held.to_string()),
                ("cause", command.to_owned()),
            ];
            app.log.event(LogLevel::Warn, "usage_over_limit", &fields);
        }
    }
}

fn storeless(app: &App, mode: DecidedBy, targets: &[&Value]) {
    let mode = match mode {
        DecidedBy::Open => "open",
        DecidedBy::Local => "local",
        // Refusals alone come from memory, and no line is written for each of a flood.
        DecidedBy::Cache | DecidedBy::Store | _ => return,
    };
    for target in targets {
        let policy = target.get("policy").and_then(Value::as_str).unwrap_or_default();
        let fields = [("policy", policy.to_owned()), ("mode", mode.to_owned())];
        app.log.event(LogLevel::Warn, "storeless_decision", &fields);
    }
}
