//! What paid an invoice: one record for each part, in the order in which they came.
//!
//! Invariant: an invoice's `amount_paid` is the sum of the amounts here. An allocation is lowered
//! when money goes back, to 0 at last, and never removed: its place stays.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Invoice, find, put};
use crate::money::{Book, Decided, OfOneState as _};
use crate::{Key, Kind, Minor, Record, RecordId, Timestamp};

/// Where the money came from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AllocationSource {
    /// From a payment.
    Payment(Key),
    /// From a retainer, by this consumption.
    Consumption(Key),
}

/// A part of what was paid of an invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    pub(crate) source: AllocationSource,
    /// What of it still stands.
    pub(crate) amount: Minor,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
}

impl Record for Allocation {
    const KIND: Kind = Kind::compound("allocations", 2);
}

/// Where the allocation of this place is.
pub(crate) fn place(invoice: &Key, ordinal: u64) -> RecordId {
    let id = invoice.as_str();
    RecordId::stored(&format!("{}:{id}{ordinal:020}", id.len()))
}

/// Pays a part of an invoice; the rule has tested that it owes so much and books it. Gives the
/// allocation's place.
pub(crate) fn allocate(
    book: &mut Book<'_, '_>,
    id: &Key,
    (source, amount): (AllocationSource, Minor),
) -> Decided<u64> {
    let (before, _) = find(book, id)?;
    before.owes(id, amount)?;
    let ordinal = before.allocations.saturating_add(1);
    let paid = before.amount_paid.checked_add(amount).expect("what is paid is at most the total");
    let after = Invoice { amount_paid: paid, allocations: ordinal, ..(*before).clone() };
    put(book, id, (&before, after));
    let (seq, at) = (book.seq, book.now);
    book.draft.put_first(&place(id, ordinal), Allocation { source, amount, seq, at });
    Ok(ordinal)
}

/// Takes a part of an allocation back: so much less of the invoice is paid. The caller keeps the
/// books of where it goes.
///
/// # Panics
/// If there is no such allocation, or less of it: who holds its place knows what stands there.
pub(crate) fn release(
    book: &mut Book<'_, '_>,
    (id, ordinal): (&Key, u64),
    amount: Minor,
) -> Decided<()> {
    let (before, _) = find(book, id)?;
    if !lower(book, (id, ordinal), amount) {
        // Not loaded yet: the answer is thrown away.
        return Ok(());
    }
    let paid = before.amount_paid.checked_sub(amount).of_one_state("the allocation is part of it");
    put(book, id, (&before, Invoice { amount_paid: paid, ..(*before).clone() }));
    Ok(())
}

/// Takes a part of an allocation back in its own record alone: the caller writes the invoice, once,
/// with all that changes of it. Gives whether the allocation is loaded.
pub(super) fn lower(book: &mut Book<'_, '_>, (id, ordinal): (&Key, u64), amount: Minor) -> bool {
    let Some(allocation) = at(book, id, ordinal) else { return false };
    let left = allocation.amount.checked_sub(amount).of_one_state("no more goes back than came");
    book.draft.put(&place(id, ordinal), Allocation { amount: left, ..(*allocation).clone() });
    true
}

/// The allocation of this place. `None` while it is not loaded.
pub(super) fn at(book: &mut Book<'_, '_>, id: &Key, ordinal: u64) -> Option<Arc<Allocation>> {
    book.draft.get::<Allocation>(&place(id, ordinal))
}
