//! Chains: documents that each carry the hash of the one before. A hook for e-invoicing; no
//! compliance is claimed.
//!
//! Invariant: a chain's documents have the counters 1, 2, 3, … in the order of commits, whichever
//! series they are numbered in, and each carries the hash of the one before it. So with a seal that
//! callers make, a document waits until the one before it has its own. Any caller may make it: the
//! document is fixed, so there is no lease and no time-out.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Assigned, ChainPlace};
use crate::money::{Book, Decided, MoneyRejection};
use crate::{Digest, Key, Kind, Record, RecordId, Timestamp};

/// Who hashes the documents of a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SealMode {
    /// The engine, its own form, in the commit that makes the document.
    Auto,
    /// The caller, its own form, which contains counter and previous hash.
    Caller,
}

/// A chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    pub(super) genesis_hash: Digest,
    pub(super) seal: SealMode,
    /// The counter of the last document; 0 before the first.
    pub(super) counter: u64,
    /// The last document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<Key>,
    /// The hash that the next document carries; `None` while the last one has no seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<Digest>,
    pub(super) defined_at: Timestamp,
}

impl Record for Chain {
    const KIND: Kind = Kind::new("chains");
}

/// A document in its chain, in order of the counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChainDocument {
    pub(super) document: Key,
    pub(super) series: Key,
    pub(super) number: String,
    pub(super) prev_hash: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<Digest>,
    pub(super) at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed_at: Option<Timestamp>,
}

impl Record for ChainDocument {
    const KIND: Kind = Kind::compound("chain_documents", 2);
}

/// Where a document stands, by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainedAt {
    pub(super) chain: Key,
    pub(super) counter: u64,
}

impl Record for ChainedAt {
    const KIND: Kind = Kind::new("chained_documents");
}

/// Where the document of a counter is.
pub(super) fn place_id(chain: &Key, counter: u64) -> RecordId {
    let counter = Key::new(format!("{counter:016}")).expect("digits are a name");
    RecordId::compound(&[chain, &counter])
}

/// The chain of this name.
///
/// # Errors
/// `chain_not_found`.
pub(super) fn find(book: &mut Book<'_, '_>, name: &Key) -> Decided<Chain> {
    let found = book.draft.get::<Chain>(&RecordId::from(name));
    let found = found.ok_or_else(|| MoneyRejection::ChainNotFound { name: name.clone() })?;
    Ok((*found).clone())
}

/// Tests that a document may be the next one of a chain; gives its place. A name that already
/// waits for its seal in another chain waits here too: a seal is asked for by name.
///
/// # Errors
/// `chain_unsealed`.
pub(super) fn next(
    book: &mut Book<'_, '_>,
    name: &Key,
    document: &Key,
) -> Decided<(Chain, ChainPlace)> {
    let chain = find(book, name)?;
    if let (None, Some(waiting)) = (chain.head, &chain.document) {
        return Err(unsealed(book, (name, chain.counter), waiting));
    }
    let namesake = book.draft.get::<ChainedAt>(&RecordId::from(document));
    if let Some(namesake) = namesake {
        let at = place_id(&namesake.chain, namesake.counter);
        let sealed = book.draft.get::<ChainDocument>(&at).and_then(|found| found.hash);
        if sealed.is_none() {
            return Err(unsealed(book, (&namesake.chain, namesake.counter), document));
        }
    }
    let counter = chain.counter.saturating_add(1);
    let prev_hash = chain.head.unwrap_or(chain.genesis_hash);
    let place = ChainPlace { chain: name.clone(), counter, prev_hash };
    Ok((chain, place))
}

fn unsealed(
    book: &mut Book<'_, '_>,
    (chain, counter): (&Key, u64),
    document: &Key,
) -> MoneyRejection {
    let waiting = book.draft.get::<ChainDocument>(&place_id(chain, counter));
    let prev_hash = waiting.map_or(Digest::new([0; 32]), |waiting| waiting.prev_hash);
    MoneyRejection::ChainUnsealed { document: document.clone(), counter, prev_hash }
}

/// Writes a document into its chain, without its seal.
pub(super) fn append(
    book: &mut Book<'_, '_>,
    (chain, place): (Chain, &ChainPlace),
    document: ChainDocument,
) {
    let (name, counter) = (place.chain.clone(), place.counter);
    let (id, at) = (RecordId::from(&document.document), place_id(&name, counter));
    let last = Some(document.document.clone());
    book.draft.put(&RecordId::from(&name), Chain { counter, document: last, head: None, ..chain });
    book.draft.put_first(&at, document);
    book.draft.put(&id, ChainedAt { chain: name, counter });
}

/// Hashes a document that is now frozen, if its chain does so by itself (`seal: auto`).
///
/// The hash is the SHA-256 of the JSON object of `counter`, `document` and `prev_hash`, its names in
/// order and without spaces.
pub(crate) fn seal(book: &mut Book<'_, '_>, assigned: &Assigned, frozen: &Value) {
    let Some(place) = &assigned.chain else { return };
    // Not loaded yet reads as absent, and the rule runs again.
    let Ok(chain) = find(book, &place.chain) else { return };
    if chain.seal != SealMode::Auto {
        return;
    }
    let form = json!({
        "counter": place.counter, "document": frozen, "prev_hash": place.prev_hash.to_string(),
    });
    let form = serde_json::to_vec(&form).expect("a JSON value is JSON");
    let hash = Digest::new(Sha256::digest(&form).into());
    stamp(book, (&place.chain, place.counter), hash);
}

/// Writes a document's seal, and what the next one carries.
pub(super) fn stamp(book: &mut Book<'_, '_>, (name, counter): (&Key, u64), hash: Digest) {
    let id = place_id(name, counter);
    let (Ok(chain), Some(document)) =
        (find(book, name), book.draft.get::<ChainDocument>(&id).map(|found| (*found).clone()))
    else {
        return;
    };
    let sealed_at = Some(book.now);
    book.draft.put(&id, ChainDocument { hash: Some(hash), sealed_at, ..document });
    // Only its last document waits, so this is the one that the next one follows.
    book.draft.put(&RecordId::from(name), Chain { head: Some(hash), ..chain });
}
