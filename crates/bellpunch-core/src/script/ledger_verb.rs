//! Verbs of the book's scripts, and the commands they stand for.

use serde_json::{Map, Value, json};

use super::book::{Commands, Words, money, reference, time};
use super::value;

type Parsed<T> = Result<T, String>;

/// Reads the words of one part.
pub(super) fn commands(words: &[&str]) -> Commands {
    let [first, rest @ ..] = words else { return Err("there is no command".to_owned()) };
    if let Some((name, sum)) = first.split_once('=')
        && name.starts_with(|c: char| c.is_ascii_uppercase())
    {
        return made(name, sum, rest);
    }
    let words = Words::of(rest);
    let (name, mut content) = match *first {
        "payment" => return payment(None, &words.plain.join(" "), &words),
        "consume" | "replenish" | "restore" => retainer(first, &words)?,
        "complete" | "fail" | "cancel" | "apply" | "unapply" | "dispute" | "lose" | "win" => {
            payment_verb(first, &words)?
        }
        "refund" => refund(&words)?,
        "invoice" | "issue" | "void" | "credit" | "write_off" | "reinstate" | "pay" | "send"
        | "discard" => invoice(first, &words)?,
        "transfer" | "hold" | "capture" | "void_hold" | "reverse" | "close" | "deposit" => {
            account(first, &words)?
        }
        "client" | "update_retainer" | "update_client" => plain(first, &words)?,
        "job" | "submit" | "accept" | "reject" | "withdraw" | "cancel_job" | "complete_job" => {
            job(first, &words)?
        }
        "series" | "advance" | "next" | "void_number" | "chain" | "seal" => series(first, &words)?,
        "currency" => {
            let [code, scale] = exactly(&words, "a code and a scale")?;
            ("currencies.define", fields(json!({ "code": code, "scale": number(scale)? })))
        }
        "read" => {
            let [collection, id] = exactly(&words, "a collection and an id")?;
            return Ok(vec![(read_name(collection)?, fields(json!({ "id": reference(id) })))]);
        }
        other => return Err(format!("`{other}` is no command")),
    };
    options(&mut content, &words)?;
    Ok(vec![(name, content)])
}

type Made = (&'static str, Map<String, Value>);

fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn exactly<'a, const N: usize>(words: &Words<'a>, what: &str) -> Parsed<[&'a str; N]> {
    <[&str; N]>::try_from(words.plain.clone()).map_err(|_| format!("expected {what}"))
}

fn number(text: &str) -> Parsed<Value> {
    value::number(text).ok_or_else(|| format!("`{text}` is no number"))
}

fn read_name(collection: &str) -> Parsed<&'static str> {
    Ok(match collection {
        "refund" => "refunds.read",
        "dispute" => "disputes.read",
        "hold" => "account_holds.read",
        "transfer" => "transfers.read",
        "consumption" => "consumptions.read",
        other => return Err(format!("`{other}` is nothing to read")),
    })
}

/// Options that stand for a field each.
fn options(content: &mut Map<String, Value>, words: &Words<'_>) -> Parsed<()> {
    for (name, text) in &words.options {
        let (name, value) = match *name {
            "minimum" => ("minimum_balance", money(text)?),
            "top_up" => ("top_up", money(text)?),
            "ends" => ("ends_at", time(text)?),
            "starts" => ("starts_at", time(text)?),
            "ttl" => ("ttl_ns", value::span_json(&format!("{text}ms")).unwrap_or_default()),
            "if_version" | "last" => (*name, number(text)?),
            "invoice" | "payment" | "settle" | "overpayment" | "excess" | "external_id"
            | "series" | "document" | "scope" | "by" | "class" | "zone" | "overflow" | "chain"
            | "template" | "hash" | "currency" | "number" => (*name, json!(text)),
            "amount" => ("amount", money(text)?),
            "sources" => ("sources", sources(text)?),
            "discount" => ("discount", json!({ "amount": money(text)? })),
            "scoped" => ("scoped", json!(*text == "true")),
            // Read by the verbs themselves.
            "client" | "vat" => continue,
            other => return Err(format!("`{other}` is no option")),
        };
        content.insert(name.to_owned(), value);
    }
    Ok(())
}

fn option<'a>(words: &Words<'a>, name: &str) -> Option<&'a str> {
    words.options.iter().find(|(option, _)| *option == name).map(|(_, text)| *text)
}

fn client(words: &Words<'_>) -> Value {
    json!(option(words, "client").unwrap_or("C"))
}

/// `I1 60000, R 100, unapplied 5`: where it goes, or where it comes from.
fn places(text: &str) -> Parsed<Vec<Value>> {
    let place = |text: &str| {
        let (name, sum) = text.trim().split_once([' ', ':']).ok_or("a place and a sum")?;
        let sum = money(sum)?;
        Ok(match name.chars().next() {
            Some('I') => json!({ "invoice": name, "amount": sum }),
            Some('R') => json!({ "retainer": name, "amount": sum }),
            _ if name == "unapplied" => json!({ "unapplied": sum }),
            _ => return Err(format!("`{name}` is no place for money")),
        })
    };
    text.split(',').map(place).collect()
}

fn sources(text: &str) -> Parsed<Value> {
    Ok(Value::Array(places(text)?))
}

/// `R=100 minimum=50`, `I=100 paid by P`, `P=100>I`, `A=100`.
fn made(name: &str, sum: &str, rest: &[&str]) -> Commands {
    let words = Words::of(rest);
    match name.chars().next() {
        Some('R') => {
            let mut content = fields(json!({
                "id": name, "client": client(&words), "type": "advance", "currency": "SAR",
            }));
            if sum != "0" {
                content.insert("initial_amount".to_owned(), money(sum)?);
            }
            options(&mut content, &words)?;
            Ok(vec![("retainers.create", content)])
        }
        Some('I') => {
            let mut all = vec![("invoices.create", of_invoice(Some(name), sum, &words)?)];
            if let ["paid", "by", payment] = words.plain.as_slice() {
                let place = format!("{name} {sum}");
                all.extend(self::payment(Some(payment), &format!("{sum} > {place}"), &words)?);
                all.push(("payments.complete", fields(json!({ "id": payment }))));
            }
            Ok(all)
        }
        Some('P' | 'Q' | 'S') => {
            let mut plain = words.plain.clone();
            let completed = plain.last() == Some(&"completed");
            if completed {
                plain.pop();
            }
            let text = [&[sum], plain.as_slice()].concat().join(" ");
            let mut all = payment(Some(name), &text, &words)?;
            if completed {
                all.push(("payments.complete", fields(json!({ "id": name }))));
            }
            Ok(all)
        }
        Some('A' | 'B') => {
            let owner = option(&words, "owner").unwrap_or(name);
            let content = json!({ "id": name, "owner": owner, "currency": "SAR" });
            let mut all = vec![("accounts.create", fields(content))];
            if sum != "0" {
                let credit = json!({ "id": name, "amount": money(sum)?, "from": "bank" });
                all.push(("accounts.credit", fields(credit)));
            }
            Ok(all)
        }
        _ => Err(format!("`{name}` is nothing that can be made")),
    }
}

fn of_invoice(id: Option<&str>, sum: &str, words: &Words<'_>) -> Parsed<Map<String, Value>> {
    let vat: u64 = option(words, "vat").unwrap_or("0").parse().map_err(|_| "vat in bp")?;
    // `3x333`: three lines of that price; `333,333,334`: one line each.
    let prices: Vec<String> = match sum.split_once('x') {
        Some((count, price)) => {
            let count = count.parse().map_err(|_| format!("`{count}` is no count"))?;
            vec![price.to_owned(); count]
        }
        None => sum.split(',').map(str::to_owned).collect(),
    };
    let line = |price: &String| -> Parsed<Value> {
        let (price, quantity) = price.split_once('*').unwrap_or((price.as_str(), "1000"));
        Ok(json!({
            "description": "work", "quantity_milli": number(quantity)?,
            "unit_price": money(price)?, "vat_bp": vat,
        }))
    };
    let lines: Vec<Value> = prices.iter().map(line).collect::<Parsed<_>>()?;
    let currency = sum.split_once(':').map_or("SAR", |(_, currency)| currency);
    let draft = words.plain.contains(&"draft");
    let mut content = fields(json!({
        "client": client(words), "currency": currency, "lines": lines,
        "due_on": "2025-07-15", "issue": !draft,
    }));
    if let Some(id) = id {
        content.insert("id".to_owned(), json!(id));
    }
    for (name, text) in &words.options {
        match *name {
            "discount" => {
                content.insert("discount".to_owned(), json!({ "amount": money(text)? }));
            }
            "series" => {
                content.insert("series".to_owned(), json!(text));
            }
            _ => {}
        }
    }
    Ok(content)
}

/// `100000 > I1 60000, I2 40000`, `50000>I`, `50000`.
fn payment(id: Option<&str>, text: &str, words: &Words<'_>) -> Commands {
    let (sum, to) = text.split_once('>').map_or((text, None), |(sum, to)| (sum, Some(to)));
    let sum = sum.trim();
    let mut content = fields(json!({
        "client": client(words), "amount": money(sum)?, "method": "transfer",
    }));
    if let Some(id) = id {
        content.insert("id".to_owned(), json!(id));
    }
    if let Some(to) = to.map(str::trim) {
        let single = !to.contains([' ', ',']);
        let to = if single { format!("{to} {sum}") } else { to.to_owned() };
        content.insert("destinations".to_owned(), Value::Array(places(&to)?));
    }
    options(&mut content, words)?;
    Ok(vec![("payments.create", content)])
}

fn retainer(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    Ok(match (verb, words.plain.as_slice()) {
        ("consume", [id, sum]) => {
            ("retainers.consume", fields(json!({ "id": id, "amount": money(sum)? })))
        }
        ("replenish", [id, sum]) => {
            ("retainers.replenish", fields(json!({ "id": id, "amount": money(sum)? })))
        }
        ("restore", [id]) => ("retainers.restore", fields(json!({ "consumption": reference(id) }))),
        ("restore", [id, sum]) => {
            let content = json!({ "consumption": reference(id), "amount": money(sum)? });
            ("retainers.restore", fields(content))
        }
        _ => return Err(format!("`{verb}` names a retainer and a sum")),
    })
}

fn refund(words: &Words<'_>) -> Parsed<Made> {
    let (id, sum) = match words.plain.as_slice() {
        [id] => (*id, None),
        [id, sum] => (*id, Some(money(sum)?)),
        _ => return Err("`refund` names what, and a sum".to_owned()),
    };
    let name = if id.starts_with('R') { "retainers.refund" } else { "payments.refund" };
    let mut content = fields(json!({ "id": id, "reason": "asked for" }));
    if let Some(sum) = sum {
        content.insert("amount".to_owned(), sum);
    }
    Ok((name, content))
}

fn payment_verb(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    let is_refund = |id: &&&str| id.starts_with('F');
    let refund = words.plain.first().filter(is_refund).is_some();
    Ok(match (verb, words.plain.as_slice()) {
        ("complete" | "fail", [id]) if refund => {
            let name = if verb == "fail" { "refunds.fail" } else { "refunds.complete" };
            (name, fields(json!({ "id": reference(id) })))
        }
        ("complete", [id, ">", to @ ..]) => {
            let places = places(&to.join(" "))?;
            ("payments.complete", fields(json!({ "id": id, "destinations": places })))
        }
        ("complete", [id]) => ("payments.complete", fields(json!({ "id": id }))),
        ("fail", [id]) => ("payments.fail", fields(json!({ "id": id, "reason": "no money" }))),
        ("cancel", [id]) => ("payments.cancel", fields(json!({ "id": id, "reason": "no" }))),
        ("apply", [id, "to", to, sum]) => {
            let to = target(to)?;
            ("payments.apply", fields(json!({ "id": id, "to": to, "amount": money(sum)? })))
        }
        ("unapply", [id, "from", from]) => {
            ("payments.unapply", fields(json!({ "id": id, "from": target(from)? })))
        }
        ("unapply", [id, "from", from, sum]) => {
            let from = target(from)?;
            ("payments.unapply", fields(json!({ "id": id, "from": from, "amount": money(sum)? })))
        }
        ("dispute", [id, sum]) => {
            let external = option(words, "external_id").unwrap_or("bank-1");
            let content = json!({ "id": id, "amount": money(sum)?, "external_id": external });
            ("payments.dispute", fields(content))
        }
        ("lose", [id]) => ("disputes.lose", fields(json!({ "id": reference(id) }))),
        ("win", [id]) => ("disputes.win", fields(json!({ "id": reference(id) }))),
        _ => return Err(format!("`{verb} {}` is not understood", words.plain.join(" "))),
    })
}

/// One place for money, as `apply` and `unapply` name it.
fn target(name: &str) -> Parsed<Value> {
    match name.chars().next() {
        Some('I') => Ok(json!({ "invoice": name })),
        Some('R') => Ok(json!({ "retainer": name })),
        _ => Err(format!("`{name}` is no place for money")),
    }
}

fn invoice(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    Ok(match (verb, words.plain.as_slice()) {
        ("invoice", [sum, ..]) => ("invoices.create", of_invoice(None, sum, words)?),
        ("issue", [id]) => ("invoices.issue", fields(json!({ "id": id }))),
        ("send", [id]) => ("invoices.send", fields(json!({ "id": id }))),
        ("discard", [id]) => ("invoices.discard", fields(json!({ "id": id }))),
        ("void", [id]) => ("invoices.void", fields(json!({ "id": id, "reason": "wrong" }))),
        ("credit", [id, net]) => {
            let vat: u64 = option(words, "vat").unwrap_or("0").parse().map_err(|_| "vat in bp")?;
            let lines = json!([{ "net": money(net)?, "vat_bp": vat }]);
            let content = json!({ "id": id, "lines": lines, "reason": "credit" });
            ("invoices.credit", fields(content))
        }
        ("write_off", [id]) => {
            ("invoices.write_off", fields(json!({ "id": id, "reason": "gone" })))
        }
        ("reinstate", [id]) => ("invoices.reinstate", fields(json!({ "id": id }))),
        ("pay", [id, sum]) => {
            let content = json!({ "id": id, "amount": money(sum)?, "method": "cash" });
            ("invoices.pay", fields(content))
        }
        _ => return Err(format!("`{verb} {}` is not understood", words.plain.join(" "))),
    })
}

fn account(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    Ok(match (verb, words.plain.as_slice()) {
        ("transfer", [from, "to", to, sum]) => {
            let line = |account: &str, side: &str| -> Parsed<Value> {
                Ok(json!({ "account": account, "side": side, "amount": money(sum)? }))
            };
            let lines = json!([line(from, "debit")?, line(to, "credit")?]);
            ("transfers.create", fields(json!({ "lines": lines })))
        }
        ("transfer", [from, debit, "against", to, credit]) => {
            let line = |account: &str, side: &str, sum: &str| -> Parsed<Value> {
                Ok(json!({ "account": account, "side": side, "amount": money(sum)? }))
            };
            let lines = json!([line(from, "debit", debit)?, line(to, "credit", credit)?]);
            ("transfers.create", fields(json!({ "lines": lines })))
        }
        ("deposit", [id, sum]) => {
            let content = json!({ "id": id, "amount": money(sum)?, "from": "bank" });
            ("accounts.credit", fields(content))
        }
        ("hold", [id, sum]) => {
            let day = value::span_json("1d").unwrap_or_default();
            let content = json!({ "id": id, "amount": money(sum)?, "ttl_ns": day });
            ("accounts.hold", fields(content))
        }
        ("capture", [hold, sum, "to", to]) => {
            let content = json!({ "hold": reference(hold), "amount": money(sum)?, "to": to });
            ("accounts.capture", fields(content))
        }
        ("void_hold", [hold]) => ("accounts.void_hold", fields(json!({ "hold": reference(hold) }))),
        ("reverse", [id]) => ("transfers.reverse", fields(json!({ "id": reference(id) }))),
        ("close", [id]) => ("accounts.close", fields(json!({ "id": id }))),
        _ => return Err(format!("`{verb} {}` is not understood", words.plain.join(" "))),
    })
}

fn plain(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    Ok(match (verb, words.plain.as_slice()) {
        ("client", []) => {
            ("clients.create", fields(json!({ "scope": "firm", "name": "somebody" })))
        }
        ("update_retainer", [id]) => ("retainers.update", fields(json!({ "id": id }))),
        ("update_client", [id]) => ("clients.update", fields(json!({ "id": id }))),
        _ => return Err(format!("`{verb} {}` is not understood", words.plain.join(" "))),
    })
}

fn job(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    let by = json!(option(words, "by").unwrap_or("owner"));
    let pair = |job: &str, proposer: &str| json!({ "job": job, "proposer": proposer });
    Ok(match (verb, words.plain.as_slice()) {
        ("job", [id]) => ("jobs.create", fields(json!({ "id": id, "owner": "owner" }))),
        ("submit", [job, proposer]) => ("proposals.create", fields(pair(job, proposer))),
        ("withdraw", [job, proposer]) => ("proposals.withdraw", fields(pair(job, proposer))),
        ("accept" | "reject", [job, proposer]) => {
            let mut content = fields(pair(job, proposer));
            content.insert("by".to_owned(), by);
            let name = if verb == "accept" { "proposals.accept" } else { "proposals.reject" };
            (name, content)
        }
        ("cancel_job", [id]) => ("jobs.cancel", fields(json!({ "id": id, "by": by }))),
        ("complete_job", [id]) => ("jobs.complete", fields(json!({ "id": id, "by": by }))),
        _ => return Err(format!("`{verb} {}` is not understood", words.plain.join(" "))),
    })
}

fn series(verb: &str, words: &Words<'_>) -> Parsed<Made> {
    Ok(match (verb, words.plain.as_slice()) {
        ("series", [name, template, class]) => {
            let content = json!({
                "name": name, "template": template, "class": class, "zone": "Asia/Riyadh",
            });
            ("series.define", fields(content))
        }
        ("advance", [name, period]) => {
            ("series.advance", fields(json!({ "name": name, "period": period })))
        }
        ("next", [name]) => ("series.next", fields(json!({ "name": name }))),
        ("void_number", [name, number]) => {
            let content = json!({ "name": name, "number": number, "reason": "lost" });
            ("series.void", fields(content))
        }
        ("chain", [name, seal]) => {
            let genesis = "0".repeat(64);
            let content = json!({ "name": name, "genesis_hash": genesis, "seal": seal });
            ("chains.define", fields(content))
        }
        ("seal", [document, hash]) => {
            let content = json!({ "document": document, "hash": hash.repeat(64) });
            ("chains.seal", fields(content))
        }
        _ => return Err(format!("`{verb} {}` is not understood", words.plain.join(" "))),
    })
}
