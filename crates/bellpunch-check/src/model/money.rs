//! The model of a book: accounts, retainers, invoices, payments, refunds, numbers, jobs.
//!
//! Every command asks its questions in the order of their description and changes the book after
//! the last one. Balances, what is due, what is free and every status are worked out when they are
//! asked for; what can be counted in two ways is, in [`Book::check`].
//!
//! What is not stated: `seq`; ids and times of the system's own transfers; numbers that are drawn;
//! the hash of what an engine sealed; texts for people.
//!
//! Invariant: a command that is not accepted leaves the book as it was.

mod accounts;
mod budget;
mod clients;
mod complete;
mod credit;
mod invoices;
mod jobs;
mod ledger;
mod once;
mod payments;
mod refunds;
mod retainers;
mod series;
mod settings;
mod show;
mod template;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
mod tests;
mod tickets;
mod totals;
mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::budget::Allocation;
use self::clients::Client;
use self::credit::Note;
use self::invoices::Invoice;
use self::jobs::{Job, Proposal};
use self::ledger::Ledger;
use self::payments::Payment;
use self::refunds::Return;
use self::retainers::{Consumption, Retainer};
use self::series::{Chain, Series};
use self::settings::Settings;
pub(super) use self::tickets::Purse;
use self::value::{Ask, Shown, Turn, What};
use super::fields::{record, refuse};
use super::others::Currencies;
use super::{Call, Verdict};
use crate::history::Versions;
use crate::instant::Nanos;

/// One book, as its commands left it.
///
/// ```
/// use bellpunch_check::model::state::State;
/// use bellpunch_check::model::{Call, Verdict};
/// use serde_json::json;
///
/// let mut state = State::default();
/// let mut send = |cmd, args| state.apply(&Call { cmd, args: &args, at: 0, drawn: None });
/// for (id, class) in [("bank", "external"), ("a", "bounded")] {
///     send("accounts.create", json!({"id": id, "owner": id, "currency": "SAR", "class": class}));
/// }
/// let money = json!({"amount": 5, "currency": "SAR"});
/// let come = send("accounts.credit", json!({"id": "a", "amount": money, "from": "bank"}));
/// assert!(matches!(come, Verdict::Accepted { .. }));
/// let more = json!({"amount": 6, "currency": "SAR"});
/// let gone = send("accounts.debit", json!({"id": "a", "amount": more, "to": "bank"}));
/// assert!(matches!(gone, Verdict::Rejected { code, .. } if code == "insufficient_funds"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Book {
    ledger: Ledger,
    series: BTreeMap<String, Series>,
    chains: BTreeMap<String, Chain>,
    clients: BTreeMap<String, Client>,
    retainers: BTreeMap<String, Retainer>,
    consumptions: BTreeMap<String, Consumption>,
    invoices: BTreeMap<String, Invoice>,
    notes: BTreeMap<String, Note>,
    payments: BTreeMap<String, Payment>,
    refunds: BTreeMap<String, Return>,
    disputes: BTreeMap<String, Return>,
    /// By age: the older first.
    allocations: BTreeMap<u64, Allocation>,
    /// The age of the last one.
    ages: u64,
    jobs: BTreeMap<String, Job>,
    proposals: BTreeMap<(String, String), Proposal>,
    /// Names of the outside, by kind.
    externals: BTreeMap<(String, String), String>,
    settings: Settings,
    versions: Versions,
    /// How many commands were accepted.
    turns: usize,
    turn: Turn,
}

impl Default for Book {
    /// With the series that every book has, and nothing else.
    fn default() -> Self {
        Self {
            ledger: Ledger::default(),
            series: series::usual(),
            chains: BTreeMap::new(),
            clients: BTreeMap::new(),
            retainers: BTreeMap::new(),
            consumptions: BTreeMap::new(),
            invoices: BTreeMap::new(),
            notes: BTreeMap::new(),
            payments: BTreeMap::new(),
            refunds: BTreeMap::new(),
            disputes: BTreeMap::new(),
            allocations: BTreeMap::new(),
            ages: 0,
            jobs: BTreeMap::new(),
            proposals: BTreeMap::new(),
            externals: BTreeMap::new(),
            settings: Settings::default(),
            versions: Versions::new(),
            turns: 0,
            turn: Turn::default(),
        }
    }
}

impl Book {
    /// Whether a command is this model's.
    pub(crate) fn knows(collection: &str) -> bool {
        matches!(
            collection,
            "accounts"
                | "transfers"
                | "retainers"
                | "invoices"
                | "payments"
                | "refunds"
                | "disputes"
                | "clients"
                | "series"
                | "chains"
                | "jobs"
                | "proposals"
                | "account_holds"
                | "consumptions"
                | "credit_notes"
                | "book"
        )
    }

    /// Judges one command.
    pub(crate) fn apply(&mut self, call: &Call<'_>, currencies: &Currencies) -> Verdict {
        let ask = Ask::of(call, currencies, self.turns);
        let Some(outcome) = self.decide(&ask) else { return Verdict::NotModelled };
        match outcome {
            Ok(shown) => {
                let (reply, writes) = self.told(shown, ask.at);
                Verdict::Accepted { reply: Value::Object(reply), writes }
            }
            Err((code, reply)) => {
                self.turn = Turn::default();
                Verdict::Rejected { code, reply }
            }
        }
    }

    fn decide(&mut self, ask: &Ask<'_>) -> Option<Shown> {
        Some(match ask.cmd {
            "accounts.create" => self.create_account(ask),
            "accounts.credit" | "accounts.debit" => self.credit_or_debit(ask),
            "accounts.hold" => self.hold_money(ask),
            "accounts.capture" => self.capture_money(ask),
            "accounts.void_hold" => self.void_hold(ask),
            "accounts.close" => self.close_account(ask),
            "transfers.create" => self.create_transfer(ask),
            "transfers.reverse" => self.reverse_transfer(ask),
            "book.configure" => self.configure_book(ask),
            "book.read" => Ok(vec![("book", What::Plain(self.show_book()))]),
            "series.define" => self.define_series(ask),
            "series.next" => self.next_number(ask),
            "series.void" => self.void_number(ask),
            "series.advance" => self.advance_series(ask),
            "chains.define" => self.define_chain(ask),
            "chains.seal" => self.seal_chain(ask),
            "clients.create" => self.create_client(ask),
            "clients.update" => self.update_client(ask),
            "retainers.create" => self.create_retainer(ask),
            "retainers.consume" => self.consume_retainer(ask),
            "retainers.replenish" => self.replenish_retainer(ask),
            "retainers.restore" => self.restore_retainer(ask),
            "retainers.refund" => self.refund_retainer(ask),
            "retainers.update" => self.update_retainer(ask),
            "invoices.create" => self.create_invoice(ask),
            "invoices.update" => self.update_invoice(ask),
            "invoices.discard" => self.discard_invoice(ask),
            "invoices.issue" => self.issue_invoice(ask),
            "invoices.send" => self.send_invoice(ask),
            "invoices.void" => self.void_invoice(ask),
            "invoices.write_off" | "invoices.reinstate" => self.write_off_invoice(ask),
            "invoices.credit" => self.credit_invoice(ask),
            "invoices.pay" => self.pay_invoice(ask),
            "payments.create" => self.create_payment(ask),
            "payments.complete" => self.complete_payment(ask),
            "payments.fail" | "payments.cancel" => self.end_payment(ask),
            "payments.apply" => self.apply_payment(ask),
            "payments.unapply" => self.unapply_payment(ask),
            "payments.refund" | "payments.dispute" => self.return_payment(ask),
            "refunds.complete" | "refunds.fail" | "disputes.lose" | "disputes.win" => {
                self.end_return(ask)
            }
            "jobs.create" => self.create_job(ask),
            "jobs.cancel" | "jobs.complete" => self.end_job(ask),
            "proposals.create" => self.create_proposal(ask),
            "proposals.withdraw" | "proposals.accept" | "proposals.reject" => {
                self.end_proposal(ask)
            }
            _ => match ask.cmd.split_once('.') {
                Some((kind, "read")) => self.read(kind, ask)?,
                Some(_) | None => return None,
            },
        })
    }

    /// Ends the turn of an accepted command: events, versions, and then what it shows.
    fn told(
        &mut self,
        shown: Vec<(&'static str, What)>,
        at: Nanos,
    ) -> (Map<String, Value>, super::fields::Writes) {
        self.bring_about(at);
        let Turn { writes, postings, events, .. } = std::mem::take(&mut self.turn);
        for name in &writes {
            let version = self.versions.entry(name.clone()).or_default();
            *version = version.saturating_add(1);
        }
        self.turns = self.turns.saturating_add(1);
        let mut reply: Map<String, Value> =
            shown.into_iter().map(|(name, what)| (name.to_owned(), self.show(&what, at))).collect();
        let is_change = !writes.is_empty();
        let writes = writes.into_iter().filter(|name| Self::states(name)).collect();
        if is_change {
            reply.insert("postings".to_owned(), Value::Array(postings));
            reply.insert("events".to_owned(), Value::Array(events));
        }
        (reply, writes)
    }

    /// What follows from where balances and dues have come to.
    fn bring_about(&mut self, at: Nanos) {
        for (id, was_paid) in std::mem::take(&mut self.turn.invoices) {
            self.invoice_moved((&id, was_paid), at);
        }
        for (id, before) in std::mem::take(&mut self.turn.retainers) {
            self.retainer_moved(&id, before);
        }
    }

    fn event(&mut self, name: &str, mut data: Value) {
        show::add(&mut data, "event", Some(json!(name)));
        self.turn.events.push(data);
    }

    /// Notes that a command writes a record.
    fn writes(&mut self, kind: &str, id: &str) {
        self.turn.writes.insert(record(kind, &[id]));
    }

    fn version(&self, kind: &str, id: &str) -> u64 {
        self.versions.get(&record(kind, &[id])).copied().unwrap_or_default()
    }

    /// A read of a record.
    fn read(&self, kind: &str, ask: &Ask<'_>) -> Option<Shown> {
        let id = match ask.id() {
            Ok(id) => id.to_owned(),
            Err(refusal) => return Some(Err(refusal)),
        };
        let (is_there, name, what): (bool, _, fn(String) -> What) = match kind {
            "accounts" => (self.ledger.accounts.contains_key(&id), "account", What::Account),
            "transfers" => (self.ledger.transfers.contains_key(&id), "transfer", What::Transfer),
            "clients" => (self.clients.contains_key(&id), "client", What::Client),
            "retainers" => (self.retainers.contains_key(&id), "retainer", What::Retainer),
            "invoices" => (self.invoices.contains_key(&id), "invoice", What::Invoice),
            "payments" => (self.payments.contains_key(&id), "payment", What::Payment),
            "refunds" => (self.refunds.contains_key(&id), "refund", What::Refund),
            "disputes" => (self.disputes.contains_key(&id), "dispute", What::Dispute),
            "jobs" => (self.jobs.contains_key(&id), "job", What::Job),
            "account_holds" => (self.ledger.holds.contains_key(&id), "hold", What::Hold),
            "consumptions" => {
                (self.consumptions.contains_key(&id), "consumption", What::Consumption)
            }
            "credit_notes" => (self.notes.contains_key(&id), "credit_note", What::CreditNote),
            _ => return None,
        };
        if is_there {
            return Some(Ok(vec![(name, what(id))]));
        }
        Some(refuse(&format!("{name}_not_found"), json!({ "id": id })))
    }

    /// Whether the model says of a record, `kind/id`, which commands write it.
    #[must_use]
    pub fn states(record: &str) -> bool {
        let kind = record.split_once('/').map_or(record, |(kind, _)| kind);
        !matches!(
            kind,
            "postings"
                | "transfers"
                | "account_holds"
                | "allocations"
                | "external_ids"
                | "payment_refunds"
                | "series"
                | "series_counters"
                | "numbers"
                | "numbered_documents"
                | "chains"
                | "chain_documents"
                | "chained_documents"
                | "book"
                | "journal"
                | "entries"
        )
    }

    /// Whether what must always hold does at `at`; if not, what does not.
    ///
    /// # Errors
    /// With the record, and what is wrong with it.
    pub fn check(&self, at: Nanos) -> Result<(), String> {
        self.ledger.check(at)?;
        self.check_series()?;
        self.check_retainers(at)?;
        self.check_invoices()?;
        self.check_payments()?;
        self.check_once()?;
        self.check_jobs()
    }
}
