//! `series.next`, `series.void`, `numbers.read`: numbers of documents kept elsewhere.
//!
//! Invariant: such a document has one number for ever, void or not: asked for again, it is told
//! which one. A void number stays a record, so the series has no gap that nobody can explain.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::definition::Definition;
use super::number::{Number, NumberStatus, Place, VoidMark, series_of};
use super::view::{self, NumberView};
use super::{Keeper, find, seal};
use crate::money::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{Command, Draft, IfVersion, Key, Kind, Record, RecordId, Timestamp};

/// Which number a document kept elsewhere has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberedDocument {
    number: String,
}

impl Record for NumberedDocument {
    const KIND: Kind = Kind::new("numbered_documents");
    /// Read again when the same document comes again.
    const CACHED: bool = false;
}

/// Gives the next number to a document kept elsewhere.
///
/// ```
/// use bellpunch_core::command;
/// let parse = command("series.next").expect("it is in the table").parse;
/// assert!(parse(serde_json::json!({"name": "INV", "document": "x"})).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// The series.
    pub name: Key,
    /// The scope, where each counts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Key>,
    /// The document.
    pub document: Key,
    /// Only at one of these versions of the series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

/// A number, as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NumberReply {
    /// The number.
    pub number: NumberView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

/// What no series without scopes has.
pub(super) const NO_SCOPES: MoneyRejection =
    MoneyRejection::InvalidRequest { field: "scope", reason: "the series has no scopes" };

impl Command for Next {
    const NAME: &'static str = "series.next";
    type Reply = NumberReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<NumberReply> {
        let mut book = Book::open(draft, now);
        let series = find(&mut book, self.name.as_str())?;
        if self.scope.is_some() && !series.definition.scoped {
            return Err(NO_SCOPES);
        }
        let scope = series.scope(self.scope.as_ref())?;
        let version = book.draft.version::<Definition>(&RecordId::from(&self.name));
        at_version(self.if_version.as_ref(), version)?;
        let document = RecordId::from(&self.document);
        if let Some(found) = book.draft.get::<NumberedDocument>(&document) {
            let number = found.number.clone();
            return Err(MoneyRejection::DocumentAlreadyNumbered { number });
        }
        let assigned = series.assign_to(&mut book, scope, (&self.document, Keeper::Elsewhere))?;

        // Past here it succeeds.
        let number = assigned.number.clone();
        let frozen = json!({
            "document": self.document, "number": number, "series": self.name, "at": book.now,
        });
        seal(&mut book, &assigned, &frozen);
        book.draft.put(&document, NumberedDocument { number });
        let number = view::number(&mut book, &assigned.id)?;
        Ok(NumberReply { number, moved: book.close() })
    }
}

/// Makes a number void whose document never came.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Void {
    /// The series.
    pub name: Key,
    /// The scope, where each counts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Key>,
    /// The number's text.
    pub number: String,
    /// Why.
    pub reason: Key,
    /// Only at one of these versions of the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Void {
    /// Where the number is, and what.
    ///
    /// # Errors
    /// `number_not_found`.
    fn find(&self, book: &mut Book<'_, '_>) -> Decided<(RecordId, Number)> {
        let not_found = || MoneyRejection::NumberNotFound { number: self.number.clone() };
        let series = find(book, self.name.as_str()).map_err(|_| not_found())?;
        let scope = series.scope(self.scope.as_ref()).map_err(|_| not_found())?;
        if scope != self.scope {
            return Err(not_found());
        }
        let template = &series.definition.template;
        let parsed = template.parse(&self.number, scope.as_ref());
        let (period, mark) = parsed.ok_or_else(not_found)?;
        let id = Place { series: self.name.clone(), scope, period }.number(&mark);
        // One that was imported was given by somebody else.
        let found = book.draft.get::<Number>(&id);
        let found = found.filter(|number| number.status != NumberStatus::Imported);
        Ok((id, (*found.ok_or_else(not_found)?).clone()))
    }
}

impl Command for Void {
    const NAME: &'static str = "series.void";
    type Reply = NumberReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<NumberReply> {
        let mut book = Book::open(draft, now);
        let (id, number) = self.find(&mut book)?;
        at_version(self.if_version.as_ref(), book.draft.version::<Number>(&id))?;
        if let (false, Some(document)) = (number.elsewhere, &number.document) {
            return Err(MoneyRejection::NumberInUse { document: document.clone() });
        }
        if let Some(void) = &number.void {
            return Err(MoneyRejection::NumberVoid { at: void.at });
        }

        // Past here it succeeds.
        let void = Some(VoidMark { at: book.now, reason: self.reason.clone() });
        book.draft.put(&id, Number { status: NumberStatus::Void, void, ..number });
        let number = view::number(&mut book, &id)?;
        Ok(NumberReply { number, moved: book.close() })
    }
}

/// Shows a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Where it stands: its `id`, as a list tells it.
    pub id: String,
}

/// A number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NumberShown {
    /// The number.
    pub number: NumberView,
}

impl Command for Read {
    const NAME: &'static str = "numbers.read";
    type Reply = NumberShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<NumberShown> {
        let mut book = Book::look(draft, now);
        // Anything may be asked for; only what can be one is looked for.
        let id = RecordId::stored(&self.id);
        if series_of(&id).is_none() {
            return Err(MoneyRejection::NumberNotFound { number: self.id.clone() });
        }
        Ok(NumberShown { number: view::number(&mut book, &id)? })
    }
}
