//! What of a payment can be taken, and in which order: for refunds, disputes and unapplying.
//!
//! Invariant: only what is free is ever offered, and of a retainer no more than it has available,
//! but to a dispute. Unapplied comes first, then invoices, newest allocation first (of one commit
//! the last listed first), then retainers, newest first.

use std::collections::BTreeMap;

use super::{Payment, Target, sum};
use crate::money::refunds::Source;
use crate::money::{Book, OfOneState as _};
use crate::{AccountId, Key, Minor};

/// Whether what a retainer has spent can be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    /// Not: a refund gives back what is there.
    Available,
    /// It can: the bank does not ask what was done with the money.
    Spent,
}

/// What is taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Only<'a> {
    /// All, in order.
    All,
    /// This one; `None` is unapplied.
    From(Option<&'a Target>),
}

#[derive(Clone, Debug)]
struct Offer {
    target: Option<Target>,
    ordinal: u64,
    free: Minor,
}

/// The free parts of a payment, in the order in which they are taken.
#[derive(Clone, Debug)]
pub(crate) struct Purse {
    offers: Vec<Offer>,
    available: BTreeMap<Key, Minor>,
    reach: Reach,
}

impl Purse {
    /// Lays open what is free now.
    pub(crate) fn open(book: &mut Book<'_, '_>, payment: &Payment, reach: Reach) -> Self {
        let unapplied = Offer { target: None, ordinal: 0, free: payment.unapplied_free() };
        let mut purse = Self { offers: vec![unapplied], available: BTreeMap::new(), reach };
        let newest_first = || payment.parts.iter().rev();
        let is_invoice = |target: &Target| matches!(target, Target::Invoice(_));
        let invoices = newest_first().filter(|part| is_invoice(&part.target));
        let retainers = newest_first().filter(|part| !is_invoice(&part.target));
        for part in invoices.chain(retainers) {
            let (target, ordinal) = (Some(part.target.clone()), part.ordinal);
            purse.offers.push(Offer { target, ordinal, free: part.free() });
            if let Target::Retainer(id) = &part.target {
                let account = book.own_account(&AccountId::retainer(id), &payment.currency);
                purse.available.insert(id.clone(), account.available(book.now));
            }
        }
        purse
    }

    /// Whether the payment has something there, free or not. Unapplied is always a place.
    pub(crate) fn has(&self, target: Option<&Target>) -> bool {
        self.offers.iter().any(|offer| offer.target.as_ref() == target)
    }

    /// How much can be taken.
    pub(crate) fn free(&self, only: Only<'_>) -> Minor {
        sum(self.clone().take(only, Minor::MAX).iter().map(|source| source.amount))
    }

    /// Takes an amount, or all if it is less.
    pub(crate) fn take(&mut self, only: Only<'_>, amount: Minor) -> Vec<Source> {
        let mut left = amount;
        let mut taken = Vec::new();
        for offer in &mut self.offers {
            let wanted = match only {
                Only::All => true,
                Only::From(target) => offer.target.as_ref() == target,
            };
            if !wanted {
                continue;
            }
            let mut source = Source::at(offer.target.as_ref(), offer.ordinal);
            let mut most = offer.free.min(left);
            if let Some(Target::Retainer(id)) = &offer.target {
                let available = self.available.entry(id.clone()).or_default();
                let there = most.min(*available);
                *available = less(*available, there);
                match self.reach {
                    Reach::Available => most = there,
                    Reach::Spent => source.spent = less(most, there),
                }
            }
            if !most.is_zero() {
                offer.free = less(offer.free, most);
                left = less(left, most);
                taken.push(Source { amount: most, ..source });
            }
        }
        taken
    }
}

fn less(of: Minor, taken: Minor) -> Minor {
    of.checked_sub(taken).of_one_state("no more is taken than is there")
}

impl Payment {
    /// Sets aside what a refund or a dispute takes later.
    pub(crate) fn set_aside(&mut self, sources: &[Source]) {
        self.each(sources, |_, set_aside, amount| *set_aside = more(*set_aside, amount));
    }

    /// Ends a set-aside: what it was about is free again.
    pub(crate) fn lift(&mut self, sources: &[Source]) {
        self.each(sources, |_, set_aside, amount| *set_aside = less(*set_aside, amount));
    }

    /// Takes what is free out of its places. Where it goes is the caller's to write.
    pub(crate) fn take_out(&mut self, sources: &[Source]) {
        self.each(sources, |there, _, amount| *there = less(*there, amount));
        self.parts.retain(|part| !part.amount.is_zero());
    }

    fn each(&mut self, sources: &[Source], change: impl Fn(&mut Minor, &mut Minor, Minor)) {
        for source in sources {
            let Some(target) = source.target() else {
                change(&mut self.unapplied, &mut self.unapplied_set_aside, source.amount);
                continue;
            };
            let mut parts = self.parts.iter_mut();
            let part = parts.find(|part| part.target == target && part.ordinal == source.ordinal);
            let part = part.of_one_state("what was taken or set aside is a live part");
            change(&mut part.amount, &mut part.set_aside, source.amount);
        }
    }
}

fn more(of: Minor, added: Minor) -> Minor {
    of.checked_add(added).of_one_state("the parts of a payment are at most its amount")
}
