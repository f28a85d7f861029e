//! Scripts: how rules are told and tested. One line per command, its whole answer at the end.
//!
//! Invariant: a script either is understood to its last word or is refused with the number of the
//! line; nothing in it is skipped. What a script says is compared with answers as a caller sees
//! them, as JSON, so this module knows no rule and shares no code with any.
//!
//! Two notations are read, the full form ([`parse`]) and the compact one ([`parse_compact`]); both
//! give [`Script`]s. A script runs on any [`World`]: on the rules alone ([`DirectWorld`]), or on an
//! engine over a store. Why not write the tests in Rust: a script reads without it, and the same
//! text runs on every backend.
//!
//! ```
//! let scripts = bellpunch_core::script::parse(
//!     "== CAP the use that reaches the cap passes ; quota q limit=3
//!      0s consume q 1 x5 => 3 ok 2 quota_exceeded
//!      1s peek q => used=3 remaining=0",
//! )?;
//! assert_eq!(scripts[0].id, "CAP");
//! assert_eq!(scripts[0].lines.len(), 2);
//! let error = bellpunch_core::script::parse("== X\n0s consume q 1 = ok").unwrap_err();
//! assert_eq!(error.line, 2);
//! # Ok::<(), bellpunch_core::script::ParseError>(())
//! ```

mod book;
mod compact;
mod compare;
mod direct;
mod full;
mod ledger_verb;
mod model;
mod run;
mod told;
mod value;
mod verb;
mod world;

pub use book::parse_book;
pub use compact::parse_compact;
pub use direct::DirectWorld;
pub use full::parse;
pub use model::{
    Alternative, Call, Expect, Expected, Field, KeyChoice, Line, Order, ParseError, Script, Step,
    Wanted,
};
pub use run::{Failure, Report, run};
pub use value::START;
pub use world::{Answer, Sending, Unsupported, World};

#[cfg(test)]
mod tests;
