//! The table of commands: routes, scopes, OpenAPI, scripts and manual come from it.
//!
//! Invariant: a command that can be named on a wire is in this table, under the one name it has
//! in paths, lists, scopes, metrics and journals.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    AnyCommand, Command, OutcomeRecord, ReadOutcome, Record, RecordId, SweepOutcomes, ValueError,
    currencies, limits, money, tickets, uploads,
};

/// What a command needs so that it can be read from a wire and described.
#[cfg(feature = "schema")]
pub trait Wire: DeserializeOwned + schemars::JsonSchema {}
#[cfg(feature = "schema")]
impl<T: DeserializeOwned + schemars::JsonSchema> Wire for T {}

/// What a command needs so that it can be read from a wire and described.
#[cfg(not(feature = "schema"))]
pub trait Wire: DeserializeOwned {}
#[cfg(not(feature = "schema"))]
impl<T: DeserializeOwned> Wire for T {}

/// Why a command could not be read: which field, and what would be right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShapeError {
    /// `invalid_request`, `name_invalid`, `invalid_units`, …
    pub code: &'static str,
    /// Its place, for example `items[0].units`; empty for the whole.
    pub field: String,
    /// What was wrong.
    pub reason: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.field, self.reason)
    }
}

impl std::error::Error for ShapeError {}

/// One command of the table.
#[derive(Clone, Copy)]
pub struct CommandSpec {
    /// The wire name: `collection.verb`.
    pub name: &'static str,
    /// Whether it may write. A read takes no idempotency key.
    pub changes: bool,
    /// Whether it is about money: a change then needs an idempotency key, unless the operator says
    /// otherwise.
    pub money: bool,
    /// Reads its content from JSON: the fields of the command, durations as `…_ns`.
    pub parse: fn(Value) -> Result<Arc<dyn AnyCommand>, ShapeError>,
    /// Describes the content.
    #[cfg(feature = "schema")]
    pub request: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Describes the reply.
    #[cfg(feature = "schema")]
    pub reply: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl CommandSpec {
    /// A command that changes something.
    #[must_use]
    pub const fn change<C>() -> Self
    where
        C: Command + Wire,
        C::Reply: Wire,
    {
        Self {
            name: C::NAME,
            changes: true,
            money: false,
            parse: parse::<C>,
            #[cfg(feature = "schema")]
            request: |generator| generator.subschema_for::<C>(),
            #[cfg(feature = "schema")]
            reply: |generator| generator.subschema_for::<C::Reply>(),
        }
    }

    /// A command that only reads.
    #[must_use]
    pub const fn read<C>() -> Self
    where
        C: Command + Wire,
        C::Reply: Wire,
    {
        Self { changes: false, ..Self::change::<C>() }
    }

    /// This command, as one that is about money.
    #[must_use]
    pub const fn of_money(self) -> Self {
        Self { money: true, ..self }
    }
}

fn parse<C: Command + DeserializeOwned>(content: Value) -> Result<Arc<dyn AnyCommand>, ShapeError> {
    match serde_path_to_error::deserialize::<_, C>(content) {
        Ok(command) => Ok(Arc::new(command)),
        Err(error) => {
            let field = error.path().to_string();
            let field = if field == "." { String::new() } else { field };
            Err(shape_error(field, &error.inner().to_string()))
        }
    }
}

/// Takes apart what [`ValueError`] wrote; what `serde` itself says is an `invalid_request`.
fn shape_error(field: String, message: &str) -> ShapeError {
    for kind in [
        ValueError::Units(""),
        ValueError::Amount(""),
        ValueError::Name(""),
        ValueError::IdempotencyKey(""),
        ValueError::Request(""),
    ] {
        if let Some(reason) = message.strip_prefix(kind.code()).and_then(|m| m.strip_prefix(": ")) {
            return ShapeError { code: kind.code(), field, reason: reason.to_owned() };
        }
    }
    // The name of a Rust type tells a caller nothing.
    let (before, after) = message.split_once("expected struct ").unwrap_or((message, ""));
    let message = &match after {
        "" => before.to_owned(),
        after => {
            let rest = after.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{before}expected an object {rest}").trim_end().to_owned()
        }
    };
    // `missing field `units`` names a field that the path cannot point at.
    let named = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let field = match named {
        Some(name) if field.is_empty() => name.to_owned(),
        Some(name) => format!("{field}.{name}"),
        None => field,
    };
    ShapeError { code: "invalid_request", field, reason: message.clone() }
}

/// All commands that have a wire name.
pub fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    const OUTCOMES: &[CommandSpec] = &[CommandSpec::read::<ReadOutcome>()];
    const CURRENCIES: &[CommandSpec] = &[
        CommandSpec::change::<currencies::Define>().of_money(),
        CommandSpec::read::<currencies::Read>().of_money(),
    ];
    const TICKETS: &[CommandSpec] = &[
        CommandSpec::change::<tickets::Create>(),
        CommandSpec::change::<tickets::Approve>(),
        CommandSpec::change::<tickets::Reject>(),
        CommandSpec::change::<tickets::Cancel>(),
        CommandSpec::change::<tickets::Revoke>(),
        CommandSpec::change::<tickets::Redeem>(),
        CommandSpec::change::<tickets::Expire>(),
        CommandSpec::read::<tickets::Read>(),
    ];
    const UPLOADS: &[CommandSpec] = &[
        CommandSpec::change::<uploads::Create>(),
        CommandSpec::change::<uploads::Publish>(),
        CommandSpec::change::<uploads::Complete>(),
        CommandSpec::change::<uploads::Extend>(),
        CommandSpec::change::<uploads::Abandon>(),
        CommandSpec::change::<uploads::Download>(),
        CommandSpec::change::<uploads::Delete>(),
        CommandSpec::read::<uploads::Read>(),
    ];
    let others = [OUTCOMES, CURRENCIES, TICKETS, UPLOADS, limits::COMMANDS];
    others.into_iter().chain(money::COMMANDS.iter().copied()).flatten()
}

/// The command that removes records of this kind whose time has come; each is looked at again when
/// it is decided. `None` for kinds that are not swept.
#[must_use]
pub fn sweep(kind: &str, ids: Vec<RecordId>) -> Option<Arc<dyn AnyCommand>> {
    if kind == OutcomeRecord::KIND.name() {
        return Some(Arc::new(SweepOutcomes { ids }));
    }
    limits::sweep(kind, ids.clone()).or_else(|| tickets::sweep(kind, ids))
}

/// The command of this name.
#[must_use]
pub fn command(name: &str) -> Option<&'static CommandSpec> {
    commands().find(|spec| spec.name == name)
}
