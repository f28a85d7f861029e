//! Accounts, holds on them, transfers and postings.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{each, equal, names, signed, sum};
use crate::audit::{Book, Finding, Stored, finding, holds, or_unreadable, same, text, time};
use crate::{Timestamp, Version};

const BALANCE: &str = "balance_matches_postings";
const BOUND: &str = "balance_not_negative";
const TRANSFERS: &str = "transfers_balance";

/// One side of a transfer.
pub(super) struct Leg<'a> {
    stored: &'a Stored,
    transfer: &'a str,
    account: &'a str,
    /// What it adds to the balance: below 0 for a debit.
    pub(super) moved: i128,
    /// What stood there after it.
    pub(super) after: i128,
    /// What it is about.
    pub(super) about: Option<&'a str>,
    /// The entry.
    pub(super) seq: u128,
}

impl<'a> Leg<'a> {
    fn of(stored: &'a Stored) -> Option<Self> {
        let [account, _] = names(stored.key.id.as_str(), 2)?.try_into().ok()?;
        Some(Self {
            stored,
            transfer: stored.text("transfer")?,
            account,
            moved: moved(&stored.record)?,
            after: signed(&stored.record, "posted_after")?,
            about: stored.text("ref"),
            seq: stored.number("seq")?,
        })
    }
}

/// What a line or a posting adds to its account.
fn moved(line: &Value) -> Option<i128> {
    let amount = sum(line, "amount")?;
    match text(line, "side")? {
        "credit" => Some(amount),
        "debit" => amount.checked_neg(),
        _ => None,
    }
}

/// What was posted, by account, in order.
pub(super) struct Ledger<'a> {
    legs: BTreeMap<&'a str, Vec<Leg<'a>>>,
}

impl<'a> Ledger<'a> {
    /// Reads all postings; gives those that cannot be read too.
    pub(super) fn of(book: &'a Book) -> (Self, Vec<Finding>) {
        let mut legs: BTreeMap<&'a str, Vec<Leg<'a>>> = BTreeMap::new();
        let mut unreadable = Vec::new();
        for stored in book.all("postings") {
            match Leg::of(stored) {
                Some(leg) => legs.entry(leg.account).or_default().push(leg),
                None => unreadable.extend(or_unreadable(stored, None)),
            }
        }
        (Self { legs }, unreadable)
    }

    /// The postings of an account.
    pub(super) fn postings(&self, account: &str) -> &[Leg<'a>] {
        self.legs.get(account).map_or(&[], Vec::as_slice)
    }

    /// Those of all accounts of the book whose names begin so.
    pub(super) fn of_all(&self, prefix: &str) -> impl Iterator<Item = &Leg<'a>> {
        let all = self.legs.iter().filter(move |(account, _)| account.starts_with(prefix));
        all.flat_map(|(_, legs)| legs)
    }

    /// What the postings of an account add up to.
    pub(super) fn balance(&self, account: &str) -> i128 {
        total(self.postings(account).iter().map(|leg| leg.moved))
    }
}

fn total(parts: impl IntoIterator<Item = i128>) -> i128 {
    parts.into_iter().fold(0, i128::saturating_add)
}

pub(super) fn check(book: &Book, ledger: &Ledger<'_>) -> Vec<Finding> {
    let holds = holds_by_account(book);
    let mut parts: BTreeMap<&str, Vec<&Leg<'_>>> = BTreeMap::new();
    for leg in ledger.legs.values().flatten() {
        parts.entry(leg.transfer).or_default().push(leg);
    }
    [
        sums(book),
        each(book, "accounts", |account| {
            let id = account.key.id.as_str();
            let held = holds.get(id).map_or(&[][..], Vec::as_slice);
            of_account(account, (ledger.postings(id), held), book.now)
        }),
        each(book, "account_holds", |hold| of_hold(book, hold)),
        each(book, "transfers", |transfer| {
            let legs = parts.get(transfer.key.id.as_str());
            of_transfer(book, transfer, legs.map_or(&[][..], Vec::as_slice))
        }),
        strays(book, ledger),
    ]
    .concat()
}

/// In each currency nothing came from nowhere.
fn sums(book: &Book) -> Vec<Finding> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for account in book.all("accounts") {
        if let (Some(code), Some(posted)) =
            (account.text("currency"), signed(&account.record, "posted"))
        {
            super::add(&mut sums, code, posted);
        }
    }
    let wrong = sums.into_iter().filter(|(_, sum)| *sum != 0);
    let wrong = wrong.map(|(code, sum)| Finding {
        check: TRANSFERS,
        subject: format!("all accounts in {code}"),
        expected: "a sum of 0".to_owned(),
        found: format!("a sum of {sum}"),
        version: Version::ABSENT,
    });
    wrong.collect()
}

fn holds_by_account(book: &Book) -> BTreeMap<&str, Vec<&Stored>> {
    let mut holds: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for hold in book.all("account_holds") {
        if let Some(account) = hold.text("account") {
            holds.entry(account).or_default().push(hold);
        }
    }
    holds
}

/// Whether time has left a hold open.
fn lasts(hold: &Value, now: Timestamp) -> Option<bool> {
    if hold.get("expires_at").is_none() {
        return Some(true);
    }
    Some(now < time(hold, "expires_at")?)
}

fn of_account(
    account: &Stored,
    (legs, of_account): (&[Leg<'_>], &[&Stored]),
    now: Timestamp,
) -> Option<Vec<Finding>> {
    let posted = signed(&account.record, "posted")?;
    let mut findings = Vec::new();
    let mut before = 0_i128;
    for leg in legs {
        let after = before.saturating_add(leg.moved);
        findings.extend(equal(BALANCE, leg.stored, (after, leg.after, "posted_after")));
        before = leg.after;
    }
    let sum_of_legs = total(legs.iter().map(|leg| leg.moved));
    findings.extend(equal(BALANCE, account, (sum_of_legs, posted, "posted")));

    let mut found: BTreeMap<&str, i128> = BTreeMap::new();
    for hold in account.list("holds") {
        if lasts(hold, now)? {
            super::add(&mut found, text(hold, "id")?, sum(hold, "amount")?);
        }
    }
    let mut expected: BTreeMap<&str, i128> = BTreeMap::new();
    for hold in of_account {
        if hold.text("status")? == "open" && lasts(&hold.record, now)? {
            expected.insert(hold.key.id.as_str(), sum(&hold.record, "amount")?);
        }
    }
    let held = total(found.values().copied());
    findings.extend(same(BALANCE, account, (expected, found)));
    let claim = match account.text("class")? {
        "bounded" => (held <= posted, "0 <= held <= posted"),
        _ => (held == 0, "no holds on an account without a bound"),
    };
    findings.extend(holds(BOUND, account, claim));
    Some(findings)
}

fn of_hold(book: &Book, hold: &Stored) -> Option<Vec<Finding>> {
    let status = hold.text("status")?;
    let transfer = hold.text("transfer").map(|id| book.one("transfers", id).is_some());
    let claims = [
        (hold.has("ended_at") == (status != "open"), "an end if and only if it is not open"),
        (transfer == (status == "captured").then_some(true), "a transfer, if it was captured"),
        (book.one("accounts", hold.text("account")?).is_some(), "an account that it is on"),
    ];
    Some(claims.into_iter().filter_map(|claim| holds(BALANCE, hold, claim)).collect())
}

/// Account, and what is added to it.
type Move<'a> = (&'a str, i128);

fn moves(transfer: &Stored) -> Option<Vec<Move<'_>>> {
    transfer.list("lines").iter().map(|line| Some((text(line, "account")?, moved(line)?))).collect()
}

fn sorted<'a>(moves: impl IntoIterator<Item = Move<'a>>) -> Vec<Move<'a>> {
    let mut moves: Vec<Move<'a>> = moves.into_iter().collect();
    moves.sort_unstable();
    moves
}

fn of_transfer(book: &Book, transfer: &Stored, legs: &[&Leg<'_>]) -> Option<Vec<Finding>> {
    let lines = moves(transfer)?;
    let (id, currency) = (transfer.key.id.as_str(), transfer.text("currency")?);
    let mut findings = Vec::new();
    let sum = total(lines.iter().map(|(_, moved)| *moved));
    findings.extend(equal(TRANSFERS, transfer, (0, sum, "credits less debits")));
    let posted = sorted(legs.iter().map(|leg| (leg.account, leg.moved)));
    findings.extend(same(TRANSFERS, transfer, (sorted(lines.iter().copied()), posted)));
    let seq = transfer.number("seq")?;
    let together = legs.iter().all(|leg| leg.seq == seq);
    findings.extend(holds(TRANSFERS, transfer, (together, "postings of its own entry")));
    for (account, _) in &lines {
        let account = book.one("accounts", account);
        let own = account.is_some_and(|account| account.text("currency") == Some(currency));
        findings.extend(holds(TRANSFERS, transfer, (own, "accounts of its currency")));
    }
    // A mirror and what it mirrors name each other.
    if let Some(mirrored) = transfer.text("reverses") {
        let mirrored = book.one("transfers", mirrored);
        let by = mirrored.and_then(|one| one.list("reversed").first()?.as_str());
        let other_way = lines.iter().map(|(account, moved)| (*account, moved.saturating_neg()));
        let is_mirror = mirrored.and_then(moves).map(sorted) == Some(sorted(other_way));
        let claim = (by == Some(id) && is_mirror, "the mirror of a transfer that names it");
        findings.extend(holds(TRANSFERS, transfer, claim));
    }
    if let Some(by) = transfer.list("reversed").first() {
        let mirror = book.one("transfers", by.as_str()?);
        let named = mirror.is_some_and(|mirror| mirror.text("reverses") == Some(id));
        findings.extend(holds(TRANSFERS, transfer, (named, "a mirror that names it")));
    }
    Some(findings)
}

/// Postings of no account, or of no transfer.
fn strays(book: &Book, ledger: &Ledger<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (account, legs) in &ledger.legs {
        if let (Some(leg), None) = (legs.first(), book.one("accounts", account)) {
            let expected = format!("an account {account}");
            findings.push(finding(BALANCE, leg.stored, expected, "none"));
        }
        for leg in legs.iter().filter(|leg| book.one("transfers", leg.transfer).is_none()) {
            let expected = format!("a transfer {}", leg.transfer);
            findings.push(finding(TRANSFERS, leg.stored, expected, "none"));
        }
        for pair in legs.windows(2) {
            let [one, next] = pair else { continue };
            let claim = (one.seq <= next.seq, "a place after the one before");
            findings.extend(holds(BALANCE, next.stored, claim));
        }
    }
    findings
}
