//! Pages of what belongs to one record: the postings of an account, the refunds of a payment, the
//! proposals for a job, the numbers of a series.
//!
//! Postings are shown as they are stored: one is never changed. What changes is read by its own
//! command, as in every list.

use bellpunch::{AccountId, CommandSpec, Key, Kind, Partition, RecordKey};
use serde_json::{Map, Value, json};

use crate::app::{Answer, App, Ask};
use crate::call::partition;
use crate::journal::undecodable;
use crate::list::{Found, page_ask, paged, read, scan};
use crate::problem::Problem;
use crate::reserved;
use crate::route::Under;

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

/// A page of what belongs to a record. A record that is not there has an empty one.
pub(crate) async fn page(
    app: &App,
    (under, spec): (Under, &'static CommandSpec),
    ask: Ask<'_>,
) -> Result<Answer, Problem> {
    let mut page = page_ask(&ask, &[])?;
    let (of, id) = (partition(&ask), subject(&ask)?);
    match under {
        Under::AccountPostings | Under::RetainerPostings => {
            let account = match under {
                Under::RetainerPostings => AccountId::retainer(&id),
                Under::AccountPostings
                | Under::SeriesNumbers
                | Under::PaymentRefunds
                | Under::JobProposals => AccountId::of(&id),
            };
            page.prefix = prefix(account.as_str());
            let (found, next) = scan(app, of, "postings", &page).await?;
            let shown = postings(found, &account)?;
            Ok(paged(app, of, ("postings", shown), next))
        }
        Under::SeriesNumbers => {
            page.prefix = prefix(id.as_str());
            let (found, next) = scan(app, of, "numbers", &page).await?;
            let numbers = app.command("numbers.read").ok_or_else(|| Problem::new("internal"))?;
            let mut shown = Vec::new();
            for (place, _) in found {
                let content = json!({ "id": place.as_str() });
                shown.extend(member(app, numbers, (of, content, "number")).await?);
            }
            Ok(paged(app, of, ("numbers", shown), next))
        }
        Under::JobProposals => {
            page.prefix = prefix(id.as_str());
            let (found, next) = scan(app, of, "proposals", &page).await?;
            let mut shown = Vec::new();
            for (place, _) in found {
                let Some(proposer) = place.split(2).and_then(|mut names| names.pop()) else {
                    continue;
                };
                let content = json!({ "job": id, "proposer": proposer });
                shown.extend(member(app, spec, (of, content, "proposal")).await?);
            }
            Ok(paged(app, of, ("proposals", shown), next))
        }
        Under::PaymentRefunds => {
            let (found, next) = scan(app, of, "refunds", &page).await?;
            let refunds = app.command("refunds.read").ok_or_else(|| Problem::new("internal"))?;
            let mut shown = Vec::new();
            for (place, bytes) in found {
                let record = content("refunds", &place, bytes.as_deref())?;
                if record.get("payment") != Some(&json!(id)) {
                    continue;
                }
                let content = json!({ "id": place.as_str() });
                shown.extend(member(app, refunds, (of, content, "refund")).await?);
            }
            Ok(paged(app, of, ("refunds", shown), next))
        }
    }
}

/// One member, as its own command reads it.
async fn member(
    app: &App,
    spec: &'static CommandSpec,
    (of, content, name): (&Partition, Value, &str),
) -> Result<Option<Value>, Problem> {
    let Value::Object(content) = content else { return Ok(None) };
    let found = read(app, spec, of, content).await?;
    Ok(found.and_then(|mut body| body.remove(name)))
}

/// The stored form of a record.
fn content(
    kind: &str,
    id: &bellpunch::RecordId,
    bytes: Option<&[u8]>,
) -> Result<Map<String, Value>, Problem> {
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

/// Describes a page of these.
pub(crate) fn schema(of: &str) -> Value {
    json!({
        "type": "object",
        "required": ["partition", "at", of],
        "properties": {
            "partition": { "type": "string" },
            "at": { "type": "string", "format": "date-time" },
            of: { "type": "array", "items": { "type": "object" } },
            "next": { "type": ["string", "null"] }
        }
    })
}
