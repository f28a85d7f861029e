//! Pages of what belongs to one record: the postings of an account, the refunds of a payment, the
//! proposals for a job, the numbers of a series; and what does not agree in a series or a chain.
//!
//! Postings are shown as they are stored: one is never changed. What changes is read by its own
//! command, as in every list.

use bellpunch::audit::Finding;
use bellpunch::{AccountId, CallOptions, CommandSpec, Key, Kind, Partition, RecordId, RecordKey};
use serde_json::{Map, Value, json};

use crate::app::{Answer, App, Ask};
use crate::call::{partition, prepare_own};
use crate::journal::undecodable;
use crate::list::{Found, PageAsk, members, named, page_ask, paged, scan};
use crate::problem::Problem;
use crate::reply::singular;
use crate::route::{Action, Under};
use crate::schema::Schemas;
use crate::{audit, reserved};

/// What stands in the path before the last segment.
fn subject(ask: &Ask<'_>) -> Result<Key, Problem> {
    let name = ["id", "name"].iter().find_map(|name| ask.captures.get(*name));
    let name = name.map(String::as_str).unwrap_or_default();
    reserved::check("id", name)?;
    Key::new(name).map_err(|error| {
        Problem::new(error.code()).with("field", "id").with("reason", error.reason())
    })
}

/// What the ids begin with of all that is stored below a name.
fn prefix(name: &str) -> String {
    format!("{}:{name}", name.len())
}

/// Narrows a page to what is stored below a name, in order of time or value: that has no prefix.
fn begin_with(page: &mut PageAsk, name: &str) -> Result<(), Problem> {
    if !page.prefix.is_empty() {
        return Err(Problem::field("prefix", "not of this list: leave it out"));
    }
    page.prefix = prefix(name);
    Ok(())
}

/// A page of what belongs to a record. A record that is not there has an empty one.
pub(crate) async fn page(
    app: &App,
    (under, spec): (Under, &'static CommandSpec),
    ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let (of, id) = (partition(&ask), subject(&ask)?);
    if let Under::SeriesVerify | Under::ChainVerify = under {
        return verify(app, spec, ask).await;
    }
    let mut page = page_ask(&ask, &[])?;
    match under {
        Under::SeriesVerify | Under::ChainVerify => Err(Problem::new("internal")),
        Under::AccountPostings | Under::RetainerPostings => {
            let retainer = under == Under::RetainerPostings;
            let account = if retainer { AccountId::retainer(&id) } else { AccountId::of(&id) };
            begin_with(&mut page, account.as_str())?;
            let (found, next) = scan(app, of, "postings", &page).await?;
            let shown = postings(found, &account)?;
            Ok(paged(app, of, ("postings", shown), next))
        }
        Under::SeriesNumbers => {
            begin_with(&mut page, id.as_str())?;
            let (found, next) = scan(app, of, "numbers", &page).await?;
            let contents = found.iter().map(|(place, _)| named([("id", place.as_str())]));
            let numbers = app.command("numbers.read").ok_or_else(|| Problem::new("internal"))?;
            let shown = members(app, numbers, (of, contents.collect())).await?;
            Ok(paged(app, of, ("numbers", shown), next))
        }
        Under::JobProposals => {
            page.prefix.insert_str(0, &prefix(id.as_str()));
            let (found, next) = scan(app, of, "proposals", &page).await?;
            let proposers = found.iter().filter_map(|(place, _)| place.split(2)?.pop());
            let contents = proposers
                .map(|proposer| named([("job", id.as_str()), ("proposer", proposer.as_str())]));
            let shown = members(app, spec, (of, contents.collect())).await?;
            Ok(paged(app, of, ("proposals", shown), next))
        }
        Under::PaymentRefunds => {
            page.prefix.insert_str(0, &prefix(id.as_str()));
            let (found, next) = scan(app, of, "payment_refunds", &page).await?;
            let ids = found.iter().filter_map(|(place, _)| place.split(2)?.pop());
            let contents = ids.map(|id| named([("id", id.as_str())])).collect();
            let refunds = app.command("refunds.read").ok_or_else(|| Problem::new("internal"))?;
            let shown = members(app, refunds, (of, contents)).await?;
            Ok(paged(app, of, ("refunds", shown), next))
        }
    }
}

/// What does not agree in the numbers of a series, or in a chain, that is there.
async fn verify(app: &App, spec: &'static CommandSpec, ask: Ask<'_>) -> Result<Answer, Problem> {
    let options = CallOptions { key: None, ..app.options(&ask.head, &[])? };
    let (of, id) = (partition(&ask), subject(&ask)?);
    let asked = prepare_own(app, spec, named([("id", id.as_str())]))?;
    // One that is not there is refused in its own words.
    let there = app.send(of, vec![asked.command], options).await?;
    let (collection, _) = spec.name.split_once('.').expect("a name is `collection.verb`");
    let found = disagreements(app, of, (collection, &id)).await?;
    let shown = found.iter().map(|finding| {
        json!({
            "check": finding.check, "record": finding.subject, "expected": finding.expected,
            "found": finding.found, "version": finding.version,
        })
    });
    let shown: Vec<Value> = shown.collect();
    Ok(Answer::json(json!({
        "partition": of, "at": there.at, "as_of": there.as_of, "id": id, "findings": shown,
    })))
}

/// Recomputed from all records of the book, as the audit does it: what does not agree in the
/// records of a series or a chain.
pub(crate) async fn disagreements(
    app: &App,
    of: &Partition,
    (collection, id): (&str, &Key),
) -> Result<Vec<Finding>, Problem> {
    let found = audit::of_partition(app, of).await.map_err(|error| Problem::of_error(&error))?;
    let mut found = found.ok_or_else(|| {
        Problem::new("too_large").detail("The book has too many records: use `bellpunch verify`.")
    })?;
    let kinds: &[&str] = match collection {
        "chains" => &["chain_documents"],
        _ => &["series_counters", "numbers"],
    };
    let name = |kind: &str, id| RecordKey { kind: Kind::named(kind), id }.to_string();
    let own = name(collection, RecordId::from(id));
    let below = kinds.iter().map(|kind| name(kind, RecordId::stored(&prefix(id.as_str()))));
    let below: Vec<String> = below.collect();
    found.retain(|Finding { subject, .. }| {
        *subject == own || below.iter().any(|names| subject.starts_with(names.as_str()))
    });
    Ok(found)
}

/// The stored form of a record.
fn content(kind: &str, id: &RecordId, bytes: Option<&[u8]>) -> Result<Map<String, Value>, Problem> {
    let wrong = || undecodable(&RecordKey { kind: Kind::named(kind.to_owned()), id: id.clone() });
    let envelope: Value = serde_json::from_slice(bytes.unwrap_or_default()).map_err(|_| wrong())?;
    let record = envelope.get("record").and_then(Value::as_object).ok_or_else(wrong)?;
    Ok(record.clone())
}

/// Postings as they are stored, each with the account that it is of.
fn postings(found: Vec<Found>, account: &AccountId) -> Result<Vec<Value>, Problem> {
    let one = |(id, bytes): Found| {
        let mut record = content("postings", &id, bytes.as_deref())?;
        record.insert("account".to_owned(), json!(account));
        Ok(Value::Object(record))
    };
    found.into_iter().map(one).collect()
}

/// Whether a page can be narrowed to ids that begin alike.
pub(crate) const fn has_prefix(action: Action) -> bool {
    !matches!(
        action,
        Action::Under(Under::AccountPostings | Under::RetainerPostings | Under::SeriesNumbers, _)
    )
}

/// Describes a page of these: each member as a read of it shows it.
pub(crate) fn schema(of: &str, schemas: &Schemas) -> Value {
    if of == "verify" {
        return findings();
    }
    let shown = schemas.replies.get(format!("{of}.read").as_str());
    let member = shown
        .and_then(|reply| schemas.resolve(reply).get("properties")?.get(singular(of)))
        .cloned()
        .unwrap_or_else(|| json!({ "$ref": "#/components/schemas/PostingView" }));
    json!({
        "type": "object",
        "required": ["partition", "at", of],
        "properties": {
            "partition": { "type": "string" },
            "at": { "type": "string", "format": "date-time" },
            of: { "type": "array", "items": member },
            "next": { "type": ["string", "null"] }
        }
    })
}

/// Describes what a look at a series or a chain tells. None found: it is as it must be.
fn findings() -> Value {
    let text = json!({ "type": "string" });
    let finding = json!({
        "type": "object",
        "required": ["check", "record", "expected", "found", "version"],
        "properties": {
            "check": text, "record": text, "expected": text, "found": text,
            "version": { "type": "integer" }
        }
    });
    json!({
        "type": "object",
        "required": ["partition", "at", "id", "findings"],
        "properties": {
            "partition": { "type": "string" },
            "at": { "type": "string", "format": "date-time" },
            "as_of": { "type": "object", "additionalProperties": { "type": "integer" } },
            "id": { "type": "string" },
            "findings": { "type": "array", "items": finding }
        }
    })
}
