//! Credit notes: documents of their own, each about one invoice.
//!
//! Invariant: a credit note is written once, with its number, and never changes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::money::series::ChainPlace;
use crate::money::{Book, Decided, MoneyRejection};
use crate::{
    CivilDate, Command, CurrencyCode, Draft, Key, Kind, Minor, Record, RecordId, Timestamp, Version,
};

/// A credit note.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditNote {
    pub(crate) number: String,
    pub(crate) invoice: Key,
    pub(crate) client: Key,
    pub(crate) currency: CurrencyCode,
    pub(crate) rates: Vec<CreditedRate>,
    pub(crate) net: Minor,
    pub(crate) vat: Minor,
    pub(crate) total: Minor,
    /// What went back to payments and retainers.
    pub(crate) released: Minor,
    pub(crate) reason: Key,
    pub(crate) issue_date: CivilDate,
    pub(crate) issued_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<ChainPlace>,
}

impl Record for CreditNote {
    const KIND: Kind = Kind::new("credit_notes");
}

/// What a credit note has at one rate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreditedRate {
    /// In hundredths of a percent.
    pub vat_bp: u64,
    /// Without VAT.
    pub net: Minor,
    /// The VAT of all credited so far, less that of what was credited before.
    pub vat: Minor,
}

/// A credit note as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreditNoteView {
    /// Its id.
    pub id: Key,
    /// Its number, of the series CRN.
    pub number: String,
    /// The invoice that it credits.
    pub invoice: Key,
    /// Whose it is.
    pub client: Key,
    /// Of all its sums.
    pub currency: CurrencyCode,
    /// Net and VAT of each rate.
    pub rates: Vec<CreditedRate>,
    /// Without VAT.
    pub net: Minor,
    /// The VAT of all rates.
    pub vat: Minor,
    /// Net and VAT.
    pub total: Minor,
    /// What went back to payments and retainers.
    pub released: Minor,
    /// Why.
    pub reason: Key,
    /// The date of its issue, in the series' zone.
    pub issue_date: CivilDate,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Its place in the chain of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainPlace>,
    /// A credit note never changes.
    pub version: Version,
}

impl CreditNote {
    /// All of it: a credit note never changes.
    pub(crate) fn frozen(&self, id: &Key) -> Value {
        json!({
            "document": "credit_note",
            "id": id,
            "number": self.number,
            "invoice": self.invoice,
            "client": self.client,
            "currency": self.currency,
            "rates": self.rates,
            "net": self.net,
            "vat": self.vat,
            "total": self.total,
            "reason": self.reason,
            "issue_date": self.issue_date,
            "issued_at": self.issued_at,
            "chain": self.chain,
        })
    }
}

/// A credit note as it is.
///
/// # Errors
/// `credit_note_not_found`.
pub(super) fn view_note(book: &mut Book<'_, '_>, id: &Key) -> Decided<CreditNoteView> {
    let record = RecordId::from(id);
    let found = book.draft.get::<CreditNote>(&record);
    let found = found.ok_or_else(|| MoneyRejection::CreditNoteNotFound { id: id.clone() })?;
    let version = book.draft.version::<CreditNote>(&record);
    let note = (*found).clone();
    Ok(CreditNoteView {
        id: id.clone(),
        number: note.number,
        invoice: note.invoice,
        client: note.client,
        currency: note.currency,
        rates: note.rates,
        net: note.net,
        vat: note.vat,
        total: note.total,
        released: note.released,
        reason: note.reason,
        issue_date: note.issue_date,
        issued_at: note.issued_at,
        chain: note.chain,
        version,
    })
}

/// Tells what a credit note says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadCreditNote {
    /// Which one.
    pub id: Key,
}

/// What a credit note says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadCreditNoteReply {
    /// The credit note.
    pub credit_note: CreditNoteView,
}

impl Command for ReadCreditNote {
    const NAME: &'static str = "credit_notes.read";
    type Reply = ReadCreditNoteReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ReadCreditNoteReply> {
        let mut book = Book::look(draft, now);
        Ok(ReadCreditNoteReply { credit_note: view_note(&mut book, &self.id)? })
    }
}
