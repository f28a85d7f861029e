//! Clients: the firm's customers, each numbered in its scope.
//!
//! Invariant: a client's id and number are its own for ever; an archived one takes no new retainer,
//! invoice or payment, and keeps all it has.

mod create;
mod update;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Book, Decided, MoneyRejection};
use crate::tickets::Metadata;
use crate::{CommandSpec, Key, Kind, Record, RecordId, Timestamp, Version};

pub use create::{ClientReply, Create};
pub use update::{ClientShown, Read, Update};

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

/// A client, as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientView {
    /// Its id.
    pub id: Key,
    /// Its number, in its scope.
    pub number: String,
    /// Whose numbering it is.
    pub scope: Key,
    /// Its name.
    pub name: Key,
    /// Its id elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
    /// Whether it takes nothing new.
    pub archived: bool,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Timestamp>,
    /// As it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Rises with every change.
    pub version: Version,
}

/// A client as it is now, in this command's eyes.
///
/// # Errors
/// `client_not_found`.
pub(crate) fn view(book: &mut Book<'_, '_>, id: &Key) -> Decided<ClientView> {
    let client = (*find(book, id)?).clone();
    let version = book.draft.version::<Client>(&RecordId::from(id));
    Ok(ClientView {
        id: id.clone(),
        number: client.number,
        scope: client.scope,
        name: client.name,
        external_id: client.external_id,
        archived: client.archived_at.is_some(),
        archived_at: client.archived_at,
        metadata: client.metadata,
        version,
    })
}

/// The commands of clients.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::change::<Create>().of_money(),
    CommandSpec::change::<Update>().of_money(),
    CommandSpec::read::<Read>().of_money(),
];

#[cfg(test)]
mod tests;
