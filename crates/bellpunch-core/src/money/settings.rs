//! The settings of a book: what its owner decides once for all commands.
//!
//! Invariant: a book without settings has the defaults; a change is a command like any other, so
//! every decision is made under the settings of its place in the journal.

use serde::{Deserialize, Serialize};

use super::Book;
use crate::{CommandSpec, Duration, Kind, Record, RecordId};

/// What a book is set to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The zone of the series that the book did not define itself: an IANA name or an offset.
    pub(crate) zone: String,
    /// Whether an issued invoice may be voided.
    pub(crate) void_allowed: bool,
    /// Within which span two equal payments of one invoice are told as a possible duplicate.
    pub(crate) duplicate_window_ns: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let duplicate_window_ns = Duration::from_millis(600_000);
        Self { zone: "UTC".to_owned(), void_allowed: true, duplicate_window_ns }
    }
}

impl Record for Settings {
    const KIND: Kind = Kind::new("book");
}

/// Where the settings are.
pub(crate) fn id() -> RecordId {
    RecordId::stored("settings")
}

/// The settings of this book.
pub(crate) fn of(book: &mut Book<'_, '_>) -> Settings {
    book.draft.get::<Settings>(&id()).map_or_else(Settings::default, |found| (*found).clone())
}

/// The commands of settings.
pub(crate) const COMMANDS: &[CommandSpec] = &[];
