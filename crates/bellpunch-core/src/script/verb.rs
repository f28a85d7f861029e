//! Verbs of the full form, and the commands they stand for.
//!
//! Invariant: a value that is wrong on purpose (`-1`, `1.5`, a control character, a span of 0)
//! reaches the command as JSON, so that the command refuses it; only what is no value at all is an
//! error of the script.

use serde_json::{Map, Value, json};

use super::model::Step;
use super::value;

/// The words of one command: plain ones, then `name=value` ones.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

type Parsed<T> = Result<T, String>;

impl<'a> Words<'a> {
    fn of(words: &[&'a str]) -> Self {
        let mut plain = Vec::new();
        let mut named = Vec::new();
        for word in words {
            match value::split_outside_quotes(word, |c| c == '=').as_slice() {
                [name, _, ..] => {
                    let text = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
                    named.push((*name, text.unwrap_or_default()));
                }
                [_] | [] => plain.push(*word),
            }
        }
        Self { plain, named }
    }

    /// Exactly these plain words.
    fn exactly<const N: usize>(&self, what: &str) -> Parsed<[&'a str; N]> {
        <[&str; N]>::try_from(self.plain.clone()).map_err(|_| format!("expected {what}"))
    }

    /// Puts the named words into `content` as `field` says.
    fn into_content(self, content: &mut Map<String, Value>, field: FieldOf) -> Parsed<()> {
        for (name, text) in self.named {
            let wrong = || format!("`{name}={text}` is not understood here");
            for (name, value) in field(name, text).ok_or_else(wrong)? {
                if content.insert(name.clone(), value).is_some() {
                    return Err(format!("`{name}` is said twice"));
                }
            }
        }
        Ok(())
    }
}

/// Fields of the wire for a word `name=text`; `None` if there are none of this name or form.
type FieldOf = fn(&str, &str) -> Option<Vec<(String, Value)>>;

fn one(name: &str, value: Value) -> Option<Vec<(String, Value)>> {
    Some(vec![(name.to_owned(), value)])
}

/// Reads a command of the full form, without its time, repetition and modifiers.
pub(super) fn step(words: &[&str]) -> Parsed<Step> {
    match words {
        [] => Err("there is no command".to_owned()),
        ["restart"] => Ok(Step::Restart),
        ["store", "down"] => Ok(Step::StoreDown),
        ["store", "up"] => Ok(Step::StoreUp),
        [verb, rest @ ..] => {
            let (name, content) = command(verb, rest)?;
            Ok(Step::Command { name, content: Value::Object(content) })
        }
    }
}

type Content = (&'static str, Map<String, Value>);

fn command(verb: &str, rest: &[&str]) -> Parsed<Content> {
    let words = Words::of(rest);
    match verb {
        "consume" => consume(rest),
        "peek" => target_command(&words, ["quotas.read", "counters.read"]),
        "reset" => target_command(&words, ["quotas.reset", "policies.reset"]),
        "quota" | "create_quota" => named_command("quotas.create", words, quota_field),
        "configure" => named_command("quotas.configure", words, quota_field),
        "revoke" => named_command("quotas.revoke", words, no_field),
        "reactivate" => named_command("quotas.reactivate", words, no_field),
        "delete_policy" => named_command("policies.delete", words, no_field),
        "reset_all" => named_command("policies.reset_all", words, no_field),
        "void" => named_command("holds.void", words, hold_field),
        "extend" => named_command("holds.extend", words, hold_field),
        "abandon_upload" => named_command("uploads.abandon", words, upload_field),
        "complete_upload" => named_command("uploads.complete", words, upload_field),
        "create_upload" => create_upload(words),
        "delete_upload" => named_command("uploads.delete", words, upload_field),
        "download" => named_command("uploads.download", words, upload_field),
        "extend_upload" => named_command("uploads.extend", words, upload_field),
        "info" => named_command("uploads.read", words, upload_field),
        "set_limit" => set_limit(words),
        "policy" | "set_policy" => set_policy(words),
        "hold" => hold(rest),
        "capture" => capture(words),
        "refund" => refund(words),
        "publish_payload" => publish(words),
        _ => Err(format!("`{verb}` is no command")),
    }
}

fn name(text: &str) -> Parsed<Value> {
    value::name(text).map(Value::String).ok_or_else(|| format!("`{text}` is no name"))
}

fn number(text: &str) -> Parsed<Value> {
    value::number(text).ok_or_else(|| format!("`{text}` is no number"))
}

/// `unlimited`, or a number.
fn limit(text: &str) -> Option<Value> {
    if text == "unlimited" { Some(json!("unlimited")) } else { value::number(text) }
}

fn boolean(text: &str) -> Option<Value> {
    text.parse().ok().map(Value::Bool)
}

/// `q` is a quota, `p/k` a key under a policy.
fn target(text: &str) -> Parsed<Map<String, Value>> {
    let mut target = Map::new();
    match value::split_outside_quotes(text, |c| c == '/').as_slice() {
        [quota] => {
            target.insert("quota".to_owned(), name(quota)?);
        }
        [policy, key] => {
            target.insert("policy".to_owned(), name(policy)?);
            target.insert("key".to_owned(), name(key)?);
        }
        _ => return Err(format!("`{text}` is neither a quota nor policy/key")),
    }
    Ok(target)
}

/// Targets with their units.
type Items = Vec<Map<String, Value>>;

/// `target units + target units …`, and the words that are left.
fn items<'a>(words: &[&'a str]) -> Parsed<(Items, Vec<&'a str>)> {
    let mut items = Vec::new();
    let mut rest = words;
    loop {
        let [text, units, tail @ ..] = rest else {
            return Err("expected a target and its units".to_owned());
        };
        let mut item = target(text)?;
        item.insert("units".to_owned(), number(units)?);
        items.push(item);
        match tail {
            ["+", tail @ ..] => rest = tail,
            tail => return Ok((items, tail.to_vec())),
        }
    }
}

fn consume(words: &[&str]) -> Parsed<Content> {
    let (mut items, rest) = items(words)?;
    let rest = Words::of(&rest);
    rest.exactly::<0>("name=value after the items")?;
    if let [_, _, ..] = items.as_slice() {
        let mut content = Map::new();
        content.insert("items".to_owned(), json!(items));
        rest.into_content(&mut content, |name, text| match name {
            "id" => one("id", Value::String(value::name(text)?)),
            _ => None,
        })?;
        return Ok(("checks.consume", content));
    }
    let mut content = items.pop().unwrap_or_default();
    let subject = |content: &mut Map<String, Value>, field| {
        content.remove(field).map(|id| content.insert("id".to_owned(), id)).is_some()
    };
    let name = if subject(&mut content, "quota") { "quotas.consume" } else { "policies.consume" };
    subject(&mut content, "policy");
    rest.into_content(&mut content, |name, text| match name {
        // The id that is given is the charge's; the subject's is in the path.
        "id" => one("charge", Value::String(value::name(text)?)),
        "if_version" => one("if_version", value::number(text)?),
        _ => None,
    })?;
    Ok((name, content))
}

/// A command on a quota, or the like one on a key under a policy.
fn target_command(words: &Words<'_>, names: [&'static str; 2]) -> Parsed<Content> {
    let [text] = words.exactly("one target")?;
    if let Some((name, _)) = words.named.first() {
        return Err(format!("`{name}=` is not understood here"));
    }
    let mut content = target(text)?;
    let [of_quota, of_key] = names;
    if let Some(quota) = content.remove("quota") {
        content.insert("id".to_owned(), quota);
        return Ok((of_quota, content));
    }
    if of_key != "counters.read"
        && let Some(policy) = content.remove("policy")
    {
        content.insert("id".to_owned(), policy);
    }
    Ok((of_key, content))
}

/// A command on one named record.
fn named_command(name: &'static str, words: Words<'_>, field: FieldOf) -> Parsed<Content> {
    let [id] = words.exactly("one name")?;
    let mut content = Map::new();
    content.insert("id".to_owned(), self::name(id)?);
    words.into_content(&mut content, field)?;
    Ok((name, content))
}

fn if_version(name: &str, text: &str) -> Option<Vec<(String, Value)>> {
    match (name, text) {
        ("if_version", "*") => one(name, json!("*")),
        ("if_version", _) => one(name, value::number(text)?),
        _ => None,
    }
}

fn no_field(name: &str, text: &str) -> Option<Vec<(String, Value)>> {
    if_version(name, text)
}

fn set_limit(words: Words<'_>) -> Parsed<Content> {
    let [id, text] = words.exactly("a quota and its limit")?;
    let mut content = Map::new();
    content.insert("id".to_owned(), name(id)?);
    let limit = limit(text).ok_or_else(|| format!("`{text}` is no limit"))?;
    content.insert("limit".to_owned(), limit);
    words.into_content(&mut content, if_version)?;
    Ok(("quotas.set_limit", content))
}

/// `30/1h`: so many in each period.
fn per(text: &str) -> Option<(Value, Value)> {
    let (count, period) = text.split_once('/')?;
    Some((value::number(count)?, value::span_json(period)?))
}

fn instant(text: &str) -> Option<Value> {
    value::instant(text).map(|instant| Value::String(instant.to_string()))
}

fn quota_field(name: &str, text: &str) -> Option<Vec<(String, Value)>> {
    match name {
        "limit" => one(name, limit(text)?),
        "used" => one(name, value::number(text)?),
        "expires" => one("expires_at", instant(text)?),
        "refill" => {
            let (amount, period) = match text.strip_prefix("full/") {
                Some(period) => (json!("full"), value::span_json(period)?),
                None => per(text)?,
            };
            one(name, json!({ "amount": amount, "period_ns": period }))
        }
        "charges" if matches!(text, "none" | "for_ever") => one(name, json!(text)),
        "charges" => one(name, json!({ "keep_ns": value::span_json(text)? })),
        _ => if_version(name, text),
    }
}

fn set_policy(words: Words<'_>) -> Parsed<Content> {
    let [id, algorithm] = words.exactly("a name and an algorithm")?;
    let mut content = Map::new();
    content.insert("id".to_owned(), name(id)?);
    content.insert("algorithm".to_owned(), json!(algorithm));
    words.into_content(&mut content, policy_field)?;
    Ok(("policies.set", content))
}

fn policy_field(name: &str, text: &str) -> Option<Vec<(String, Value)>> {
    match name {
        "align" | "unit" | "zone" | "on_store_failure" | "durability" => one(name, json!(text)),
        "limit" | "burst" | "local_limit" => one(name, limit(text)?),
        "anchor" | "max_open_holds" | "max_keys" | "local_rate" => one(name, value::number(text)?),
        "period" | "max_ttl" | "stale_denials" => {
            one(&format!("{name}_ns"), value::span_json(text)?)
        }
        "charges" | "shadow" | "best_effort" => one(name, boolean(text)?),
        "rate" => {
            let (rate, period) = per(text)?;
            Some(vec![("rate".to_owned(), rate), ("period_ns".to_owned(), period)])
        }
        _ => if_version(name, text),
    }
}

fn hold_field(name: &str, text: &str) -> Option<Vec<(String, Value)>> {
    match name {
        "ttl" => one("ttl_ns", value::span_json(text)?),
        "owner" => one(name, Value::String(value::name(text)?)),
        "id" => one("charge", Value::String(value::name(text)?)),
        _ => None,
    }
}

fn hold(words: &[&str]) -> Parsed<Content> {
    let [id, rest @ ..] = words else {
        return Err("expected a hold and its items".to_owned());
    };
    let (items, rest) = items(rest)?;
    let rest = Words::of(&rest);
    rest.exactly::<0>("name=value after the items")?;
    let mut content = Map::new();
    content.insert("id".to_owned(), name(id)?);
    content.insert("items".to_owned(), json!(items));
    rest.into_content(&mut content, |name, text| match name {
        "id" => None,
        _ => hold_field(name, text),
    })?;
    Ok(("holds.create", content))
}

/// A name, and units if they are said.
fn name_and_units(words: &Words<'_>, what: &str) -> Parsed<Map<String, Value>> {
    let mut content = Map::new();
    match words.plain.as_slice() {
        [id] => {
            content.insert("id".to_owned(), name(id)?);
        }
        [id, units] => {
            content.insert("id".to_owned(), name(id)?);
            content.insert("units".to_owned(), number(units)?);
        }
        _ => return Err(format!("expected {what} and at most its units")),
    }
    Ok(content)
}

fn capture(words: Words<'_>) -> Parsed<Content> {
    let mut content = name_and_units(&words, "a hold")?;
    words.into_content(&mut content, hold_field)?;
    Ok(("holds.capture", content))
}

fn refund(words: Words<'_>) -> Parsed<Content> {
    let mut content = name_and_units(&words, "a charge")?;
    words.into_content(&mut content, no_field)?;
    Ok(("charges.refund", content))
}

/// A hash in place of a digest: rules only compare them, so the bytes of the name do.
pub(super) fn stand_in_hash(text: &str) -> String {
    let mut hash: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    hash.truncate(64);
    format!("{hash:0<64}")
}

/// The setting `max_payload` of the scripts, which a door lays over what a caller sends.
const PAYLOAD_MAX: u64 = 100;

fn create_upload(words: Words<'_>) -> Parsed<Content> {
    let (name, mut content) = named_command("uploads.create", words, upload_field)?;
    content.insert("payload_max".to_owned(), json!(PAYLOAD_MAX));
    Ok((name, content))
}

fn publish(words: Words<'_>) -> Parsed<Content> {
    let [id, blob, size] = words.exactly("an upload, a blob and its size")?;
    let mut content = Map::new();
    content.insert("id".to_owned(), name(id)?);
    content.insert("blob".to_owned(), name(blob)?);
    content.insert("size".to_owned(), number(size)?);
    content.insert("sha256".to_owned(), json!(stand_in_hash(blob)));
    content.insert("started_at".to_owned(), json!({ "$now": true }));
    words.into_content(&mut content, upload_field)?;
    Ok(("uploads.publish", content))
}

fn upload_field(name: &str, text: &str) -> Option<Vec<(String, Value)>> {
    match name {
        "size" => one("size_limit", value::number(text)?),
        "charge" => {
            let items: Option<Vec<Value>> = text.split('+').map(charge_item).collect();
            one(name, Value::Array(items?))
        }
        "ttl" => one("ttl_ns", value::span_json(text)?),
        "max_downloads" => one(name, limit(text)?),
        "generation" => one(name, value::number(text)?),
        "expires" => one("expires_at", instant(text)?),
        "auto_delete" => one(name, boolean(text)?),
        "owner" => one(name, Value::String(value::name(text)?)),
        "delete_secret" => one("delete_hash", json!(stand_in_hash(text))),
        "secret" => one("secret_hash", json!(stand_in_hash(text))),
        _ => None,
    }
}

/// `q:1` holds one unit of q, `b:bytes` the size.
fn charge_item(text: &str) -> Option<Value> {
    let (of, units) = text.rsplit_once(':')?;
    let mut item = target(of).ok()?;
    match units {
        "bytes" => item.insert("bytes".to_owned(), Value::Bool(true)),
        units => item.insert("units".to_owned(), value::number(units)?),
    };
    Some(Value::Object(item))
}
