//! Tickets and the index of what is pending.

use std::collections::BTreeSet;

use super::{Book, Finding, Stored, holds, number, same, text, time};

const CHECK: &str = "ticket_consistent";

pub(super) fn check(book: &mut Book) {
    book.each("tickets", ticket);
    book.each("ticket_issues", index);
    book.each("tickets", indexed);
}

fn ticket(_: &Book, ticket: &Stored) -> Option<Vec<Finding>> {
    let status = ticket.text("status")?;
    let (issued_at, expires_at) = (ticket.time("issued_at")?, ticket.time("expires_at")?);
    let approved_at = ticket.time("approved_at");
    let used = ticket.record.get("used");
    let closed = matches!(status, "rejected" | "cancelled" | "expired");
    let max = ticket.record.get("max_amount")?;
    let mut findings: Vec<Finding> = [
        (issued_at < expires_at, "issued before it expires"),
        (used.is_some() == (status == "used"), "used if and only if its status says so"),
        (ticket.has("closed") == closed, "closed if and only if its status says so"),
        (
            !matches!(status, "approved" | "used") || approved_at.is_some(),
            "approved before it is used",
        ),
        (status != "pending" || approved_at.is_none(), "not approved while pending"),
        (
            approved_at.is_none_or(|at| issued_at <= at && at < expires_at),
            "approved while it was valid",
        ),
        (ticket.has("holder") || ticket.has("secret_hash"), "a holder or a secret"),
    ]
    .into_iter()
    .filter_map(|claim| holds(CHECK, ticket, claim))
    .collect();
    if let Some(used) = used {
        let (at, amount) = (time(used, "at")?, used.get("amount")?);
        let (taken, most) = (number(amount.get("amount")?)?, number(max.get("amount")?)?);
        let partial = ticket.record.get("partial")?.as_bool()?;
        let in_time = approved_at.is_some_and(|approved| approved <= at) && at < expires_at;
        let fits = 0 < taken && taken <= most && (partial || taken == most);
        findings.extend(holds(CHECK, ticket, (in_time, "approved_at <= used_at < expires_at")));
        findings.extend(holds(CHECK, ticket, (fits, "an amount that the ticket is good for")));
        let measures = ["currency", "unit"].map(|name| (max.get(name), amount.get(name)));
        let same = measures.iter().all(|(one, other)| one == other);
        findings.extend(holds(CHECK, ticket, (same, "an amount in its own currency")));
    }
    Some(findings)
}

fn is_pending(book: &Book, ticket: &Stored) -> Option<bool> {
    Some(ticket.text("status")? == "pending" && book.now < ticket.time("expires_at")?)
}

/// The index names the pending tickets of its pair, and no others.
fn index(book: &Book, index: &Stored) -> Option<Vec<Finding>> {
    let names = index.key.id.split(2)?;
    let [holder, audience] = names.as_slice() else { return None };
    let mut found = BTreeSet::new();
    for pending in index.list("pending") {
        if book.now < time(pending, "expires_at")? {
            found.insert(text(pending, "ticket")?);
        }
    }
    let mut expected = BTreeSet::new();
    for ticket in book.all("tickets") {
        let of_pair = ticket.text("holder") == Some(holder.as_str())
            && ticket.text("audience") == Some(audience.as_str());
        if of_pair && is_pending(book, ticket)? {
            expected.insert(ticket.key.id.as_str());
        }
    }
    Some(same("pending_matches_index", index, (expected, found)).into_iter().collect())
}

/// A pending ticket of a holder has an index to be in.
fn indexed(book: &Book, ticket: &Stored) -> Option<Vec<Finding>> {
    let Some(holder) = ticket.text("holder").filter(|_| is_pending(book, ticket) == Some(true))
    else {
        return Some(Vec::new());
    };
    let audience = ticket.text("audience")?;
    let (holder, audience) = (crate::Key::new(holder).ok()?, crate::Key::new(audience).ok()?);
    let id = crate::RecordId::compound(&[&holder, &audience]);
    let there = book.one("ticket_issues", id.as_str()).is_some();
    let claim = (there, "an index of its holder and audience");
    Some(holds("pending_matches_index", ticket, claim).into_iter().collect())
}
