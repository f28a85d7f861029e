//! The journal: places without gap, hashes that link, and the tail that names the last.

use sha2::{Digest as _, Sha256};

use super::{Book, finding};
use crate::{Digest, Timestamp};

const CHECK: &str = "journal_intact";

pub(super) fn check(book: &mut Book) {
    let mut findings = Vec::new();
    let (mut seq, mut at) = (0_u128, Timestamp::EPOCH);
    let mut hash = Digest::new([0; 32]).to_string();
    for entry in book.all("entries") {
        let found = (entry.number("seq"), entry.text("previous"), entry.time("at"));
        let (Some(own), Some(previous), Some(entered)) = found else {
            findings.push(finding("record_readable", entry, "all its fields", "fewer"));
            continue;
        };
        let next = seq.saturating_add(1);
        if own != next || entry.key.id.as_str() != format!("{own:020}") {
            findings.push(finding(CHECK, entry, format!("place {next}"), format!("place {own}")));
        }
        if previous != hash {
            findings.push(finding(CHECK, entry, format!("previous {hash}"), previous));
        }
        if entered < at {
            findings.push(finding(CHECK, entry, format!("not before {at}"), entered));
        }
        let mut form = entry.record.clone();
        let told = form.as_object_mut().and_then(|fields| fields.remove("hash"));
        let told = told.as_ref().and_then(|told| told.as_str()).unwrap_or_default().to_owned();
        let right = Digest::new(Sha256::digest(form.to_string()).into()).to_string();
        if told != right {
            findings.push(finding(CHECK, entry, format!("hash {right}"), &told));
        }
        (seq, at, hash) = (own, entered, told);
    }
    match book.one("journal", "tail") {
        Some(tail) => {
            let found = (tail.number("seq"), tail.text("hash"));
            if found != (Some(seq), Some(hash.as_str())) {
                let expected = format!("the last entry, {seq} with hash {hash}");
                findings.push(finding(CHECK, tail, expected, format!("{found:?}")));
            }
        }
        None => {
            findings.extend(
                book.all("entries").last().map(|last| {
                    finding(CHECK, last, "a tail that names the last entry", "no tail")
                }),
            );
        }
    }
    book.findings.extend(findings);
}
