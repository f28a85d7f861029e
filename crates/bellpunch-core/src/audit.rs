//! The audit: whether the records of one partition agree with each other.
//!
//! Invariant: nothing here is shared with the rules. Records are read as the JSON that is stored,
//! and what must hold is said again in other words, so that a mistake in a rule is not repeated in
//! its audit. It writes nothing and repairs nothing: a finding is for a person.
//!
//! Why all records at once: what it tests are sums over records, true of one state of the
//! partition. Read that state from a backup or while nothing is written; records read page by page
//! beside a running engine may differ by what was committed between two pages.
//!
//! | check | what must hold |
//! | --- | --- |
//! | `usage_matches_totals` | of a quota `used = opening + charged - refunded - forgiven` |
//! | `usage_matches_charges` | `used + forgiven = opening + pruned + Σ (units - refunded)` of its kept charges; not of quotas that keep none |
//! | `held_matches_holds` | a quota or counter counts exactly the open holds on it |
//! | `usage_within_limit` | no charge left `used + held` above the limit it was decided under; captures apart |
//! | `captures_match_charges` | a hold and the charge of its capture name each other |
//! | `keys_match_counters` | a bounded policy counts its live counters exactly |
//! | `ticket_consistent` | a ticket has what its status says, and `approved_at <= used_at < expires_at`; with accounts, one hold of all of it while it is approved and live, none afterwards, and one transfer of what was used |
//! | `pending_matches_index` | the index of a holder and an audience names exactly their pending tickets |
//! | `upload_states` | an upload has what its status says, within its sizes and counts |
//! | `upload_matches_hold` | an upload and its hold are open, captured or voided together |
//! | `journal_intact` | places 1 to the last without gap, each entry with the hash of what it says and of the one before, times that do not fall, and a tail that names the last |
//! | `transfers_balance` | in each currency all accounts sum to 0; a transfer's debits are its credits, its postings its lines, a mirror and what it mirrors name each other |
//! | `balance_matches_postings` | an account has what its postings add up to, each says what stood after it, and what is held are its open holds |
//! | `balance_not_negative` | of a bounded account `0 <= held <= posted`; no holds on another |
//! | `retainer_matches_postings` | a retainer has what came as cash and from payments, less what was consumed and refunded; its status and its alarm follow; a consumption's allocation has what is left of it |
//! | `invoice_paid_equals_payments` | an invoice's totals follow from its lines, the end of its time from its date; what was paid are the live parts of payments and consumptions, what was credited its credit notes; what is due is not below 0 and what receivables say |
//! | `refunds_within_payment` | of a completed payment `amount = allocated + retained + unapplied + refunded + lost`; refunds and disputes set aside, hold and took what they say |
//! | `credit_matches_payments` | a client's credit is what its payments have unapplied |
//! | `payment_applied_once` | a payment is completed by one entry and one transfer, replenishes once, and each entry is of one idempotency key |
//! | `number_unique` | no number twice in a series and scope; its text follows from its place, dates do not fall, and its document has it |
//! | `number_without_gap` | of a gapless series all values from the first to the counter's last are there |
//! | `chain_intact` | a chain's documents are 1 to the last, each with the hash of the one before; a seal of the engine's own is the hash of its document |
//! | `proposals_counted` | a job counts its live proposals, of which one at most is accepted |
//! | `events_match_postings` | each fall of a retainer to its minimum, and to 0, is told once, in its entry |
//! | `record_readable` | the stored form has the fields that the audit needs |

mod journal;
mod limits;
mod money;
mod tickets;
mod uploads;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::{RecordKey, Timestamp, Version};

/// The names of all checks.
pub const CHECKS: [&str; 25] = [
    "usage_matches_totals",
    "usage_matches_charges",
    "held_matches_holds",
    "usage_within_limit",
    "captures_match_charges",
    "keys_match_counters",
    "ticket_consistent",
    "pending_matches_index",
    "upload_states",
    "upload_matches_hold",
    "journal_intact",
    "transfers_balance",
    "balance_matches_postings",
    "balance_not_negative",
    "retainer_matches_postings",
    "invoice_paid_equals_payments",
    "refunds_within_payment",
    "credit_matches_payments",
    "payment_applied_once",
    "number_unique",
    "number_without_gap",
    "chain_intact",
    "proposals_counted",
    "events_match_postings",
    "record_readable",
];

/// Those of records that only entries of the journal change: where no entry came between, they have
/// seen one state.
pub const OF_THE_BOOK: [&str; 14] = [
    "journal_intact",
    "transfers_balance",
    "balance_matches_postings",
    "balance_not_negative",
    "retainer_matches_postings",
    "invoice_paid_equals_payments",
    "refunds_within_payment",
    "credit_matches_payments",
    "payment_applied_once",
    "number_unique",
    "number_without_gap",
    "chain_intact",
    "proposals_counted",
    "events_match_postings",
];

/// A record as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Which one.
    pub key: RecordKey,
    /// Its version.
    pub version: Version,
    /// Its content as JSON, without the envelope of its format.
    pub record: Value,
}

impl Stored {
    /// A record from the bytes a store has. `None`: they are no record of any release.
    ///
    /// ```
    /// use bellpunch_core::audit::Stored;
    /// use bellpunch_core::{Kind, RecordId, RecordKey, Version};
    /// let key = RecordKey { kind: Kind::named("quotas"), id: RecordId::stored("q") };
    /// let bytes = br#"{"format": 1, "record": {"limit": 3}}"#;
    /// let stored = Stored::decode(key, Version::new(1), bytes).expect("it is one");
    /// assert_eq!(stored.record["limit"], 3);
    /// ```
    #[must_use]
    pub fn decode(key: RecordKey, version: Version, bytes: &[u8]) -> Option<Self> {
        let envelope: Value = serde_json::from_slice(bytes).ok()?;
        let record = envelope.get("record")?.clone();
        Some(Self { key, version, record })
    }

    /// What the audit needs of a record: of an outcome only the places of its entries, for it is
    /// what was told. `None`: nothing of it.
    #[must_use]
    pub fn needed(self) -> Option<Self> {
        if self.key.kind.name() != "outcomes" {
            return Some(self);
        }
        let seqs = self.record.get("seqs")?.clone();
        Some(Self { record: serde_json::json!({ "seqs": seqs }), ..self })
    }

    fn text(&self, name: &str) -> Option<&str> {
        text(&self.record, name)
    }

    fn number(&self, name: &str) -> Option<u128> {
        number(self.record.get(name)?)
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        time(&self.record, name)
    }

    fn list(&self, name: &str) -> &[Value] {
        list(&self.record, name)
    }

    fn has(&self, name: &str) -> bool {
        self.record.get(name).is_some()
    }
}

/// What does not agree.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What was tested: `usage_matches_charges`.
    pub check: &'static str,
    /// Of which record: `quotas/q`.
    pub subject: String,
    /// What the other records say.
    pub expected: String,
    /// What this record says.
    pub found: String,
    /// Its version.
    pub version: Version,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, subject, expected, found, version } = self;
        write!(f, "{check}: {subject} at version {}: ", version.get())?;
        write!(f, "expected {expected}, found {found}")
    }
}

/// Everything in the records of one partition that does not agree, as of `now`: the time of the
/// last commit, or later.
///
/// ```
/// use bellpunch_core::audit::{Stored, audit};
/// use bellpunch_core::{Kind, RecordId, RecordKey, Timestamp, Version};
/// let key = RecordKey { kind: Kind::named("quotas"), id: RecordId::stored("q") };
/// let record = serde_json::json!({
///     "used": 2, "charges": "none", "totals": {
///         "opening": "0", "charged": "1", "refunded": "0", "forgiven": "0", "pruned": "1",
///     },
/// });
/// let found = audit([Stored { key, version: Version::new(2), record }], Timestamp::EPOCH);
/// assert_eq!(found[0].check, "usage_matches_totals");
/// assert_eq!((found[0].expected.as_str(), found[0].found.as_str()), ("1", "2"));
/// ```
#[must_use]
pub fn audit(records: impl IntoIterator<Item = Stored>, now: Timestamp) -> Vec<Finding> {
    let mut kinds: BTreeMap<String, BTreeMap<String, Stored>> = BTreeMap::new();
    for stored in records {
        let ids = kinds.entry(stored.key.kind.name().to_owned()).or_default();
        ids.insert(stored.key.id.as_str().to_owned(), stored);
    }
    let mut book = Book { kinds, now, findings: Vec::new() };
    limits::check(&mut book);
    tickets::check(&mut book);
    uploads::check(&mut book);
    journal::check(&mut book);
    money::check(&mut book);
    book.findings
}

/// All records, and what was found so far.
struct Book {
    kinds: BTreeMap<String, BTreeMap<String, Stored>>,
    now: Timestamp,
    findings: Vec<Finding>,
}

impl Book {
    /// Tests each record of a kind. A record without a field that is needed is a finding itself.
    fn each(&mut self, kind: &str, test: impl Fn(&Self, &Stored) -> Option<Vec<Finding>>) {
        let findings: Vec<Finding> =
            self.all(kind).flat_map(|stored| or_unreadable(stored, test(self, stored))).collect();
        self.findings.extend(findings);
    }

    fn all(&self, kind: &str) -> impl Iterator<Item = &Stored> {
        self.kinds.get(kind).into_iter().flat_map(BTreeMap::values)
    }

    fn one(&self, kind: &str, id: &str) -> Option<&Stored> {
        self.kinds.get(kind)?.get(id)
    }
}

/// What was found in a record; `None`: it lacks a field that the audit needs.
fn or_unreadable(stored: &Stored, findings: Option<Vec<Finding>>) -> Vec<Finding> {
    findings.unwrap_or_else(|| {
        let found = shortened(&stored.record);
        vec![finding("record_readable", stored, "all its fields", found)]
    })
}

fn finding(
    check: &'static str,
    stored: &Stored,
    expected: impl ToString,
    found: impl ToString,
) -> Finding {
    Finding {
        check,
        subject: stored.key.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
        version: stored.version,
    }
}

/// A finding, unless both are equal.
fn same<T: PartialEq + fmt::Debug>(
    check: &'static str,
    stored: &Stored,
    (expected, found): (T, T),
) -> Option<Finding> {
    (expected != found)
        .then(|| finding(check, stored, format!("{expected:?}"), format!("{found:?}")))
}

/// A finding, unless it holds.
fn holds(check: &'static str, stored: &Stored, claim: (bool, &str)) -> Option<Finding> {
    let (is_so, words) = claim;
    (!is_so).then(|| finding(check, stored, words, shortened(&stored.record)))
}

fn shortened(record: &Value) -> String {
    const SHOWN_MAX: usize = 300;
    let text = record.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn time(value: &Value, name: &str) -> Option<Timestamp> {
    text(value, name)?.parse().ok()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A count: an integer, or digits in a string where it may be larger than 2^53.
fn number(value: &Value) -> Option<u128> {
    match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(digits) => digits.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A limit; `None` is unlimited.
fn limit(value: &Value) -> Option<Option<u128>> {
    if value.as_str() == Some("unlimited") { Some(None) } else { number(value).map(Some) }
}

#[cfg(test)]
mod tests;
