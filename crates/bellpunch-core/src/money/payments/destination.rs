//! Where a payment is to go: what a caller names, and the tests of the records it names.
//!
//! Invariant: destinations are explicit, each target stands there once, and their sum is the
//! payment's amount. There is no default target, so no money ever goes where nobody sent it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DESTINATIONS_MAX, Planned, Target};
use crate::money::invoices::{self, Invoice};
use crate::money::retainers::{self, Retainer};
use crate::money::{Book, Decided, MoneyRejection, clients, known_currency, same_currency};
use crate::{CurrencyCode, Key, Minor, Money};

/// A part of a payment and where it is, or is to go: `{invoice, amount}`, `{retainer, amount}` or
/// `{unapplied: amount}`.
///
/// ```
/// use bellpunch_core::money::payments::Destination;
/// let to = r#"{"invoice": "i1", "amount": {"amount": 30000, "currency": "SAR"}}"#;
/// let to: Destination = serde_json::from_str(to)?;
/// assert_eq!(to.invoice.expect("it names one").as_str(), "i1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// To this invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Key>,
    /// To this retainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retainer: Option<Key>,
    /// How much, beside an invoice or a retainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// How much goes nowhere yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unapplied: Option<Money>,
}

impl Destination {
    /// The target, `None` for unapplied, and the amount.
    fn read(&self) -> Option<(Option<Target>, &Money)> {
        match (&self.invoice, &self.retainer, &self.amount, &self.unapplied) {
            (Some(id), None, Some(amount), None) => {
                Some((Some(Target::Invoice(id.clone())), amount))
            }
            (None, Some(id), Some(amount), None) => {
                Some((Some(Target::Retainer(id.clone())), amount))
            }
            (None, None, None, Some(amount)) => Some((None, amount)),
            _ => None,
        }
    }
}

/// A list of destinations, or of sources, that makes sense by itself.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) parts: Vec<Planned>,
    currencies: Vec<CurrencyCode>,
    /// What they add up to.
    pub(crate) sum: Minor,
}

impl Listed {
    /// Reads a list: each one of the three forms, each target once, each currency known. `beside`:
    /// the currency of the amount that stands beside it, known too; all that makes no sense is told
    /// before what is unknown.
    ///
    /// # Errors
    /// `invalid_request`, `unknown_currency`; `amount_overflow` for a sum above the largest, which
    /// is the amount of no payment.
    pub(crate) fn read(
        book: &mut Book<'_, '_>,
        field: &'static str,
        list: &[Destination],
        beside: Option<&CurrencyCode>,
    ) -> Decided<Self> {
        let reason = "each is {invoice, amount}, {retainer, amount} or {unapplied: amount}";
        let wrong = || MoneyRejection::InvalidRequest { field, reason };
        let mut listed = Self { parts: Vec::new(), currencies: Vec::new(), sum: Minor::ZERO };
        let mut targets = BTreeSet::new();
        for one in list {
            let (target, money) = one.read().ok_or_else(wrong)?;
            if !targets.insert(target.clone()) {
                let reason = "each target stands there once";
                return Err(MoneyRejection::InvalidRequest { field, reason });
            }
            listed.currencies.push(money.currency.clone());
            listed.parts.push(Planned { target, amount: money.amount });
        }
        for currency in beside.into_iter().chain(&listed.currencies) {
            known_currency(book.draft, currency)?;
        }
        for part in &listed.parts {
            let sum = listed.sum.checked_add(part.amount.into());
            listed.sum = sum.ok_or(MoneyRejection::AmountOverflow {})?;
        }
        Ok(listed)
    }

    /// Tests that the destinations are all of the amount, and not too many.
    ///
    /// # Errors
    /// `destinations_mismatch`, `too_many_destinations`.
    pub(super) fn are_all_of(&self, amount: Minor) -> Decided<()> {
        if self.sum != amount {
            return Err(MoneyRejection::DestinationsMismatch { sum: self.sum, amount });
        }
        if DESTINATIONS_MAX < self.parts.len() {
            return Err(too_many());
        }
        Ok(())
    }

    /// Tests that all are in the currency of the payment.
    ///
    /// # Errors
    /// `currency_mismatch`.
    pub(crate) fn are_in(&self, currency: &CurrencyCode) -> Decided<()> {
        self.currencies.iter().try_for_each(|got| same_currency(currency, got))
    }
}

/// There are more than a payment may have.
pub(super) fn too_many() -> MoneyRejection {
    let max = u64::try_from(DESTINATIONS_MAX).expect("it is small");
    MoneyRejection::TooManyDestinations { max }
}

/// The record that a destination names.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Invoice(Key, Arc<Invoice>),
    Retainer(Arc<Retainer>),
}

impl Found {
    /// Looks for a target.
    ///
    /// # Errors
    /// `invoice_not_found`, `retainer_not_found`.
    pub(super) fn find(book: &mut Book<'_, '_>, target: &Target) -> Decided<Self> {
        match target {
            Target::Invoice(id) => {
                invoices::find(book, id).map(|(found, _)| Self::Invoice(id.clone(), found))
            }
            Target::Retainer(id) => {
                retainers::find(book, id).map(|(found, _)| Self::Retainer(found))
            }
        }
    }

    /// Looks for all targets of a list.
    ///
    /// # Errors
    /// As [`Found::find`], of the first that is missing.
    pub(super) fn all(book: &mut Book<'_, '_>, parts: &[Planned]) -> Decided<Vec<Option<Self>>> {
        let find = |part: &Planned| part.target.as_ref().map(|to| Self::find(book, to)).transpose();
        parts.iter().map(find).collect()
    }

    /// Tests whose it is.
    ///
    /// # Errors
    /// `client_mismatch`.
    pub(super) fn is_of(&self, client: &Key) -> Decided<()> {
        match self {
            Self::Invoice(_, invoice) => clients::same(client, &invoice.client),
            Self::Retainer(retainer) => clients::same(client, &retainer.client),
        }
    }

    /// Tests its currency against what comes.
    ///
    /// # Errors
    /// `currency_mismatch`.
    pub(super) fn is_in(&self, got: &CurrencyCode) -> Decided<()> {
        match self {
            Self::Invoice(_, invoice) => same_currency(&invoice.currency, got),
            Self::Retainer(retainer) => same_currency(&retainer.currency, got),
        }
    }
}

/// Tests that targets are in a state to take money: each code over all of them before the next one,
/// so that the order of the list does not change the answer's code.
///
/// # Errors
/// `invoice_not_payable`, `retainer_refunded`, `retainer_expired`, `retainer_closing`.
pub(super) fn may_take<'f>(
    book: &Book<'_, '_>,
    found: impl Iterator<Item = &'f Found> + Clone,
) -> Decided<()> {
    let retainers = || {
        found.clone().filter_map(|one| match one {
            Found::Retainer(retainer) => Some(retainer),
            Found::Invoice(..) => None,
        })
    };
    found.clone().try_for_each(|one| match one {
        Found::Invoice(id, invoice) => invoice.payable(id),
        Found::Retainer(..) => Ok(()),
    })?;
    retainers().try_for_each(|retainer| retainer.not_refunded())?;
    retainers().try_for_each(|retainer| retainer.not_expired(book.now))?;
    retainers().try_for_each(|retainer| retainer.not_closing())
}
