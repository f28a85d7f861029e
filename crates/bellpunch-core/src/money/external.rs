//! Ids of the outside: each is of one record of its collection.
//!
//! Invariant: an id of the outside is claimed in the commit that makes the record, and freed in the
//! one that ends it without effect, so no two live records share one.

use serde::{Deserialize, Serialize};

use super::{Book, Decided, MoneyRejection};
use crate::{Key, Kind, Record, RecordId};

/// Which record has an id of the outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExternalId {
    /// The record's own id.
    id: Key,
}

impl Record for ExternalId {
    const KIND: Kind = Kind::compound("external_ids", 2);
}

fn place(collection: &'static str, external: &Key) -> RecordId {
    let collection = Key::new(collection).expect("the name of a collection is a name");
    RecordId::compound(&[&collection, external])
}

/// Tests that no other record of the collection has it. `own`: the record that may.
///
/// # Errors
/// `external_id_in_use`.
pub(crate) fn is_free(
    book: &mut Book<'_, '_>,
    (collection, external): (&'static str, Option<&Key>),
    own: Option<&Key>,
) -> Decided<()> {
    let Some(external) = external else { return Ok(()) };
    match book.draft.get::<ExternalId>(&place(collection, external)) {
        Some(found) if Some(&found.id) != own => {
            Err(MoneyRejection::ExternalIdInUse { id: found.id.clone() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Claims it for a record.
pub(crate) fn claim(
    book: &mut Book<'_, '_>,
    (collection, external): (&'static str, &Key),
    id: &Key,
) {
    book.draft.put(&place(collection, external), ExternalId { id: id.clone() });
}

/// Frees it.
pub(crate) fn free(book: &mut Book<'_, '_>, collection: &'static str, external: &Key) {
    book.draft.delete::<ExternalId>(&place(collection, external));
}
