//! `invoices.pay`: a payment to one invoice, made and completed in one commit.
//!
//! Invariant: it is `payments.create` and `payments.complete` together, with the tests of both: there
//! is no second way for money to reach an invoice.

use serde::{Deserialize, Serialize};

use super::complete::{reply, settle, shares};
use super::destination::Found;
use super::{CompletedReply, Overpayment, Payment, Planned, Target};
use crate::money::{
    Book, Decided, MoneyRejection, at_version, clients, external, invoices, known_currency, series,
};
use crate::{Command, Draft, IfVersion, Key, Money, Timestamp};

/// Pays an invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pay {
    /// Which invoice.
    pub id: Key,
    /// How much, of what is due.
    pub amount: Money,
    /// How it is paid, in the caller's words.
    pub method: Key,
    /// What the outside calls the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
    /// Only at one of these versions of the invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Pay {
    const NAME: &'static str = "invoices.pay";
    type Reply = CompletedReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<CompletedReply> {
        let mut book = Book::open(draft, now);
        known_currency(book.draft, &self.amount.currency)?;
        let (invoice, version) = invoices::find(&mut book, &self.id)?;
        let client = clients::find(&mut book, &invoice.client)?;
        external::is_free(&mut book, ("payments", self.external_id.as_ref()), None)?;
        let series = series::find(&mut book, "PAY")?;
        at_version(self.if_version.as_ref(), version)?;
        client.is_open()?;
        invoice.payable(&self.id)?;
        let found = Found::Invoice(self.id.clone(), invoice.clone());
        found.is_in(&self.amount.currency)?;
        let target = Some(Target::Invoice(self.id.clone()));
        let planned = vec![Planned { target, amount: self.amount.amount }];
        let shares = shares(&book, (&planned, &[Some(found)]), Overpayment::Refuse)?;
        let id = book.draft.drawn_key();
        let payment =
            Payment::pending((String::new(), &invoice.client), &self.amount, &self.method, now);
        // A sum above the largest refuses it before its number is given.
        let booking = super::complete::booking((&id, &payment), &shares, Self::NAME);
        book.can_post(&booking)?;
        let assigned = series.assign(&mut book, None, &id)?;

        // Past here it succeeds.
        super::freeze(&mut book, (&id, &payment.client), &self.amount, &assigned);
        if let Some(external_id) = &self.external_id {
            external::claim(&mut book, ("payments", external_id), &id);
        }
        let (number, external_id) = (assigned.number, self.external_id.clone());
        let payment = Payment { number, external_id, destinations: planned, ..payment };
        settle(&mut book, (&id, payment), &shares, Self::NAME)?;
        reply(book, &id, &shares)
    }
}
