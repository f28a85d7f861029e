//! `book.configure`: what the owner of a book decides once for all.
//!
//! Invariant: a book without settings counts days in UTC, lets invoices be voided, and tells of two
//! equal payments within ten minutes.

use serde_json::{Value, json};

use super::Book;
use super::series::zone;
use super::value::{Ask, Shown, What};
use crate::instant::Nanos;
use crate::model::fields::{duration, field, refuse, span, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    zone: String,
    pub(super) void_allowed: bool,
    pub(super) duplicate_window: Nanos,
}

impl Default for Settings {
    fn default() -> Self {
        let duplicate_window = 600_000_000_000;
        Self { zone: "UTC".to_owned(), void_allowed: true, duplicate_window }
    }
}

impl Book {
    pub(super) fn configure_book(&mut self, ask: &Ask<'_>) -> Shown {
        let place = match text(ask.args, "zone") {
            Some(name) => match zone(name) {
                Some(zone) => Some((name.to_owned(), zone)),
                None => return refuse("unknown_zone", json!({ "zone": name })),
            },
            None => None,
        };
        let window = duration(ask.args, "duplicate_window_ns")?;
        ask.fits(self.version("book", "settings"))?;

        // Past here it succeeds.
        if let Some((name, zone)) = place {
            self.settings.zone = name;
            for series in self.series.values_mut() {
                series.moves_to(&zone);
            }
        }
        let void_allowed = field(ask.args, "void_allowed").and_then(Value::as_bool);
        self.settings.void_allowed = void_allowed.unwrap_or(self.settings.void_allowed);
        self.settings.duplicate_window = window.unwrap_or(self.settings.duplicate_window);
        self.writes("book", "settings");
        Ok(vec![("book", What::Plain(self.show_book()))])
    }

    pub(super) fn show_book(&self) -> Value {
        json!({
            "zone": self.settings.zone, "void_allowed": self.settings.void_allowed,
            "duplicate_window_ns": span(0, self.settings.duplicate_window),
        })
    }
}
