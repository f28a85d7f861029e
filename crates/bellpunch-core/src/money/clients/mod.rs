//! Clients: the firm's customers, each numbered in its scope.
//!
//! Invariant: a client's id and number are its own for ever; an archived one takes no new retainer,
//! invoice or payment, and keeps all it has.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Book, Decided, MoneyRejection};
use crate::tickets::Metadata;
use crate::{CommandSpec, Key, Kind, Record, RecordId, Timestamp};

/// A client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub(crate) number: String,
    /// Whose numbering it is.
    pub(crate) scope: Key,
    pub(crate) name: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archived_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    pub(crate) created_at: Timestamp,
}

impl Record for Client {
    const KIND: Kind = Kind::new("clients");
}

/// The client of this id.
///
/// # Errors
/// `client_not_found`.
pub(crate) fn find(book: &mut Book<'_, '_>, id: &Key) -> Decided<Arc<Client>> {
    let found = book.draft.get::<Client>(&RecordId::from(id));
    found.ok_or_else(|| MoneyRejection::ClientNotFound { id: id.clone() })
}

impl Client {
    /// Tests that it takes something new.
    ///
    /// # Errors
    /// `client_archived`.
    pub(crate) const fn is_open(&self) -> Decided<()> {
        match self.archived_at {
            Some(at) => Err(MoneyRejection::ClientArchived { at }),
            None => Ok(()),
        }
    }
}

/// Tests that two records are of one client.
///
/// # Errors
/// `client_mismatch`.
pub(crate) fn same(expected: &Key, got: &Key) -> Decided<()> {
    if expected == got {
        return Ok(());
    }
    Err(MoneyRejection::ClientMismatch { expected: expected.clone(), got: got.clone() })
}

/// The commands of clients.
pub(crate) const COMMANDS: &[CommandSpec] = &[];
