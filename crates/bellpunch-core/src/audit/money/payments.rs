//! Payments, refunds, disputes, and clients' credit.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{add, each, equal, gather, signed, sum};
use crate::Version;
use crate::audit::{Book, Finding, Stored, finding, holds, list, same, text};

const BUDGET: &str = "refunds_within_payment";
const CREDIT: &str = "credit_matches_payments";
const ONCE: &str = "payment_applied_once";

/// Where a part of a payment is: `None` is unapplied; an invoice or retainer has its kind, id and
/// the part's place.
type Place<'a> = Option<(&'a str, &'a str, u64)>;

/// What refunds and disputes took of a payment, and may take yet.
#[derive(Default)]
struct Taken<'a> {
    refunded: i128,
    lost: i128,
    set_aside: BTreeMap<Place<'a>, i128>,
}

/// What the journal and the ledger say of one payment.
#[derive(Default)]
struct Done {
    /// Entries that completed it.
    completed: Vec<u128>,
    /// Transfers that booked it.
    booked: usize,
    /// Entries that replenished a retainer with it.
    credited: Vec<u128>,
}

pub(super) fn check(book: &Book) -> Vec<Finding> {
    let (taken, done) = (taken(book), done(book));
    let (nothing_taken, nothing_done) = (Taken::default(), Done::default());
    [
        each(book, "payments", |payment| {
            let id = payment.key.id.as_str();
            let mut findings = budget(payment, taken.get(id).unwrap_or(&nothing_taken))?;
            findings.extend(targets(book, payment)?);
            findings.extend(once(payment, done.get(id).unwrap_or(&nothing_done))?);
            Some(findings)
        }),
        each(book, "refunds", |refund| of_claim(book, refund, "succeeded")),
        each(book, "disputes", |dispute| of_claim(book, dispute, "lost")),
        listed(book),
        credit(book),
        outcomes(book),
    ]
    .concat()
}

fn place<'a>(value: &'a Value, target: Option<&'a Value>) -> Option<Place<'a>> {
    let Some(target) = target else { return Some(None) };
    let ordinal = value.get("ordinal")?.as_u64()?;
    let (invoice, retainer) = (target.get("invoice"), target.get("retainer"));
    match (invoice.and_then(Value::as_str), retainer.and_then(Value::as_str)) {
        (Some(id), None) => Some(Some(("invoice", id, ordinal))),
        (None, Some(id)) => Some(Some(("retainer", id, ordinal))),
        (None, None) => Some(None),
        (Some(_), Some(_)) => None,
    }
}

/// A source says its target itself; unapplied says none.
fn source(value: &Value) -> Option<Place<'_>> {
    place(value, Some(value))
}

fn taken(book: &Book) -> BTreeMap<&str, Taken<'_>> {
    let mut taken: BTreeMap<&str, Taken<'_>> = BTreeMap::new();
    for kind in ["refunds", "disputes"] {
        gather(book, kind, |claim| {
            let payment = taken.entry(claim.text("payment")?).or_default();
            let amount = sum(&claim.record, "amount")?;
            match claim.text("status")? {
                "succeeded" => payment.refunded = payment.refunded.saturating_add(amount),
                "lost" => payment.lost = payment.lost.saturating_add(amount),
                "pending" | "open" => {
                    for part in claim.list("sources") {
                        add(&mut payment.set_aside, source(part)?, sum(part, "amount")?);
                    }
                }
                _ => {}
            }
            Some(())
        });
    }
    taken
}

fn done(book: &Book) -> BTreeMap<&str, Done> {
    let mut done: BTreeMap<&str, Done> = BTreeMap::new();
    gather(book, "entries", |entry| {
        let (seq, content) = (entry.number("seq")?, entry.record.get("content")?);
        match entry.text("command")? {
            "payments.complete" => {
                done.entry(text(content, "id")?).or_default().completed.push(seq);
            }
            // The payment is made and completed by this one.
            "invoices.pay" => {
                let versions = entry.record.get("versions")?.as_object()?;
                for payment in versions.keys().filter_map(|key| key.strip_prefix("payments/")) {
                    done.entry(payment).or_default().completed.push(seq);
                }
            }
            "retainers.replenish" => {
                let payment = text(content, "payment")?;
                done.entry(payment).or_default().credited.push(seq);
            }
            _ => {}
        }
        Some(())
    });
    gather(book, "transfers", |transfer| {
        if matches!(transfer.text("command")?, "payments.complete" | "invoices.pay") {
            let booked = &mut done.entry(transfer.text("ref")?).or_default().booked;
            *booked = booked.saturating_add(1);
        }
        Some(())
    });
    done
}

/// All of a payment is somewhere, once; what is asked back of it is set aside where it is.
fn budget(payment: &Stored, taken: &Taken<'_>) -> Option<Vec<Finding>> {
    let of = |name| sum(&payment.record, name);
    let (unapplied, aside) = (of("unapplied")?, of("unapplied_set_aside")?);
    let mut found: BTreeMap<Place<'_>, i128> = BTreeMap::new();
    let (mut all, mut held) = (unapplied, aside);
    let mut fits = aside <= unapplied;
    add(&mut found, None, aside);
    for part in payment.list("parts") {
        let (amount, aside) = (sum(part, "amount")?, sum(part, "set_aside")?);
        all = all.saturating_add(amount);
        held = held.saturating_add(aside);
        fits = fits && aside <= amount && 0 < amount;
        add(&mut found, place(part, part.get("target"))?, aside);
    }
    let (refunded, lost) = (of("refunded")?, of("lost")?);
    let status = payment.text("status")?;
    let amount = if status == "completed" { of("amount")? } else { 0 };
    let whole = all.saturating_add(refunded).saturating_add(lost);
    found.retain(|_, aside| *aside != 0);
    let mut expected = taken.set_aside.clone();
    expected.retain(|_, aside| *aside != 0);
    let words = "allocated + retained + unapplied + refunded + lost";
    let findings = [
        equal(BUDGET, payment, (amount, whole, words)),
        equal(BUDGET, payment, (taken.refunded, refunded, "refunded")),
        equal(BUDGET, payment, (taken.lost, lost, "lost")),
        same(BUDGET, payment, (expected, found)),
        holds(BUDGET, payment, (fits, "no more set aside than is there")),
        holds(BUDGET, payment, (held <= all, "no more given back than came")),
        holds(
            BUDGET,
            payment,
            (
                payment.has("completed") == (status == "completed")
                    && payment.has("ended") == matches!(status, "failed" | "cancelled"),
                "what its status says",
            ),
        ),
    ];
    Some(findings.into_iter().flatten().collect())
}

/// Each part has its other end.
fn targets(book: &Book, payment: &Stored) -> Option<Vec<Finding>> {
    let mut findings = Vec::new();
    for part in payment.list("parts") {
        let (target, amount) = (part.get("target")?, sum(part, "amount")?);
        let is_there = if let Some(invoice) = text(target, "invoice") {
            let ordinal = part.get("ordinal")?.as_u64()?;
            let id = format!("{}:{invoice}{ordinal:020}", invoice.len());
            book.one("allocations", &id).is_some_and(|allocation| {
                let source = allocation.record.get("source");
                let source = source.and_then(|source| text(source, "payment"));
                source == Some(payment.key.id.as_str())
                    && sum(&allocation.record, "amount") == Some(amount)
            })
        } else {
            book.one("retainers", text(target, "retainer")?).is_some()
        };
        findings.extend(holds(BUDGET, payment, (is_there, "the other end of each part")));
    }
    Some(findings)
}

/// A payment completes once, and replenishes once.
fn once(payment: &Stored, done: &Done) -> Option<Vec<Finding>> {
    let completed = match list(&payment.record, "completed") {
        [_, seq] => vec![u128::from(seq.as_u64()?)],
        _ => Vec::new(),
    };
    let credited = match list(&payment.record, "credited") {
        [_, seq] => vec![u128::from(seq.as_u64()?)],
        _ => Vec::new(),
    };
    let booked = completed.len();
    let findings = [
        same(ONCE, payment, (&done.completed, &completed)),
        same(ONCE, payment, (done.booked, booked)),
        same(ONCE, payment, (&done.credited, &credited)),
    ];
    Some(findings.into_iter().flatten().collect())
}

/// A refund or dispute adds up, and holds what it asks for while it waits.
fn of_claim(book: &Book, claim: &Stored, success: &str) -> Option<Vec<Finding>> {
    let (id, status) = (claim.key.id.as_str(), claim.text("status")?);
    let waits = matches!(status, "pending" | "open");
    let mut of_sources = 0_i128;
    let mut there: BTreeMap<&str, i128> = BTreeMap::new();
    for source in claim.list("sources") {
        let amount = sum(source, "amount")?;
        of_sources = of_sources.saturating_add(amount);
        if let Some(retainer) = text(source, "retainer") {
            add(&mut there, retainer, amount.checked_sub(sum(source, "spent")?)?);
        }
    }
    there.retain(|_, amount| *amount != 0);
    let mut held: BTreeMap<&str, i128> = BTreeMap::new();
    let mut as_it_is = true;
    for hold in claim.list("holds") {
        let Some(hold) = book.one("account_holds", hold.as_str()?) else {
            as_it_is = false;
            continue;
        };
        let by = hold.record.get("by")?;
        let own = ["refund", "dispute"].iter().any(|name| text(by, name) == Some(id));
        let expected = if waits {
            "open"
        } else if status == success {
            "captured"
        } else {
            "voided"
        };
        as_it_is = as_it_is && own && hold.text("status") == Some(expected);
        let retainer = hold.text("account")?.strip_prefix("sys:retainer:")?;
        add(&mut held, retainer, sum(&hold.record, "amount")?);
    }
    // What succeeded at once never waited.
    let all_held = held == there || (held.is_empty() && !waits);
    let findings = [
        equal(BUDGET, claim, (sum(&claim.record, "amount")?, of_sources, "sources")),
        holds(BUDGET, claim, (claim.has("ended_at") != waits, "an end if and only if it ended")),
        holds(BUDGET, claim, (as_it_is && all_held, "holds of what it asks of retainers")),
    ];
    Some(findings.into_iter().flatten().collect())
}

/// Each refund of a payment is listed there, and nothing else is.
fn listed(book: &Book) -> Vec<Finding> {
    let mut expected = BTreeMap::new();
    gather(book, "refunds", |refund| {
        let (payment, id) = (refund.text("payment")?, refund.key.id.as_str());
        expected.insert(format!("{}:{payment}{id}", payment.len()), refund);
        Some(())
    });
    let mut findings = Vec::new();
    for place in book.all("payment_refunds") {
        let is_there = expected.remove(place.key.id.as_str()).is_some();
        findings.extend(holds(BUDGET, place, (is_there, "a refund of this payment")));
    }
    let unlisted = expected.into_values();
    findings.extend(unlisted.map(|refund| finding(BUDGET, refund, "listed of its payment", "not")));
    findings
}

/// A client's credit is what its payments have that goes nowhere.
fn credit(book: &Book) -> Vec<Finding> {
    const PREFIX: &str = "sys:unapplied:";
    let mut expected: BTreeMap<String, i128> = BTreeMap::new();
    gather(book, "payments", |payment| {
        let (client, currency) = (payment.text("client")?, payment.text("currency")?);
        let account = format!("{PREFIX}{client}:{currency}");
        add(&mut expected, account, sum(&payment.record, "unapplied")?);
        Some(())
    });
    let mut findings = Vec::new();
    for account in book.all("accounts") {
        let id = account.key.id.as_str();
        if id.starts_with(PREFIX) {
            let of_payments = expected.remove(id).unwrap_or_default();
            let posted = signed(&account.record, "posted").unwrap_or_default();
            findings.extend(equal(CREDIT, account, (of_payments, posted, "credit")));
        }
    }
    let missing = expected.into_iter().filter(|(_, credit)| *credit != 0);
    findings.extend(missing.map(|(account, credit)| Finding {
        check: CREDIT,
        subject: format!("accounts/{account}"),
        expected: format!("credit {credit}"),
        found: "no account".to_owned(),
        version: Version::ABSENT,
    }));
    findings
}

/// One effect for each accepted key: its entry is of no other key.
fn outcomes(book: &Book) -> Vec<Finding> {
    let mut claimed: BTreeMap<u64, &Stored> = BTreeMap::new();
    let mut findings = Vec::new();
    for outcome in book.all("outcomes") {
        for seq in outcome.list("seqs").iter().filter_map(Value::as_u64) {
            if book.one("entries", &format!("{seq:020}")).is_none() {
                findings.push(finding(ONCE, outcome, format!("an entry {seq}"), "none"));
            }
            if let Some(first) = claimed.insert(seq, outcome) {
                let expected = format!("an entry of its own, not {seq} of {}", first.key);
                findings.push(finding(ONCE, outcome, expected, seq));
            }
        }
    }
    findings
}
