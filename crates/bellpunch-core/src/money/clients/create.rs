//! `clients.create`: a client, with the next number of its scope.
//!
//! Invariant: the number is taken in the commit that makes the client. A count of a scope's clients
//! would repeat after one goes, and be the same for two that come at once.

use serde::{Deserialize, Serialize};

use super::{Client, ClientView, view};
use crate::money::{Book, Decided, MoneyRejection, Moved, external, series};
use crate::{Command, Draft, Key, RecordId, Timestamp};

/// Makes a client.
///
/// ```
/// use bellpunch_core::command;
/// let parse = command("clients.create").expect("it is in the table").parse;
/// assert!(parse(serde_json::json!({"scope": "L1", "name": "Noor"})).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its id; drawn, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// Whose numbering it is.
    pub scope: Key,
    /// Its name.
    pub name: Key,
    /// Its id elsewhere: no other client has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Key>,
}

/// A client, as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientReply {
    /// The client.
    pub client: ClientView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for Create {
    const NAME: &'static str = "clients.create";
    type Reply = ClientReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ClientReply> {
        let mut book = Book::open(draft, now);
        let id = self.id.clone().unwrap_or_else(|| book.draft.drawn_key());
        let record = RecordId::from(&id);
        if book.draft.get::<Client>(&record).is_some() {
            return Err(MoneyRejection::ClientExists { id });
        }
        external::is_free(&mut book, ("clients", self.external_id.as_ref()), None)?;
        let numbers = series::find(&mut book, "CLT")?;
        let assigned = numbers.assign(&mut book, Some(&self.scope), &id)?;

        // Past here it succeeds.
        if let Some(external_id) = &self.external_id {
            external::claim(&mut book, ("clients", external_id), &id);
        }
        let client = Client {
            number: assigned.number.clone(),
            scope: self.scope.clone(),
            name: self.name.clone(),
            external_id: self.external_id.clone(),
            archived_at: None,
            metadata: None,
            created_at: now,
        };
        let frozen = serde_json::to_value(&client).expect("a record is plain data");
        series::seal(&mut book, &assigned, &frozen);
        book.draft.put(&record, client);
        let client = view(&mut book, &id)?;
        Ok(ClientReply { client, moved: book.close() })
    }
}
