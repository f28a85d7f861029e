//! Possible duplicates: two payments that were to bring one amount to one invoice, soon after each
//! other.
//!
//! Invariant: this is information and never a refusal. Both payments stand; who looks decides. What
//! makes a payment count twice would be a broken budget, and the audit looks for that.
//!
//! What is compared is what was to be paid: the second one finds the invoice paid and is diverted,
//! and just that one is worth a look.

use crate::money::invoices::{self, Invoice, RecentPayment};
use crate::money::{Book, Decided, Event, settings};
use crate::{Duration, Key, Minor, RecordId, Timestamp};

/// How many payments an invoice remembers for this. Beyond, the oldest is not told any more.
const RECENT_MAX: usize = 40;

/// Tells whether another payment brought as much to this invoice within the book's window.
pub(super) fn tell(
    book: &mut Book<'_, '_>,
    invoice: &Key,
    (payment, amount): (&Key, Minor),
) -> Decided<()> {
    let window = settings::of(book).duplicate_window_ns;
    let (found, _) = invoices::find(book, invoice)?;
    let twin = found.recent.iter().rev().find(|recent| {
        recent.payment != *payment && recent.amount == amount && is_recent(recent, window, book.now)
    });
    if let Some(twin) = twin {
        let (earlier, amount) = (twin.payment.clone(), twin.amount);
        let (invoice, payment) = (invoice.clone(), payment.clone());
        book.emit(Event::PossibleDuplicatePayment { invoice, payment, earlier, amount });
    }
    Ok(())
}

/// Has an invoice remember a payment that was just applied, and forget those out of the window.
pub(super) fn note(
    book: &mut Book<'_, '_>,
    invoice: &Key,
    (payment, amount): (&Key, Minor),
) -> Decided<()> {
    let window = settings::of(book).duplicate_window_ns;
    let (found, _) = invoices::find(book, invoice)?;
    let mut recent = found.recent.clone();
    recent.retain(|recent| is_recent(recent, window, book.now));
    recent.push(RecentPayment { payment: payment.clone(), amount, at: book.now });
    let beyond = recent.len().saturating_sub(RECENT_MAX);
    recent.drain(..beyond);
    book.draft.put(&RecordId::from(invoice), Invoice { recent, ..(*found).clone() });
    Ok(())
}

fn is_recent(recent: &RecentPayment, window: Duration, now: Timestamp) -> bool {
    recent.at.plus(window).is_none_or(|end| now < end)
}
