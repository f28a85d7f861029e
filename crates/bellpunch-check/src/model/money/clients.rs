//! `clients.*`: the firm's customers.

use serde_json::{Value, json};

use super::Book;
use super::series::told;
use super::show::known;
use super::value::{Ask, Shown, What};
use crate::model::fields::{Refusal, field, needed, object, refuse, stated, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Client {
    scope: String,
    name: String,
    number: String,
    external_id: Option<String>,
    pub(super) archived: bool,
    metadata: Option<Value>,
}

impl Book {
    pub(super) fn create_client(&mut self, ask: &Ask<'_>) -> Shown {
        let scope = needed(ask.args, "scope")?.to_owned();
        let name = needed(ask.args, "name")?.to_owned();
        let external_id = text(ask.args, "external_id").map(str::to_owned);
        let id = ask.given_or_drawn("/client/id");
        if self.clients.contains_key(&id) {
            return refuse("client_exists", json!({ "id": id }));
        }
        self.is_external_free("clients", external_id.as_deref(), &id)?;
        self.series_is("CLT")?;
        let number = self.take_number(("CLT", Some(&scope)), &id, ask)?;

        // Past here it succeeds.
        self.keep_external("clients", external_id.as_deref(), &id);
        let metadata = field(ask.args, "metadata").cloned();
        let client = Client { scope, name, number, external_id, archived: false, metadata };
        self.clients.insert(id.clone(), client);
        self.writes("clients", &id);
        Ok(vec![("client", What::Client(id))])
    }

    pub(super) fn update_client(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        ask.needs_version()?;
        let client = self.client(&id)?.clone();
        ask.fits(self.version("clients", &id))?;

        // Past here it succeeds.
        let client = Client {
            name: text(ask.args, "name").map_or(client.name, str::to_owned),
            archived: field(ask.args, "archived")
                .and_then(Value::as_bool)
                .unwrap_or(client.archived),
            metadata: field(ask.args, "metadata").cloned().or(client.metadata),
            ..client
        };
        self.clients.insert(id.clone(), client);
        self.writes("clients", &id);
        Ok(vec![("client", What::Client(id))])
    }

    pub(super) fn client(&self, id: &str) -> Result<&Client, Refusal> {
        let client = self.clients.get(id);
        client.map_or_else(|| refuse("client_not_found", json!({ "id": id })), Ok)
    }

    /// Refuses new work for an archived client.
    pub(super) fn is_active(&self, id: &str) -> Result<(), Refusal> {
        if self.client(id)?.archived {
            return refuse("client_archived", json!({}));
        }
        Ok(())
    }

    /// Refuses a name of the outside that another record of this kind has.
    pub(super) fn is_external_free(
        &self,
        kind: &str,
        external: Option<&str>,
        of: &str,
    ) -> Result<(), Refusal> {
        let taken = external
            .and_then(|external| self.externals.get(&(kind.to_owned(), external.to_owned())));
        match taken.filter(|id| *id != of) {
            Some(id) => refuse("external_id_in_use", object([("id", known(id))])),
            None => Ok(()),
        }
    }

    pub(super) fn keep_external(&mut self, kind: &str, external: Option<&str>, of: &str) {
        if let Some(external) = external {
            self.externals.insert((kind.to_owned(), external.to_owned()), of.to_owned());
        }
    }

    pub(super) fn show_client(&self, id: &str) -> Value {
        let Some(client) = self.clients.get(id) else { return Value::Null };
        let mut shown = stated([
            ("id", Some(json!(id))),
            ("scope", Some(json!(client.scope))),
            ("name", Some(json!(client.name))),
            ("external_id", client.external_id.as_ref().map(|id| json!(id))),
            ("archived", Some(json!(client.archived))),
            ("metadata", client.metadata.clone()),
            ("version", Some(json!(self.version("clients", id)))),
        ]);
        super::show::add(&mut shown, "number", told(&client.number));
        shown
    }
}
