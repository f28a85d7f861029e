//! `clients.update`, `clients.read`.
//!
//! Invariant: an update writes values, so it says on which version: of two that read the same
//! client, one is told that it has changed.

use serde::{Deserialize, Serialize};

use super::{Client, ClientReply, ClientView, find, view};
use crate::money::{Book, Decided, MoneyRejection, at_version};
use crate::tickets::Metadata;
use crate::{Command, Draft, IfVersion, Key, RecordId, Timestamp};

/// Writes what is named, and leaves the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Which client.
    pub id: Key,
    /// Only at one of these versions. Required: it writes values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Key>,
    /// Whether it takes nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Stored in place of what was, never read by a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

impl Command for Update {
    const NAME: &'static str = "clients.update";
    type Reply = ClientReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ClientReply> {
        if self.if_version.is_none() {
            return Err(MoneyRejection::IfVersionRequired {});
        }
        let mut book = Book::open(draft, now);
        let client = (*find(&mut book, &self.id)?).clone();
        let record = RecordId::from(&self.id);
        at_version(self.if_version.as_ref(), book.draft.version::<Client>(&record))?;

        // Past here it succeeds.
        let archived_at = match self.archived {
            // One that is archived already has been since then.
            Some(true) => client.archived_at.or(Some(book.now)),
            Some(false) => None,
            None => client.archived_at,
        };
        let client = Client {
            name: self.name.clone().unwrap_or(client.name),
            metadata: self.metadata.clone().or(client.metadata),
            archived_at,
            ..client
        };
        book.draft.put(&record, client);
        let client = view(&mut book, &self.id)?;
        Ok(ClientReply { client, moved: book.close() })
    }
}

/// Shows a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which client.
    pub id: Key,
}

/// A client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientShown {
    /// The client.
    pub client: ClientView,
}

impl Command for Read {
    const NAME: &'static str = "clients.read";
    type Reply = ClientShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ClientShown> {
        let mut book = Book::look(draft, now);
        Ok(ClientShown { client: view(&mut book, &self.id)? })
    }
}
