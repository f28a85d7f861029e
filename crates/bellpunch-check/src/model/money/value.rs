//! Amounts as commands write them and as replies show them, and what one command brings about.
//!
//! Invariant: numbers are `i128`. An amount or a balance stays below 2^53, a price times a quantity
//! below 2^106, so no sum and no product here comes near its end.

use serde_json::{Value, json};

use crate::instant::Nanos;
use crate::model::Call;
use crate::model::fields::{
    COUNT_MAX, Refusal, Writes, count, field, needed, refuse, senseless, text, undrawn,
};
use crate::model::others::Currencies;

/// The largest amount or balance.
pub(super) const LARGEST: i128 = 9_007_199_254_740_991;

/// So many minor units of a currency.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Money {
    pub(super) minor: i128,
    pub(super) currency: String,
}

impl Money {
    /// Refuses what is of another currency than expected.
    pub(super) fn is_in(&self, expected: &str) -> Result<(), Refusal> {
        if self.currency == expected {
            return Ok(());
        }
        let data = json!({ "expected": expected, "got": self.currency });
        refuse("currency_mismatch", data)
    }
}

/// A count of minor units, as replies show it beside its currency.
pub(super) fn number(minor: i128) -> Value {
    i64::try_from(minor).map_or(Value::Null, Value::from)
}

/// One command, with what it is asked on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) cmd: &'a str,
    pub(super) args: &'a Value,
    pub(super) at: Nanos,
    pub(super) drawn: Option<&'a Value>,
    pub(super) currencies: &'a Currencies,
    /// How many commands were decided before: tells apart what nobody saw.
    pub(super) turn: usize,
}

impl<'a> Ask<'a> {
    pub(super) const fn of(call: &Call<'a>, currencies: &'a Currencies, turn: usize) -> Self {
        let Call { cmd, args, at, drawn } = *call;
        Self { cmd, args, at, drawn, currencies, turn }
    }

    /// The same command with other content.
    pub(super) const fn with(&self, args: &'a Value) -> Self {
        Self { args, ..*self }
    }

    pub(super) fn id(&self) -> Result<&'a str, Refusal> {
        needed(self.args, "id")
    }

    /// The id that was given, or the one that was drawn; it stands at `path` of the answer.
    pub(super) fn given_or_drawn(&self, path: &str) -> String {
        let drawn = || self.drawn?.pointer(path)?.as_str();
        match text(self.args, "id").or_else(drawn) {
            Some(id) => id.to_owned(),
            None => undrawn(self.turn),
        }
    }

    /// What was drawn, at `path` of the answer.
    pub(super) fn drawn(&self, path: &str) -> String {
        let drawn = self.drawn.and_then(|reply| reply.pointer(path)?.as_str());
        drawn.map_or_else(|| undrawn(self.turn), str::to_owned)
    }

    /// An amount that may be nothing.
    pub(super) fn maybe_zero(&self, name: &str) -> Result<Option<Money>, Refusal> {
        field(self.args, name).map(|value| self.money_in(value, name)).transpose()
    }

    /// An amount of at least one.
    pub(super) fn maybe(&self, name: &str) -> Result<Option<Money>, Refusal> {
        let money = self.maybe_zero(name)?;
        if money.as_ref().is_some_and(|money| money.minor == 0) {
            return wrong(name, "zero");
        }
        Ok(money)
    }

    /// An amount of at least one that has to be there.
    pub(super) fn money(&self, name: &str) -> Result<Money, Refusal> {
        self.maybe(name)?.map_or_else(|| senseless(name), Ok)
    }

    /// Reads `{amount, currency}`.
    pub(super) fn money_in(&self, value: &Value, name: &str) -> Result<Money, Refusal> {
        let minor = match field(value, "amount").map(count) {
            None => return senseless(&format!("{name}.amount")),
            Some(Err(reason)) => return wrong(name, reason),
            Some(Ok(minor)) => i128::from(minor),
        };
        let Some(currency) = text(value, "currency") else { return senseless(name) };
        self.currencies.know("currency", currency)?;
        Ok(Money { minor, currency: currency.to_owned() })
    }

    /// The precondition of a caller, on a record that is there.
    pub(super) fn fits(&self, version: u64) -> Result<(), Refusal> {
        let fits = match field(self.args, "if_version") {
            None => true,
            Some(Value::Array(any)) => any.iter().any(|wanted| wanted.as_u64() == Some(version)),
            Some(Value::String(word)) => word == "*",
            Some(wanted) => wanted.as_u64() == Some(version),
        };
        if fits { Ok(()) } else { refuse("version_mismatch", json!({ "version": version })) }
    }

    /// Commands that write values say on which version.
    pub(super) fn needs_version(&self) -> Result<(), Refusal> {
        match field(self.args, "if_version") {
            Some(_) => Ok(()),
            None => refuse("if_version_required", json!({})),
        }
    }
}

fn wrong<T>(name: &str, reason: &str) -> Result<T, Refusal> {
    refuse("invalid_amount", json!({ "field": format!("{name}.amount"), "reason": reason }))
}

/// A plain count of a field, or what it is unless it is said.
pub(super) fn plain(args: &Value, name: &str, unless: Option<u64>) -> Result<i128, Refusal> {
    let value = field(args, name).and_then(Value::as_u64).or(unless);
    match value.filter(|value| *value <= COUNT_MAX) {
        Some(value) => Ok(i128::from(value)),
        None => senseless(name),
    }
}

/// What one command brings about, collected while it changes the book.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Turn {
    /// The records that it writes.
    pub(super) writes: Writes,
    pub(super) postings: Vec<Value>,
    pub(super) events: Vec<Value>,
    /// Retainers that it moves money of, and their balance and minimum before.
    pub(super) retainers: Vec<(String, (i128, i128))>,
    /// Invoices whose due may change, and whether they were paid before.
    pub(super) invoices: Vec<(String, bool)>,
}

/// What a reply shows of the book after the command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Account(String),
    Hold(String),
    Transfer(String),
    Client(String),
    Retainer(String),
    Consumption(String),
    Invoice(String),
    CreditNote(String),
    Payment(String),
    Refund(String),
    Dispute(String),
    Job(String),
    Proposal(String, String),
    /// As it is.
    Plain(Value),
    All(Vec<Self>),
}

/// The fields of a reply, or why there is none.
pub(super) type Shown = Result<Vec<(&'static str, What)>, Refusal>;
