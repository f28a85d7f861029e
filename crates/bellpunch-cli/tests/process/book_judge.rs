//! Judges what callers of a book were told against what is stored, by sums that share nothing with
//! the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use crate::book::{FIRM, Makes, Told};
use crate::judge::Stored;

/// How many of what.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    /// Requests that were cut off.
    pub(crate) cut: usize,
    /// Commands that were found to be applied before anybody was told.
    pub(crate) found_applied: usize,
    pub(crate) payments: usize,
    pub(crate) invoices: usize,
    pub(crate) transfers: usize,
    pub(crate) entries: u64,
}

/// A document that has a number.
#[derive(Debug)]
struct Document<'a> {
    id: &'a str,
    number: &'a str,
    begun: Instant,
    ended: Instant,
}

/// Judges a run whose end is in this store. If it is a folder, nobody may have it open.
pub(crate) fn judge(told: &[Told], url: &str) -> Summary {
    crate::verify_store(url);
    let stored = Stored::of(url);
    let mut summary = Summary::default();
    for one in told {
        summary.cut += one.cut;
        match (&one.outcome, &one.ask.makes) {
            (Ok(receipt), makes) => {
                assert!(!matches!(makes, Makes::Refusal(_)), "{one:?}");
                summary.accepted += 1;
                summary.found_applied += usize::from(receipt["replayed"] == true);
            }
            (Err(code), Makes::Refusal(due)) => {
                assert_eq!(code, due, "{one:?}");
                summary.refused += 1;
            }
            (Err(code), makes) => {
                let poor = matches!(makes, Makes::Transfer(_)) && code == "insufficient_funds";
                assert!(poor, "{one:?}");
                summary.refused += 1;
            }
        }
    }
    summary.payments = documents(told, &stored, ("payments", "payment", "PAY"));
    summary.invoices = documents(told, &stored, ("invoices", "invoice", "INV"));
    summary.transfers = balances(told, &stored);
    summary.entries = effects(told, &stored);
    summary
}

/// All stored records of a kind, by what follows it in their names.
fn all<'a>(stored: &'a Stored, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    stored.records.iter().filter_map(move |((partition, name), (_, record))| {
        let id = name.strip_prefix(kind)?.strip_prefix('/')?;
        (partition == FIRM).then_some((id, record))
    })
}

/// Exactly what was accepted is there, numbered from 1 on without gap or repeat, as it was told; and
/// what began after a receipt has a larger number.
fn documents(
    told: &[Told],
    stored: &Stored,
    (kind, name, series): (&'static str, &str, &str),
) -> usize {
    let mut documents = BTreeMap::new();
    let mut drafts = BTreeSet::new();
    for one in told {
        let Ok(receipt) = &one.outcome else { continue };
        match &one.ask.makes {
            Makes::Numbered(of, id) if *of == kind => {
                let number = receipt[name]["number"].as_str();
                let number = number.unwrap_or_else(|| panic!("no number: {one:?}"));
                let document = Document { id, number, begun: one.begun, ended: one.ended };
                assert!(documents.insert(id.as_str(), document).is_none(), "{id} twice");
            }
            Makes::Draft(id) if kind == "invoices" => {
                drafts.insert(id.as_str());
            }
            Makes::Numbered(..)
            | Makes::Draft(_)
            | Makes::Transfer(_)
            | Makes::Refusal(_)
            | Makes::Else => {}
        }
    }
    for (id, record) in all(stored, kind) {
        let number = documents.get(id).map(|document| document.number);
        assert_eq!(record["number"].as_str(), number, "{kind}/{id}");
        assert!(number.is_some() || drafts.contains(id), "{kind}/{id}: nobody was told");
    }
    let ids: BTreeSet<&str> = all(stored, kind).map(|(id, _)| id).collect();
    assert!(documents.keys().all(|id| ids.contains(id)), "{kind}: one is lost");
    assert!(drafts.is_subset(&ids), "{kind}: a draft is lost");
    in_order(&numbers(&documents, stored, series));
    documents.len()
}

/// The documents of a series, in the order of their numbers.
fn numbers<'a>(
    documents: &'a BTreeMap<&str, Document<'a>>,
    stored: &'a Stored,
    series: &'a str,
) -> Vec<&'a Document<'a>> {
    let mut values: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut ordered = BTreeMap::new();
    for (id, number) in all(stored, "numbers") {
        if !id.starts_with(&format!("{series}/")) {
            continue;
        }
        let (period, value) = (number["period"].as_str().unwrap(), number["value"].as_u64());
        let document = &documents[number["document"].as_str().unwrap()];
        assert_eq!(number["text"], document.number, "{}", document.id);
        values.entry(period).or_default().push(value.unwrap());
        assert!(ordered.insert((period, value), document).is_none(), "{number} twice");
    }
    for (period, mut values) in values {
        values.sort_unstable();
        let last = u64::try_from(values.len()).unwrap();
        assert!(values.iter().copied().eq(1..=last), "{series} of {period}: {values:?}");
    }
    assert_eq!(ordered.len(), documents.len(), "{series}: each document has one number");
    ordered.into_values().collect()
}

/// No number is below one that was told before its command began.
fn in_order(documents: &[&Document<'_>]) {
    let mut earliest: Option<&Document<'_>> = None;
    for document in documents.iter().rev() {
        if let Some(later) = earliest {
            let so = document.begun <= later.ended;
            assert!(so, "{} was told before {} began", later.number, document.number);
        }
        if earliest.is_none_or(|later| document.ended < later.ended) {
            earliest = Some(document);
        }
    }
}

/// Each accepted transfer is there once, and accounts have what they add up to.
fn balances(told: &[Told], stored: &Stored) -> usize {
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for one in told {
        let (Ok(receipt), Makes::Transfer(moves)) = (&one.outcome, &one.ask.makes) else {
            continue;
        };
        keys.insert(one.ask.key.as_str());
        for (account, rise) in moves {
            *expected.entry(account).or_default() += rise;
        }
        for posting in receipt["postings"].as_array().unwrap() {
            let account = posting["account"].as_str().unwrap();
            let after = posting["posted_after"].as_i64().unwrap();
            assert!(account.starts_with("bank-") || 0 <= after, "{posting}");
        }
    }
    let mut stored_keys = BTreeSet::new();
    for (id, transfer) in all(stored, "transfers") {
        if transfer["command"] == "transfers.create" {
            let key = transfer["ref"].as_str().unwrap();
            assert!(stored_keys.insert(key), "{id}: {key} has two transfers");
        }
    }
    assert_eq!(stored_keys, keys, "transfers");
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (id, account) in all(stored, "accounts") {
        let posted = account["posted"].as_i64().unwrap();
        *sums.entry(account["currency"].as_str().unwrap()).or_default() += posted;
        if !id.starts_with("sys:") {
            assert_eq!(posted, expected.get(id).copied().unwrap_or_default(), "{id}");
            assert!(id.starts_with("bank-") || 0 <= posted, "{id} has {posted}");
        }
    }
    assert_eq!(sums, BTreeMap::from([("SAR", 0), ("USD", 0)]));
    keys.len()
}

/// Each accepted key is one entry of the journal and one outcome, and there is nothing else. Gives how
/// many entries there are.
fn effects(told: &[Told], stored: &Stored) -> u64 {
    let accepted = || told.iter().filter_map(|one| Some((one, one.outcome.as_ref().ok()?)));
    let mut seqs = BTreeSet::new();
    for (one, receipt) in accepted() {
        let seq = receipt["seq"].as_u64().unwrap_or_else(|| panic!("no place: {one:?}"));
        assert!(seqs.insert(seq), "{seq} was told twice: {one:?}");
    }
    let last = u64::try_from(seqs.len()).unwrap();
    assert!(seqs.into_iter().eq(1..=last), "places were told from 1 to {last}");
    let (_, tail) = stored.get(FIRM, "journal/tail");
    assert_eq!(tail["seq"].as_u64(), Some(last), "the journal's tail");
    let keys: BTreeSet<&str> = accepted().map(|(one, _)| one.ask.key.as_str()).collect();
    let outcomes: BTreeSet<&str> = all(stored, "outcomes").map(|(key, _)| key).collect();
    assert_eq!(outcomes, keys, "accepted keys");
    last
}
