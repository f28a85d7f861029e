//! Records of a book as replies show them.
//!
//! Invariant: what is worked out (balances, what is due, statuses) is worked out here at the time
//! of the reply, from the same book that decides.

use serde_json::{Value, json};

use super::Book;
use super::ledger::End;
use super::payments::{Payment, Status};
use super::refunds::Return;
use super::series::told;
use super::value::{What, number};
use crate::instant::Nanos;
use crate::model::fields::{is_undrawn, shown, stated};

impl Book {
    pub(super) fn show(&self, what: &What, at: Nanos) -> Value {
        match what {
            What::Account(id) => self.show_account(id, at),
            What::Hold(id) => self.show_hold(id, at),
            What::Transfer(id) => self.show_transfer(id),
            What::Client(id) => self.show_client(id),
            What::Retainer(id) => self.show_retainer(id, at),
            What::Consumption(id) => self.show_consumption(id),
            What::Invoice(id) => self.show_invoice(id, at),
            What::CreditNote(id) => self.show_note(id),
            What::Payment(id) => self.show_payment(id, at),
            What::Refund(id) => self.show_return(id, self.refunds.get(id)),
            What::Dispute(id) => self.show_return(id, self.disputes.get(id)),
            What::Job(id) => self.show_job(id),
            What::Proposal(job, proposer) => self.show_proposal(job, proposer),
            What::Plain(value) => value.clone(),
            What::All(all) => all.iter().map(|what| self.show(what, at)).collect(),
        }
    }

    fn show_account(&self, id: &str, at: Nanos) -> Value {
        let Some(account) = self.ledger.accounts.get(id) else { return Value::Null };
        let place = self.ledger.place(id);
        json!({
            "id": id, "owner": account.owner, "currency": account.currency,
            "class": if account.external { "external" } else { "bounded" },
            "posted": number(self.ledger.posted(&place)),
            "held": number(self.ledger.held(&place, at)),
            "available": number(self.ledger.available(&place, at)),
            "status": if account.open { "open" } else { "closed" },
            "version": self.version("accounts", id),
        })
    }

    fn show_hold(&self, id: &str, at: Nanos) -> Value {
        let Some(hold) = self.ledger.holds.get(id) else { return Value::Null };
        let status = match hold.end {
            None if hold.expires_at <= at => "expired",
            None => "open",
            Some(End::Captured(_)) => "captured",
            Some(End::Voided(_)) => "voided",
        };
        let mut told = stated([
            ("account", Some(json!(hold.account))),
            ("amount", Some(number(hold.amount))),
            ("expires_at", Some(shown(hold.expires_at))),
            ("status", Some(json!(status))),
            ("ref", hold.about.as_ref().map(|about| json!(about))),
        ]);
        add(&mut told, "id", known(id));
        told
    }

    fn show_transfer(&self, id: &str) -> Value {
        let Some(transfer) = self.ledger.transfers.get(id) else { return Value::Null };
        let lines = transfer.lines.iter().map(|line| {
            json!({
                "account": line.place.0,
                "side": if line.change < 0 { "debit" } else { "credit" },
                "amount": number(line.change.saturating_abs()),
            })
        });
        let mut told_of = json!({ "lines": lines.collect::<Vec<_>>() });
        add(&mut told_of, "ref", Some(json!(transfer.about)));
        add(&mut told_of, "number", transfer.number.as_deref().and_then(told));
        add(&mut told_of, "id", known(id));
        told_of
    }

    fn show_retainer(&self, id: &str, at: Nanos) -> Value {
        let Some(retainer) = self.retainers.get(id) else { return Value::Null };
        let of = |minor| number(minor);
        let balance = self.balance(id);
        let status = if retainer.refunded_at.is_some() {
            "refunded"
        } else if retainer.is_expired(at) {
            "expired"
        } else if balance == 0 {
            "depleted"
        } else {
            "active"
        };
        let mut told_of = stated([
            ("id", Some(json!(id))),
            ("client", Some(json!(retainer.client))),
            ("type", Some(json!(retainer.kind))),
            ("currency", Some(json!(retainer.currency))),
            ("balance", Some(of(balance))),
            ("available", Some(of(self.left(id, at)))),
            ("minimum_balance", Some(of(retainer.minimum))),
            ("alert_armed", Some(json!(retainer.armed))),
            ("top_up", retainer.top_up.clone()),
            ("starts_at", retainer.starts_at.map(shown)),
            ("ends_at", retainer.ends_at.map(shown)),
            ("status", Some(json!(status))),
            ("metadata", retainer.metadata.clone()),
            ("version", Some(json!(self.version("retainers", id)))),
        ]);
        add(&mut told_of, "number", told(&retainer.number));
        told_of
    }

    fn show_consumption(&self, id: &str) -> Value {
        let Some(one) = self.consumptions.get(id) else { return Value::Null };
        let mut told_of = stated([
            ("retainer", Some(json!(one.retainer))),
            ("invoice", one.invoice.as_ref().map(|id| json!(id))),
            ("amount", Some(number(one.amount))),
            ("restored", Some(number(one.restored))),
            ("description", one.description.as_ref().map(|text| json!(text))),
        ]);
        add(&mut told_of, "id", known(id));
        told_of
    }

    fn show_invoice(&self, id: &str, at: Nanos) -> Value {
        let Some(invoice) = self.invoices.get(id) else { return Value::Null };
        let due = invoice.due();
        let overdue = 0 < due && invoice.due_at.is_some_and(|due_at| due_at <= at);
        let mut told_of = stated([
            ("id", Some(json!(id))),
            ("client", Some(json!(invoice.client))),
            ("currency", Some(json!(invoice.currency))),
            ("net", Some(invoice.show(invoice.totals.net))),
            ("vat", Some(invoice.show(invoice.totals.vat))),
            ("total", Some(invoice.show(invoice.totals.total()))),
            ("amount_paid", Some(invoice.show(invoice.amount_paid))),
            ("credited", Some(invoice.show(invoice.credited))),
            ("written_off", Some(invoice.show(invoice.written_off))),
            ("status", Some(json!(invoice.status()))),
            ("overdue", Some(json!(overdue))),
            ("due_on", Some(json!(invoice.due_on))),
            ("version", Some(json!(self.version("invoices", id)))),
        ]);
        if invoice.stage == super::invoices::Stage::Issued {
            add(&mut told_of, "balance_due", Some(invoice.show(due)));
        }
        if invoice.issued_at.is_some() {
            let issued = stated([
                ("issue_date", invoice.issue_date.as_ref().map(|on| json!(on))),
                ("issued_at", invoice.issued_at.map(shown)),
                ("sent_at", invoice.sent_at.map(shown)),
                ("due_at", invoice.due_at.map(shown)),
                ("paid_at", invoice.paid_at.map(shown)),
            ]);
            merge(&mut told_of, issued);
        }
        add(&mut told_of, "number", invoice.number.as_deref().and_then(told));
        if let Some(link) = &invoice.link {
            let mut chain = json!({ "counter": link.counter });
            add(&mut chain, "prev_hash", link.previous.as_ref().map(|hash| json!(hash)));
            add(&mut told_of, "chain", Some(chain));
        }
        told_of
    }

    fn show_note(&self, id: &str) -> Value {
        let Some(note) = self.notes.get(id) else { return Value::Null };
        let Some(invoice) = self.invoices.get(&note.invoice) else { return Value::Null };
        let total = note.net.saturating_add(note.vat);
        let mut told_of = json!({
            "invoice": note.invoice, "net": invoice.show(note.net), "vat": invoice.show(note.vat),
            "total": invoice.show(total),
        });
        add(&mut told_of, "number", told(&note.number));
        told_of
    }

    fn show_payment(&self, id: &str, at: Nanos) -> Value {
        let Some(payment) = self.payments.get(id) else { return Value::Null };
        let of = |is_invoice: bool| {
            let mine = self.allocations_of(id);
            let of = mine.filter(|one| {
                matches!(one.target, super::budget::Target::Invoice(_)) == is_invoice
            });
            payment.show(of.map(|one| one.amount).sum())
        };
        let free = self.free_parts(id, (at, None));
        let refundable: i128 = free.iter().map(|part| part.amount).sum();
        let mut told_of = stated([
            ("client", Some(json!(payment.client))),
            ("amount", Some(payment.show(payment.amount))),
            ("method", Some(json!(payment.method))),
            ("external_id", payment.external_id.as_ref().map(|id| json!(id))),
            ("status", Some(json!(payment.status.name()))),
            ("allocated", Some(of(true))),
            ("retained", Some(of(false))),
            ("unapplied", Some(payment.show(payment.unapplied))),
            ("refunded", Some(payment.show(payment.refunded))),
            ("lost", Some(payment.show(payment.lost))),
            ("held", Some(payment.show(payment.pending))),
            ("refundable", Some(payment.show(refundable))),
            ("refund_status", Some(json!(refund_status(payment)))),
            ("completed_at", (payment.status == Status::Completed).then(|| shown(payment.at))),
            ("version", Some(json!(self.version("payments", id)))),
        ]);
        add(&mut told_of, "number", told(&payment.number));
        add(&mut told_of, "id", known(id));
        told_of
    }

    fn show_return(&self, id: &str, refund: Option<&Return>) -> Value {
        let Some(refund) = refund else { return Value::Null };
        let is_dispute = self.disputes.contains_key(id);
        let status =
            if is_dispute { refund.status.of_dispute() } else { refund.status.of_refund() };
        let mut told_of = stated([
            ("payment", refund.payment.as_ref().map(|id| json!(id))),
            ("amount", Some(number(refund.amount))),
            ("status", Some(json!(status))),
            ("external_id", refund.external_id.as_ref().map(|id| json!(id))),
            ("reason", refund.reason.as_ref().map(|text| json!(text))),
        ]);
        match &refund.retainer {
            Some(retainer) => add(&mut told_of, "retainer", Some(json!(retainer))),
            None => add(&mut told_of, "sources", Some(Self::show_parts(refund))),
        }
        add(&mut told_of, "number", refund.number.as_deref().and_then(told));
        add(&mut told_of, "id", known(id));
        told_of
    }
}

/// Adds a field, if it is known.
pub(super) fn add(shown: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(fields), Some(value)) = (shown.as_object_mut(), value) {
        fields.insert(name.to_owned(), value);
    }
}

/// An id, unless nobody was told.
pub(super) fn known(id: &str) -> Option<Value> {
    (!is_undrawn(id)).then(|| json!(id))
}

const fn refund_status(payment: &Payment) -> &'static str {
    match payment.refunded.saturating_add(payment.lost) {
        0 => "none",
        back if back == payment.amount => "full",
        _ => "partial",
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
