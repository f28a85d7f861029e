//! `series.define`, `series.read`: what a series is, once and for all.
//!
//! Invariant: a series is defined before it gives a number, and only what happens past its width
//! may change: a number that was printed stays what it says, and its neighbour looks like it.

use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::number::VALUE_MAX;
use super::template::Template;
use super::view::{self, SeriesView};
use super::zone::Zone;
use super::{Overflow, SeriesClass, chain};
use crate::money::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{Command, Draft, IfVersion, Key, RecordId, Timestamp};

/// Defines a series, or changes what happens past its width.
///
/// ```
/// use bellpunch_core::command;
/// let content = serde_json::json!({
///     "name": "ORD", "template": "ORD-{YYYY}-{N:6}", "class": "gapless", "zone": "Asia/Riyadh",
/// });
/// let parse = command("series.define").expect("it is in the table").parse;
/// assert!(parse(content).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Define {
    /// Its name.
    pub name: Key,
    /// What its numbers look like: literals of A to Z, 0 to 9 and `. _ / -`, `{YYYY}`, `{YY}`,
    /// `{MM}`, `{DD}`, `{scope}`, and last `{N:width}`; or `{R}`.
    pub template: String,
    /// What it promises of them.
    pub class: SeriesClass,
    /// Where its days begin: an IANA name, or an offset like `+03:00`.
    pub zone: String,
    /// Whether each scope counts apart. By default where the template prints the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoped: Option<bool>,
    /// The first value of each scope and period; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// What happens past the width; it widens by default. May be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// The chain that its documents belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Key>,
    /// Only at one of these versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A series, as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SeriesReply {
    /// The series.
    pub series: SeriesView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Define {
    /// What the content says by itself.
    ///
    /// # Errors
    /// `invalid_template`, `unknown_zone`, `invalid_request`.
    fn definition(&self, now: Timestamp) -> Decided<Definition> {
        let template = Template::new(&self.template)
            .map_err(|reason| MoneyRejection::InvalidTemplate { reason })?;
        let is_opaque = self.class == SeriesClass::Opaque;
        if is_opaque != template.is_random() {
            let reason = if is_opaque {
                "an opaque series has {R}, not {N:width}"
            } else {
                "a gapless or unique series has {N:width}, not {R}"
            };
            return Err(MoneyRejection::InvalidTemplate { reason });
        }
        if template.prints_scope() && self.scoped == Some(false) {
            let reason = "prints the scope of a series without scopes";
            return Err(MoneyRejection::InvalidTemplate { reason });
        }
        let zone = Zone::new(&self.zone)
            .ok_or_else(|| MoneyRejection::UnknownZone { zone: self.zone.clone() })?;
        let start = self.start.unwrap_or(1);
        let overflow = self.overflow.unwrap_or_default();
        let max = template.value_max().filter(|_| overflow == Overflow::Refuse);
        let wrong = |field, reason| Err(MoneyRejection::InvalidRequest { field, reason });
        if is_opaque && (self.start.is_some() || self.overflow.is_some()) {
            return wrong("start", "an opaque series does not count");
        }
        if start == 0 || max.unwrap_or(VALUE_MAX) < start {
            return wrong("start", "must be at least 1, and a value that the series can give");
        }
        Ok(Definition {
            scoped: self.scoped.unwrap_or_else(|| template.prints_scope()),
            template,
            class: self.class,
            zone,
            start,
            overflow,
            chain: self.chain.clone(),
            defined_at: now,
            last_date: None,
        })
    }
}

impl Command for Define {
    const NAME: &'static str = "series.define";
    type Reply = SeriesReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<SeriesReply> {
        let mut book = Book::open(draft, now);
        let wanted = self.definition(now)?;
        let id = RecordId::from(&self.name);
        let definition = match book.draft.get::<Definition>(&id) {
            Some(found) => {
                let overflow = self.overflow.filter(|overflow| *overflow != found.overflow);
                let overflow = overflow.filter(|_| found.is_like(&wanted));
                let overflow = overflow
                    .ok_or_else(|| MoneyRejection::SeriesExists { id: self.name.clone() })?;
                Definition { overflow, ..(*found).clone() }
            }
            None => wanted,
        };
        if let Some(name) = &self.chain {
            chain::find(&mut book, name)?;
        }
        at_version(self.if_version.as_ref(), book.draft.version::<Definition>(&id))?;

        // Past here it succeeds.
        book.draft.put(&id, definition);
        let series = view::series(&mut book, &self.name)?;
        Ok(SeriesReply { series, moved: book.close() })
    }
}

/// Shows a series, also one that every book has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Its name.
    pub id: Key,
}

/// A series.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SeriesShown {
    /// The series.
    pub series: SeriesView,
}

impl Command for Read {
    const NAME: &'static str = "series.read";
    type Reply = SeriesShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<SeriesShown> {
        let mut book = Book::look(draft, now);
        Ok(SeriesShown { series: view::series(&mut book, &self.id)? })
    }
}
