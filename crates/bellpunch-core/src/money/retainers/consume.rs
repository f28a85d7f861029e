//! `retainers.consume`, `restore`: money of a retainer is earned, or given back to it.
//!
//! Invariant: consuming for an invoice is paying it: the allocation, the invoice's status and the
//! debit are one commit, and a restore takes back exactly what of that still stands. So a
//! consumption's `amount - restored` is what its allocation has.

use serde::{Deserialize, Serialize};

use super::{Consumption, Retainer, RetainerView, credit, debit, find, view};
use crate::money::invoices::{AllocationSource, InvoiceView};
use crate::money::{
    Book, Booking, Decided, MoneyRejection, Moved, at_version, clients, invoices, known_currency,
    same_currency,
};
use crate::{
    AccountId, Command, CurrencyCode, Draft, IfVersion, Key, Minor, Money, RecordId, Timestamp,
    Version,
};

/// Takes money from a retainer: for an invoice, which it pays, or as revenue. `retainers.consume`.
///
/// ```
/// use bellpunch_core::money::retainers::Consume;
/// let content = r#"{"id": "r", "amount": {"amount": 6000, "currency": "SAR"}, "invoice": "i"}"#;
/// let consume: Consume = serde_json::from_str(content)?;
/// assert_eq!(consume.amount.amount.get(), 6000);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Consume {
    /// Which retainer.
    pub id: Key,
    /// How much.
    pub amount: Money,
    /// The invoice that it pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Key>,
    /// What it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// Gives a consumption back to its retainer, all that is left of it or part. `retainers.restore`.
///
/// ```
/// use bellpunch_core::money::retainers::Restore;
/// let restore: Restore = serde_json::from_str(r#"{"consumption": "x"}"#)?;
/// assert!(restore.amount.is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Which consumption.
    pub consumption: Key,
    /// How much of it; all that is left unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Only at one of these versions of the consumption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A consumption as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsumptionView {
    /// Its id.
    pub id: Key,
    /// Of which retainer.
    pub retainer: Key,
    /// How much.
    pub amount: Minor,
    /// Of the retainer's currency.
    pub currency: CurrencyCode,
    /// What of it was given back.
    pub restored: Minor,
    /// What of it can be.
    pub restorable: Minor,
    /// The invoice that it paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Key>,
    /// What it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Key>,
    /// The entry of the journal.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Rises with every change.
    pub version: Version,
}

/// A consumption, its retainer and the invoice that it paid, after the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsumptionReply {
    /// The consumption.
    pub consumption: ConsumptionView,
    /// Its retainer.
    pub retainer: RetainerView,
    /// The invoice that it paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<InvoiceView>,
    /// What it posted and emitted.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Consumption {
    /// What of it still stands.
    pub(crate) fn restorable(&self) -> Minor {
        let left = self.amount.checked_sub(self.restored);
        left.expect("no more of a consumption is given back than was consumed")
    }
}

/// The consumption of this id, and its version.
///
/// # Errors
/// `consumption_not_found`.
pub(super) fn find_consumption(
    book: &mut Book<'_, '_>,
    id: &Key,
) -> Decided<(std::sync::Arc<Consumption>, Version)> {
    let record = RecordId::from(id);
    let found = book.draft.get::<Consumption>(&record);
    let found = found.ok_or_else(|| MoneyRejection::ConsumptionNotFound { id: id.clone() })?;
    Ok((found, book.draft.version::<Consumption>(&record)))
}

/// A consumption as it is now, in this command's eyes.
pub(super) fn view_consumption(book: &mut Book<'_, '_>, id: &Key) -> Decided<ConsumptionView> {
    let (found, version) = find_consumption(book, id)?;
    let (retainer, _) = find(book, &found.retainer)?;
    let restorable = found.restorable();
    let consumption = (*found).clone();
    Ok(ConsumptionView {
        id: id.clone(),
        retainer: consumption.retainer,
        amount: consumption.amount,
        currency: retainer.currency.clone(),
        restored: consumption.restored,
        restorable,
        invoice: consumption.invoice.map(|(invoice, _)| invoice),
        description: consumption.description,
        seq: consumption.seq,
        at: consumption.at,
        version,
    })
}

fn told(
    mut book: Book<'_, '_>,
    id: &Key,
    (retainer, invoice): (&Key, Option<&Key>),
) -> Decided<ConsumptionReply> {
    let consumption = view_consumption(&mut book, id)?;
    let retainer = view(&mut book, retainer)?;
    let invoice = invoice.map(|invoice| invoices::view(&mut book, invoice)).transpose()?;
    Ok(ConsumptionReply { consumption, retainer, invoice, moved: book.close() })
}

/// What a consumption's money becomes: the invoice is paid, or it is revenue.
fn earned(currency: &CurrencyCode, invoice: Option<&Key>) -> AccountId {
    match invoice {
        Some(_) => AccountId::receivable(currency),
        None => AccountId::revenue(currency),
    }
}

/// Writes that a part of a consumption was given back, and credits its retainer in the record. The
/// rule releases the allocation and books it.
///
/// # Errors
/// `amount_overflow`.
pub(crate) fn give_back(book: &mut Book<'_, '_>, id: &Key, amount: Minor) -> Decided<Version> {
    let (found, _) = find_consumption(book, id)?;
    let restored = found.restored.checked_add(amount).ok_or(MoneyRejection::AmountOverflow {})?;
    assert!(restored <= found.amount, "no more of a consumption is given back than was consumed");
    let version = book.draft.put(&RecordId::from(id), Consumption { restored, ..(*found).clone() });
    credit(book, &found.retainer, amount)?;
    Ok(version)
}

impl Consume {
    /// Tests what its time and its balance allow.
    fn usable(&self, retainer: &Retainer, now: Timestamp) -> Decided<()> {
        retainer.not_refunded()?;
        retainer.not_expired(now)?;
        if retainer.balance.is_zero() {
            return Err(MoneyRejection::RetainerDepleted {});
        }
        Ok(())
    }
}

impl Command for Consume {
    const NAME: &'static str = "retainers.consume";
    type Reply = ConsumptionReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ConsumptionReply> {
        known_currency(draft, &self.amount.currency)?;
        let mut book = Book::open(draft, now);
        let (retainer, version) = find(&mut book, &self.id)?;
        let invoice = self.invoice.as_ref();
        let owed = invoice.map(|id| invoices::find(&mut book, id)).transpose()?;
        let owed = invoice.zip(owed.as_ref().map(|(owed, _)| owed));
        if let Some((_, owed)) = owed {
            clients::same(&retainer.client, &owed.client)?;
        }
        at_version(self.if_version.as_ref(), version)?;
        self.usable(&retainer, now)?;
        if let Some((id, owed)) = owed {
            owed.payable(id)?;
        }
        if let Some(starts_at) = retainer.starts_at.filter(|starts_at| now < *starts_at) {
            return Err(MoneyRejection::RetainerNotStarted { starts_at });
        }
        let (amount, currency) = (Minor::from(self.amount.amount), &retainer.currency);
        same_currency(currency, &self.amount.currency)?;
        if let Some((id, owed)) = owed {
            same_currency(currency, &owed.currency)?;
            owed.owes(id, amount)?;
        }
        let consumption = book.draft.drawn_key();
        let booking = Booking::of(Self::NAME, currency.clone())
            .debit(AccountId::retainer(&self.id), amount, Some(&consumption))
            .credit(earned(currency, invoice), amount, Some(invoice.unwrap_or(&consumption)));
        book.post(booking)?;

        // Past here it succeeds.
        if let Some(ends_at) = retainer.ends_at {
            book.draft.commit_before(ends_at);
        }
        debit(&mut book, &self.id, amount)?;
        let mut paid = None;
        if let Some(invoice) = invoice {
            let source = AllocationSource::Consumption(consumption.clone());
            let ordinal = invoices::allocate(&mut book, invoice, (source, amount))?;
            paid = Some((invoice.clone(), ordinal));
        }
        let record = Consumption {
            retainer: self.id.clone(),
            amount,
            restored: Minor::ZERO,
            invoice: paid,
            description: self.description.clone(),
            seq: book.seq,
            at: now,
        };
        book.draft.put_first(&RecordId::from(&consumption), record);
        told(book, &consumption, (&self.id, invoice))
    }
}

impl Command for Restore {
    const NAME: &'static str = "retainers.restore";
    type Reply = ConsumptionReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ConsumptionReply> {
        if let Some(amount) = &self.amount {
            known_currency(draft, &amount.currency)?;
        }
        let mut book = Book::open(draft, now);
        let (consumption, version) = find_consumption(&mut book, &self.consumption)?;
        let (retainer, _) = find(&mut book, &consumption.retainer)?;
        at_version(self.if_version.as_ref(), version)?;
        retainer.not_refunded()?;
        retainer.not_closing()?;
        let currency = &retainer.currency;
        if let Some(amount) = &self.amount {
            same_currency(currency, &amount.currency)?;
        }
        let restorable = consumption.restorable();
        let amount = self.amount.as_ref().map_or(restorable, |amount| amount.amount.into());
        if amount.is_zero() || restorable < amount {
            return Err(MoneyRejection::ExceedsConsumption { restorable });
        }
        let paid = consumption.invoice.as_ref();
        let invoice = paid.map(|(invoice, _)| invoice);
        let about = invoice.unwrap_or(&self.consumption);
        let booking = Booking::of(Self::NAME, currency.clone())
            .debit(earned(currency, invoice), amount, Some(about))
            .credit(AccountId::retainer(&consumption.retainer), amount, Some(&self.consumption));
        book.post(booking)?;

        // Past here it succeeds.
        if let Some((invoice, ordinal)) = paid {
            invoices::release(&mut book, (invoice, *ordinal), amount)?;
        }
        give_back(&mut book, &self.consumption, amount)?;
        told(book, &self.consumption, (&consumption.retainer, invoice))
    }
}
