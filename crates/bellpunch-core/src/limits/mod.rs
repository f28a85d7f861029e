//! Limits: quotas, rate limits, several of them at once, and holds.
//!
//! Invariant: `used + held + cost <= limit` is tested and taken in one `decide`. No interleaving of
//! accepted commands leaves more used and held than a limit allows; to refuse what was free costs a
//! retry, to give away what nobody has is the mistake that must not happen.
//!
//! Why there is no `remaining()` to ask first: an answer that is not the taking itself is old when
//! it arrives (CWE-367). "Would it pass?" is a dry run of the same rule, and reserves nothing.
//!
//! ```
//! use std::sync::Arc;
//! use bellpunch_core::limits::{ConsumeQuota, CreateQuota, Quota};
//! use bellpunch_core::{
//!     AnyCommand, Decision, Duration, Journaling, Key, Limit, Loaded, Record, RecordId, Request, Timestamp,
//!     Units, View, decide,
//! };
//!
//! let mut view = View::default();
//! let mut send = |command: Arc<dyn AnyCommand>| {
//!     let commands = vec![command];
//!     let keep = Duration::from_days(7);
//!     let (entropy, dry_run, journaling) = (vec![7], false, Journaling::Off);
//!     let request = Request { commands, entropy, key: None, keep, dry_run, journaling };
//!     loop {
//!         match decide(&mut view, &request, Timestamp::EPOCH) {
//!             // Nothing is stored yet, so whatever is asked for is absent.
//!             Decision::Load { records, .. } => {
//!                 records.into_iter().for_each(|key| view.load(key, Loaded::default()));
//!             }
//!             Decision::Accepted { .. } => return Ok(()),
//!             Decision::Rejected { rejection, .. } => return Err(rejection.code),
//!             failed => panic!("{failed:?}"),
//!         }
//!     }
//! };
//! let quota = Key::new("uploads")?;
//! send(Arc::new(CreateQuota::of(quota.clone(), Limit::Finite(Units::ONE)))).unwrap();
//! let consume = ConsumeQuota::of(quota, Units::ONE);
//! assert_eq!(send(Arc::new(consume.clone())), Ok(()));
//! assert_eq!(send(Arc::new(consume)), Err("quota_exceeded"));
//! # Ok::<(), bellpunch_core::ValueError>(())
//! ```

mod account;
mod admission;
mod algorithm;
mod audit;
mod charge;
mod consume;
mod counter;
mod epoch;
mod hold;
mod local;
mod open_holds;
mod policy;
mod policy_admin;
mod quota;
mod quota_admin;
mod rejection;
mod schedule;
mod sweep;
mod target;
#[cfg(test)]
mod tests;
mod view;

pub use admission::KeyCount;
pub use audit::{AuditQuota, AuditReply, Mismatch};
pub use charge::{
    Charge, ChargeReply, ReadCharge, RefundCharge, RefundItem, RefundQuota, RefundQuotaReply,
    RefundReply,
};
pub use consume::{
    Consume, ConsumeQuota, ConsumeQuotaReply, ConsumeRate, ConsumeRateReply, ConsumeReply,
};
pub use counter::{InlineCounter, LocalCounter, RateCounter};
pub use epoch::Epoch;
pub use hold::{
    CaptureHold, CaptureUnits, CreateHold, ExtendHold, Hold, HoldReply, ReadHold, VoidHold,
};
pub use local::{ConsumeLocally, ConsumeRateLocally};
pub use policy::{Algorithm, AlgorithmName, Align, Durability, OnStoreFailure, RatePolicy, Terms};
pub use policy_admin::{
    CounterReply, DeletePolicy, PolicyReply, ReadCounter, ReadPolicy, ResetCounter, ResetPolicy,
    SetPolicy,
};
pub use quota::{Quota, Refill, RefillAmount, Retention};
pub use quota_admin::{
    ConfigureQuota, CreateQuota, QuotaReply, ReactivateQuota, ReadQuota, ResetQuota, RevokeQuota,
    SetLimit,
};
pub use rejection::{Rejection, Violation};
pub use schedule::{Anchor, Calendar, CalendarUnit};
pub use sweep::{
    SweepCharges, SweepCounters, SweepHolds, SweepInlineCounters, SweepLocalCounters, Swept, sweep,
};
pub use target::{ITEMS_MAX, Item, Target};
pub use view::{
    ChargeView, ChargedItem, CounterView, HoldStatus, HoldView, PolicyView, QuotaState,
    QuotaStatus, QuotaView, TargetView, Totals,
};

use crate::CommandSpec;

/// The commands of this domain that have a wire name.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<CreateQuota>(),
    CommandSpec::change::<SetLimit>(),
    CommandSpec::change::<ConfigureQuota>(),
    CommandSpec::change::<RevokeQuota>(),
    CommandSpec::change::<ReactivateQuota>(),
    CommandSpec::change::<ConsumeQuota>(),
    CommandSpec::change::<RefundQuota>(),
    CommandSpec::change::<ResetQuota>(),
    CommandSpec::read::<ReadQuota>(),
    CommandSpec::change::<SetPolicy>(),
    CommandSpec::change::<DeletePolicy>(),
    CommandSpec::change::<ConsumeRate>(),
    CommandSpec::change::<ResetCounter>(),
    CommandSpec::change::<ResetPolicy>(),
    CommandSpec::read::<ReadPolicy>(),
    CommandSpec::read::<ReadCounter>(),
    CommandSpec::change::<Consume>(),
    CommandSpec::change::<CreateHold>(),
    CommandSpec::change::<CaptureHold>(),
    CommandSpec::change::<VoidHold>(),
    CommandSpec::change::<ExtendHold>(),
    CommandSpec::read::<ReadHold>(),
    CommandSpec::change::<RefundCharge>(),
    CommandSpec::read::<ReadCharge>(),
];
