//! Tickets that move money: their holds and transfers.

use std::collections::BTreeMap;

use super::{each, gather, sum};
use crate::audit::{Book, Finding, Stored, holds, text};

const CHECK: &str = "ticket_consistent";

pub(super) fn check(book: &Book) -> Vec<Finding> {
    let mut of_tickets: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    gather(book, "account_holds", |hold| {
        of_tickets.entry(text(hold.record.get("by")?, "ticket")?).or_default().push(hold);
        Some(())
    });
    each(book, "tickets", |ticket| {
        let of_ticket = of_tickets.get(ticket.key.id.as_str());
        of_one(book, ticket, of_ticket.map_or(&[][..], Vec::as_slice))
    })
}

fn of_one(book: &Book, ticket: &Stored, of_ticket: &[&Stored]) -> Option<Vec<Finding>> {
    let Some(accounts) = ticket.record.get("accounts") else {
        let claim = (of_ticket.is_empty(), "no hold without accounts");
        return Some(holds(CHECK, ticket, claim).into_iter().collect());
    };
    let (debit, credit) = (text(accounts, "debit")?, text(accounts, "credit")?);
    let most = sum(ticket.record.get("max_amount")?, "amount")?;
    let expires_at = ticket.time("expires_at")?;
    let open: Vec<&&Stored> = of_ticket
        .iter()
        .filter(|hold| hold.text("status") == Some("open") && book.now < expires_at)
        .collect();
    let live = ticket.text("status")? == "approved" && book.now < expires_at;
    let own = |hold: &Stored| {
        hold.text("account") == Some(debit)
            && sum(&hold.record, "amount") == Some(most)
            && hold.time("expires_at") == Some(expires_at)
    };
    let mut claims = vec![
        (open.len() == usize::from(live), "one open hold if and only if it is approved and live"),
        (of_ticket.len() <= 1, "one hold at most"),
        (
            of_ticket.first().map(|hold| hold.key.id.as_str()) == text(accounts, "hold"),
            "a hold that it names",
        ),
        (
            of_ticket.first().and_then(|hold| hold.text("transfer")) == text(accounts, "transfer"),
            "a transfer that it names",
        ),
        (of_ticket.iter().all(|hold| own(hold)), "a hold of all of it, while it is valid"),
    ];
    if let Some(used) = ticket.record.get("used") {
        let taken = sum(used.get("amount")?, "amount")?;
        let transfer = of_ticket.iter().find_map(|hold| hold.text("transfer"));
        let lines = transfer.and_then(|id| book.one("transfers", id));
        let lines = lines.map_or(&[][..], |transfer| transfer.list("lines"));
        let moved = |account: &str, side: &str| {
            lines.iter().any(|line| {
                text(line, "account") == Some(account)
                    && text(line, "side") == Some(side)
                    && sum(line, "amount") == Some(taken)
            })
        };
        let paid = lines.len() == 2 && moved(debit, "debit") && moved(credit, "credit");
        claims.push((paid, "one transfer of what was used"));
    } else {
        let taken = of_ticket.iter().any(|hold| hold.has("transfer"));
        claims.push((!taken, "no transfer before it is used"));
    }
    Some(claims.into_iter().filter_map(|claim| holds(CHECK, ticket, claim)).collect())
}
