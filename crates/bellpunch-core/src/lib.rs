//! Rules and values of Bellpunch.
//!
//! A rule is plain check-then-act over typed records, in one pure function, [`Command::decide`].
//! Nothing here reads a clock, draws a random number or does I/O: `now`, entropy and the records
//! come in, a [`Decision`] goes out. The engine runs a rule alone, at one instant, and commits
//! what it wrote whole or not at all.
//!
//! Invariant: a rejected command leaves nothing behind, and an accepted one is exactly the writes
//! of its [`Draft`]. Why one function: testing in one place and taking in another is CWE-367.

pub mod audit;
mod command;
pub mod currencies;
mod draft;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod journal;
pub mod limits;
pub mod money;
mod outcome;
pub mod planted;
mod record;
mod registry;
mod rejection;
#[cfg(feature = "script")]
pub mod script;
pub mod tickets;
#[cfg(test)]
mod trial;
pub mod uploads;
mod value;
mod view;

pub use command::{AnyCommand, AnyReply, Command, IfVersion, WithoutStore};
pub use draft::{DUE_MAX, Draft};
pub use journal::{Break, Chain, Entry, Journaling, Tail, tail_id};
pub use outcome::{
    BestEffort, DecidedBy, Decision, KeyOutcome, OutcomeRecord, ReadOutcome, Reply, Request,
    RequestError, StoredReceipt, SweepOutcomes, Touched, Versions, best_effort, decide,
    decide_beside, is_relaxed, rate_limits_alone, stale_denials, without_store,
};
pub use record::{AnyRecord, DecodeError, Kind, Record, RecordId, RecordKey};
pub use registry::{CommandSpec, ShapeError, Wire, command, commands, sweep};
#[cfg(feature = "schema")]
pub use rejection::DataSchema;
pub use rejection::{Category, Reject, Rejection, Stage};
pub use value::{
    AccountId, Amount, Balance, BlobName, CivilDate, CurrencyCode, Digest, Duration, Fingerprint,
    IdempotencyKey, Key, Labels, Limit, Measure, Minor, MinorUnits, Money, MoneyOrZero, Partition,
    PositiveUnits, SecretHash, StoredBlob, Taking, Timestamp, Units, ValueError, Version,
};
pub use view::{Due, Floor, Loaded, PendingWrite, View};
