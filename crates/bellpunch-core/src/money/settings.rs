//! The settings of a book: what its owner decides once for all commands.
//!
//! Invariant: a book without settings has the defaults; a change is a command like any other, so
//! every decision is made under the settings of its place in the journal.

use serde::{Deserialize, Serialize};

use super::series::Zone;
use super::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{
    Command, CommandSpec, Draft, Duration, IfVersion, Key, Kind, Record, RecordId, Timestamp,
    Version,
};

/// What a book is set to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The zone of the series that the book did not define itself: an IANA name or an offset.
    pub(crate) zone: Zone,
    /// Whether an issued invoice may be voided.
    pub(crate) void_allowed: bool,
    /// Within which span two equal payments of one invoice are told as a possible duplicate.
    pub(crate) duplicate_window_ns: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let duplicate_window_ns = Duration::from_millis(600_000);
        Self { zone: Zone::utc(), void_allowed: true, duplicate_window_ns }
    }
}

impl Record for Settings {
    const KIND: Kind = Kind::new("book");
}

/// The one record of its kind.
const NAME: &str = "settings";

/// Where the settings are.
pub(crate) fn id() -> RecordId {
    RecordId::stored(NAME)
}

/// The settings of this book.
pub(crate) fn of(book: &mut Book<'_, '_>) -> Settings {
    book.draft.get::<Settings>(&id()).map_or_else(Settings::default, |found| (*found).clone())
}

/// The settings, as callers see them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BookView {
    /// Always `settings`.
    pub id: Key,
    /// The zone of the series that the book did not define itself.
    pub zone: String,
    /// Whether an issued invoice may be voided.
    pub void_allowed: bool,
    /// Within which span two equal payments of one invoice are told as a possible duplicate.
    pub duplicate_window_ns: Duration,
    /// Rises with every change; 0 while all is as at the start.
    pub version: Version,
}

fn view(book: &mut Book<'_, '_>) -> BookView {
    let Settings { zone, void_allowed, duplicate_window_ns } = of(book);
    let version = book.draft.version::<Settings>(&id());
    let (id, zone) = (Key::new(NAME).expect("a word is a name"), zone.to_string());
    BookView { id, zone, void_allowed, duplicate_window_ns, version }
}

/// Sets what is named, and leaves the rest.
///
/// ```
/// use bellpunch_core::command;
/// let parse = command("book.configure").expect("it is in the table").parse;
/// assert!(parse(serde_json::json!({"zone": "Asia/Riyadh"})).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Configure {
    /// The zone of the series that the book did not define itself: an IANA name, or an offset like
    /// `+03:00`. One that has given a number keeps the zone that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether an issued invoice may be voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void_allowed: Option<bool>,
    /// Within which span two equal payments of one invoice are told as a possible duplicate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_window_ns: Option<Duration>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// The settings, as they now are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BookReply {
    /// The settings.
    pub book: BookView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for Configure {
    const NAME: &'static str = "book.configure";
    type Reply = BookReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<BookReply> {
        let mut book = Book::open(draft, now);
        let window = self.duplicate_window_ns;
        if self.zone.is_none() && self.void_allowed.is_none() && window.is_none() {
            let reason = "must name a setting: zone, void_allowed or duplicate_window";
            return Err(MoneyRejection::InvalidRequest { field: "", reason });
        }
        let unknown = |zone: &String| MoneyRejection::UnknownZone { zone: zone.clone() };
        let zone = self.zone.as_ref().map(|zone| Zone::new(zone).ok_or_else(|| unknown(zone)));
        let zone = zone.transpose()?;
        let version = book.draft.version::<Settings>(&id());
        at_version(self.if_version.as_ref(), version)?;

        // Past here it succeeds.
        let before = of(&mut book);
        let settings = Settings {
            zone: zone.unwrap_or(before.zone),
            void_allowed: self.void_allowed.unwrap_or(before.void_allowed),
            duplicate_window_ns: window.unwrap_or(before.duplicate_window_ns),
        };
        book.draft.put(&id(), settings);
        let shown = view(&mut book);
        Ok(BookReply { book: shown, moved: book.close() })
    }
}

/// Shows the settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// `settings`: a book has one set of them.
    pub id: Key,
}

/// The settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BookShown {
    /// The settings.
    pub book: BookView,
}

impl Command for Read {
    const NAME: &'static str = "book.read";
    type Reply = BookShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<BookShown> {
        let mut book = Book::look(draft, now);
        if self.id.as_str() != NAME {
            let reason = "must be `settings`";
            return Err(MoneyRejection::InvalidRequest { field: "id", reason });
        }
        Ok(BookShown { book: view(&mut book) })
    }
}

/// The commands of settings.
pub(crate) const COMMANDS: &[CommandSpec] =
    &[CommandSpec::change::<Configure>().of_money(), CommandSpec::read::<Read>().of_money()];

#[cfg(test)]
mod tests;
