//! Events: what others want to hear of. Part of the entry in the journal, so the same commit writes
//! them, and no alert is lost between a commit and a send.

use serde::{Deserialize, Serialize};

use crate::{Key, Minor};

/// What a command brought about beside its effect.
///
/// ```
/// use bellpunch_core::money::Event;
/// let json = r#"{"event":"retainer_depleted","retainer":"r1"}"#;
/// let event: Event = serde_json::from_str(json)?;
/// assert_eq!(serde_json::to_string(&event)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A retainer fell from above its minimum to it or below.
    LowBalance {
        /// Which one.
        retainer: Key,
        /// What is left.
        balance: Minor,
        /// Its minimum.
        minimum_balance: Minor,
        /// What its owner wants asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top_up: Option<Minor>,
    },
    /// Nothing is left on a retainer.
    RetainerDepleted {
        /// Which one.
        retainer: Key,
    },
    /// Nothing is due of an invoice any more.
    InvoicePaid {
        /// Which one.
        invoice: Key,
        /// What was paid in all.
        amount_paid: Minor,
    },
    /// Two payments of one amount went to one invoice within the book's window. Information: both
    /// stand.
    PossibleDuplicatePayment {
        /// The invoice.
        invoice: Key,
        /// The payment of this command.
        payment: Key,
        /// The one before.
        earlier: Key,
        /// What both brought.
        amount: Minor,
    },
    /// A series has given 80 of 100 of the numbers that its width has.
    SeriesNearlyFull {
        /// Which one.
        series: Key,
        /// The last number given.
        last: u64,
        /// The largest that fits its width.
        max: u64,
    },
}
