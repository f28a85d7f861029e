//! `currencies.define`, `currencies.read`: currencies of a book beside those of ISO 4217, points and
//! the like.
//!
//! Invariant: a code has one scale for ever. There is no command that changes or removes one, so
//! an amount that was legal stays legal.

use serde::{Deserialize, Serialize};

use crate::money::{Book, Moved};
use crate::rejection::rejections;
use crate::{Command, CurrencyCode, Draft, Key, Kind, Record, RecordId, Timestamp, Version};

const SCALE_MAX: u8 = 15;

/// A declared currency; its id is the code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Currency {
    /// The digits after the point.
    pub scale: u8,
    /// When it was declared.
    pub defined_at: Timestamp,
}

impl Record for Currency {
    const KIND: Kind = Kind::new("currencies");
}

/// Whether the code is of ISO 4217, or declared in this book.
pub(crate) fn is_known(draft: &mut Draft<'_>, code: &CurrencyCode) -> bool {
    code.iso_scale().is_some() || draft.get::<Currency>(&RecordId::from(code.key())).is_some()
}

/// Declares a currency, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Define {
    /// Its code.
    pub code: CurrencyCode,
    /// The digits after the point; at most 15, what a balance has.
    pub scale: u8,
}

/// A declared currency, as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CurrencyView {
    /// Its code.
    pub id: CurrencyCode,
    /// The digits after the point.
    pub scale: u8,
    /// Always 1: nothing changes one.
    pub version: Version,
}

/// What was declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Defined {
    /// The currency.
    pub currency: CurrencyView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

rejections! {
    /// Why a currency was not declared.
    pub enum CurrencyRejection {
        /// The content makes no sense.
        Shape "invalid_request" => InvalidRequest {
            /// Which field.
            field: &'static str,
            /// What would be right.
            reason: &'static str,
        },
        /// The code is of ISO 4217, or was declared before. A scale never changes.
        Existence "currency_exists" => CurrencyExists {
            /// The digits after the point that it has.
            scale: u8,
        },
        /// This book declared no such currency. Those of ISO 4217 need no declaration.
        Existence "currency_not_found" => CurrencyNotFound {
            /// Which code.
            id: Key,
        },
    }
}

impl Command for Define {
    const NAME: &'static str = "currencies.define";
    type Reply = Defined;
    type Rejection = CurrencyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Defined, CurrencyRejection> {
        let book = Book::open(draft, now);
        if SCALE_MAX < self.scale {
            return Err(CurrencyRejection::InvalidRequest {
                field: "scale",
                reason: "must be at most 15",
            });
        }
        let id = RecordId::from(self.code.key());
        let declared = book.draft.get::<Currency>(&id).map(|currency| currency.scale);
        if let Some(scale) = self.code.iso_scale().or(declared) {
            return Err(CurrencyRejection::CurrencyExists { scale });
        }

        // Past here it succeeds.
        let version = book.draft.put(&id, Currency { scale: self.scale, defined_at: now });
        let currency = CurrencyView { id: self.code.clone(), scale: self.scale, version };
        Ok(Defined { currency, moved: book.close() })
    }
}

/// Shows a currency that the book declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Its code.
    pub id: Key,
}

/// A currency that the book declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Shown {
    /// The currency.
    pub currency: CurrencyView,
}

impl Command for Read {
    const NAME: &'static str = "currencies.read";
    type Reply = Shown;
    type Rejection = CurrencyRejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<Shown, CurrencyRejection> {
        let id = RecordId::from(&self.id);
        let declared = draft.get::<Currency>(&id).map(|currency| currency.scale);
        let code = CurrencyCode::new(self.id.as_str()).ok();
        let Some((id, scale)) = code.zip(declared) else {
            return Err(CurrencyRejection::CurrencyNotFound { id: self.id.clone() });
        };
        let version = draft.version::<Currency>(&RecordId::from(&self.id));
        Ok(Shown { currency: CurrencyView { id, scale, version } })
    }
}

#[cfg(test)]
mod tests;
