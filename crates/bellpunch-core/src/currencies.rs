//! `currencies.define`: currencies of a book beside those of ISO 4217, points and the like.
//!
//! Invariant: a code has one scale for ever. There is no command that changes or removes one, so
//! an amount that was legal stays legal.

use serde::{Deserialize, Serialize};

use crate::rejection::rejections;
use crate::{Command, CurrencyCode, Draft, Kind, Record, RecordId, Timestamp};

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

/// What was declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Defined {
    /// Its code.
    pub code: CurrencyCode,
    /// The digits after the point.
    pub scale: u8,
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
    }
}

impl Command for Define {
    const NAME: &'static str = "currencies.define";
    type Reply = Defined;
    type Rejection = CurrencyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<Defined, CurrencyRejection> {
        if SCALE_MAX < self.scale {
            return Err(CurrencyRejection::InvalidRequest {
                field: "scale",
                reason: "must be at most 15",
            });
        }
        let id = RecordId::from(self.code.key());
        let declared = draft.get::<Currency>(&id).map(|currency| currency.scale);
        if let Some(scale) = self.code.iso_scale().or(declared) {
            return Err(CurrencyRejection::CurrencyExists { scale });
        }

        // Past here it succeeds.
        draft.put(&id, Currency { scale: self.scale, defined_at: now });
        Ok(Defined { code: self.code.clone(), scale: self.scale })
    }
}
