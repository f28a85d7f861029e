//! Tickets: one-time rights, one command after the other.
//!
//! Every field of every reply and refusal is stated (as `null` if it must be absent), but for the words for people (`reason` of an
//! `invalid_request`), the `secret` beside the receipt, and unknown fields of a command. Which of
//! several senseless fields is named is stated as far as one command has one.
//!
//! * A list that is refused `already_pending` because of a ticket that it made itself names an id
//!   that nobody was told: it is not stated.
//! * What a ticket holds and moves is asked of the [book](super::money).
//! * Secrets are compared as their hashes (`secret_hash`, `made_secret_hash`). Of a ticket whose
//!   secret the recorder did not see, and of a redeem that shows a plain `secret`, the model says
//!   that it does not know.
//! * The record of a holder's issues for an audience is written by every issue that has a holder,
//!   and by what ends a pending ticket, time apart. Here it is the tickets themselves and the
//!   times of the newest 100 issues.
//!
//! Invariant: a ticket reaches one of `used`, `rejected`, `cancelled` and `expired`, once.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use super::fields::{
    DAY, Refusal, Writes, after, count, digest, duration, field, flag, is_undrawn, needed, object,
    record, refuse, senseless, shown, span, stated, text, undrawn, verdict,
};
use super::money::{Book, Purse};
use super::others::Currencies;
use super::{Call, Verdict};
use crate::instant::Nanos;

const TTL_MAX: Nanos = 3_660 * DAY;
const PENDING_MAX: usize = 100;
const ISSUES_MAX: usize = 100;

/// So many, of a currency or of a unit.
#[derive(Clone, Debug, PartialEq)]
struct Amount {
    count: u64,
    /// `currency` or `unit`.
    kind: &'static str,
    of: String,
}

/// How a ticket came to its end.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Used {
        at: Nanos,
        by: String,
        amount: Amount,
    },
    Rejected {
        at: Nanos,
        by: String,
        reason: Option<String>,
    },
    Cancelled {
        at: Nanos,
        by: String,
        reason: Option<String>,
    },
    /// Written down; it was so before.
    Expired,
}

#[derive(Clone, Debug, PartialEq)]
enum Secret {
    None,
    Hash(String),
    /// Made by the door and never seen by the recorder.
    Unseen,
}

#[derive(Clone, Debug, PartialEq)]
struct Ticket {
    holder: Option<String>,
    audience: String,
    max: Amount,
    partial: bool,
    issued_at: Nanos,
    issued_by: String,
    expires_at: Nanos,
    approved_at: Option<Nanos>,
    end: Option<End>,
    secret: Secret,
    metadata: Option<Value>,
    purse: Option<Purse>,
    version: u64,
}

/// What was issued to one holder for one audience.
#[derive(Clone, Debug, Default, PartialEq)]
struct Issues {
    /// Oldest first; those that are no longer pending go when somebody looks.
    pending: Vec<String>,
    /// Oldest first, the newest [`ISSUES_MAX`].
    times: VecDeque<Nanos>,
}

/// All tickets of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tickets {
    tickets: BTreeMap<String, Ticket>,
    issues: BTreeMap<(String, String), Issues>,
}

/// What came of a command that the model may not be able to judge.
type Outcome = Result<(Value, Writes), Refusal>;

impl Ticket {
    /// What it is at `at`: a stored `pending` or `approved` past its time *is* expired.
    fn status(&self, at: Nanos) -> &'static str {
        match (&self.end, self.approved_at) {
            (Some(End::Used { .. }), _) => "used",
            (Some(End::Rejected { .. }), _) => "rejected",
            (Some(End::Cancelled { .. }), _) => "cancelled",
            (Some(End::Expired), _) => "expired",
            (None, _) if self.expires_at <= at => "expired",
            (None, Some(_)) => "approved",
            (None, None) => "pending",
        }
    }

    /// Whether its holder's answer is waited for at `at`. That it was stored as expired by a clock
    /// that is ahead says nothing of an earlier time.
    fn waits(&self, at: Nanos) -> bool {
        let open = matches!(self.end, None | Some(End::Expired));
        open && self.approved_at.is_none() && at < self.expires_at
    }

    /// The refusal of a ticket that reached its end.
    fn not_over(&self, at: Nanos) -> Result<(), Refusal> {
        match &self.end {
            Some(End::Used { at, by, amount }) => refuse(
                "already_redeemed",
                json!({ "used_at": shown(*at), "used_by": by, "amount_used": amount.show(),
                        "version": self.version }),
            ),
            Some(End::Rejected { at, by, .. }) => {
                refuse("ticket_rejected", json!({ "closed_at": shown(*at), "closed_by": by }))
            }
            Some(End::Cancelled { at, by, .. }) => {
                refuse("ticket_cancelled", json!({ "closed_at": shown(*at), "closed_by": by }))
            }
            Some(End::Expired) | None if self.expires_at <= at => {
                refuse("ticket_expired", json!({ "expires_at": shown(self.expires_at) }))
            }
            Some(End::Expired) | None => Ok(()),
        }
    }

    fn not_approved(&self) -> Result<(), Refusal> {
        self.approved_at
            .map_or(Ok(()), |at| refuse("already_approved", json!({ "approved_at": shown(at) })))
    }

    fn is_involved(&self, by: &str) -> bool {
        self.holder.as_deref() == Some(by) || self.audience == by || self.issued_by == by
    }

    fn show(&self, id: &str, at: Nanos) -> Value {
        let (mut used, mut closed) = ((None, None, None), (None, None, None));
        match &self.end {
            Some(End::Used { at, by, amount }) => {
                used = (Some(shown(*at)), Some(json!(by)), Some(amount.show()));
            }
            Some(End::Rejected { at, by, reason } | End::Cancelled { at, by, reason }) => {
                closed = (Some(shown(*at)), Some(json!(by)), reason.as_ref().map(|why| json!(why)));
            }
            Some(End::Expired) | None if self.expires_at <= at => {
                closed = (Some(shown(self.expires_at)), None, None);
            }
            Some(End::Expired) | None => {}
        }
        stated([
            ("id", Some(json!(id))),
            ("holder", self.holder.as_ref().map(|holder| json!(holder))),
            ("audience", Some(json!(self.audience))),
            ("max_amount", Some(self.max.show())),
            ("partial", Some(json!(self.partial))),
            ("status", Some(json!(self.status(at)))),
            ("issued_at", Some(shown(self.issued_at))),
            ("issued_by", Some(json!(self.issued_by))),
            ("expires_at", Some(shown(self.expires_at))),
            ("approved_at", self.approved_at.map(shown)),
            ("used_at", used.0),
            ("used_by", used.1),
            ("amount_used", used.2),
            ("closed_at", closed.0),
            ("closed_by", closed.1),
            ("reason", closed.2),
            ("metadata", self.metadata.clone()),
            ("version", Some(json!(self.version))),
        ])
    }
}

impl Amount {
    fn show(&self) -> Value {
        let (kind, of) = (self.kind, &self.of);
        json!({ "amount": self.count, kind: of })
    }

    /// Reads `{amount, currency}` or `{amount, unit}`.
    fn read(value: &Value, name: &str) -> Result<Self, Refusal> {
        let count = minor_units(field(value, "amount"), &format!("{name}.amount"))?;
        match (text(value, "currency"), text(value, "unit")) {
            (Some(of), None) => Ok(Self { count, kind: "currency", of: of.to_owned() }),
            (None, Some(of)) => Ok(Self { count, kind: "unit", of: of.to_owned() }),
            (Some(_), Some(_)) | (None, None) => senseless(name),
        }
    }
}

fn minor_units(value: Option<&Value>, name: &str) -> Result<u64, Refusal> {
    let Some(value) = value else { return senseless(name) };
    let wrong = |reason| refuse("invalid_amount", json!({ "field": name, "reason": reason }));
    match count(value) {
        Ok(0) => wrong("zero"),
        Ok(count) => Ok(count),
        Err(reason) => wrong(reason),
    }
}

/// The precondition of a caller, on a record that is there.
fn version_fits(args: &Value, version: u64) -> Result<(), Refusal> {
    let fits = match field(args, "if_version") {
        None => true,
        Some(Value::Array(any)) => any.iter().any(|wanted| wanted.as_u64() == Some(version)),
        Some(Value::String(word)) => word == "*",
        Some(wanted) => wanted.as_u64() == Some(version),
    };
    if fits { Ok(()) } else { refuse("version_mismatch", json!({ "version": version })) }
}

/// A reply that is a ticket, without a secret beside it.
fn shown_alone(ticket: Value) -> Value {
    json!({ "ticket": ticket, "secret_withheld": null })
}

fn index_of(holder: &str, audience: &str) -> String {
    record("ticket_issues", &[holder, audience])
}

impl Tickets {
    /// Judges one command.
    pub(crate) fn apply(
        &mut self,
        call: &Call<'_>,
        (currencies, book): (&Currencies, &mut Book),
    ) -> Verdict {
        if call.cmd == "tickets.redeem" && self.is_unseen(call.args) {
            return Verdict::NotModelled;
        }
        verdict(match call.cmd {
            "tickets.create" => self.create(call, (currencies, book)),
            "tickets.approve" => self.approve(call, book),
            "tickets.reject" | "tickets.cancel" | "tickets.revoke" => self.close(call, book),
            "tickets.redeem" => self.redeem(call, (currencies, book)),
            "tickets.expire" => self.expire(call),
            "tickets.read" => self
                .find(call)
                .map(|(id, ticket)| (shown_alone(ticket.show(id, call.at)), Writes::new())),
            _ => return Verdict::NotModelled,
        })
    }

    /// Whether a redeem rests on a secret that nobody recorded.
    fn is_unseen(&self, args: &Value) -> bool {
        let ticket = text(args, "id").and_then(|id| self.tickets.get(id));
        let shown = field(args, "secret").or_else(|| field(args, "secret_hash")).is_some();
        shown && ticket.is_some_and(|ticket| ticket.secret == Secret::Unseen)
            || field(args, "secret").is_some()
    }

    fn find<'a>(&self, call: &Call<'a>) -> Result<(&'a str, Ticket), Refusal> {
        let id = needed(call.args, "id")?;
        match self.tickets.get(id) {
            Some(ticket) => Ok((id, ticket.clone())),
            None => refuse("ticket_not_found", json!({ "id": id })),
        }
    }

    /// Keeps a ticket that an accepted command changed.
    fn keep(&mut self, id: &str, ticket: Ticket, call: &Call<'_>) -> (Value, Writes) {
        let ticket = Ticket { version: ticket.version.saturating_add(1), ..ticket };
        let mut writes = Writes::from([record("tickets", &[id])]);
        let before = self.tickets.get(id);
        let was_pending = before.is_none_or(|before| before.status(call.at) == "pending");
        if let Some(holder) = ticket.holder.as_ref().filter(|_| was_pending) {
            writes.insert(index_of(holder, &ticket.audience));
        }
        let reply = shown_alone(ticket.show(id, call.at));
        self.tickets.insert(id.to_owned(), ticket);
        (reply, writes)
    }

    fn create(&mut self, call: &Call<'_>, (currencies, book): (&Currencies, &mut Book)) -> Outcome {
        let (args, at) = (call.args, call.at);
        let (holder, audience) = (text(args, "holder"), needed(args, "audience")?);
        let (issued_by, approved) = (needed(args, "issued_by")?, flag(args, "approved"));
        let max = Amount::read(args.get("max_amount").unwrap_or(&Value::Null), "max_amount")?;
        let Some(ttl) = duration(args, "ttl_ns")? else { return senseless("ttl_ns") };
        let secret = secret(args)?;
        if holder.is_none() && !(approved && secret != Secret::None) {
            return senseless("holder");
        }
        let limit = issue_limit(args)?;
        if holder.is_none() && (flag(args, "one_pending") || limit.is_some()) {
            return senseless("holder");
        }
        let purse = purse(args, &max)?;
        currencies.know(max.kind, &max.of)?;
        if let Some(purse) = &purse {
            book.owns_purse(purse, &[holder, Some(issued_by)], audience)?;
        }
        self.may_issue(call, (ttl, limit), (book, purse.as_ref()))?;

        // Past here it succeeds.
        let told = call.drawn.and_then(|reply| reply.get("ticket")?.get("id")?.as_str());
        let id = told.map_or_else(|| undrawn(self.tickets.len()), str::to_owned);
        if self.tickets.contains_key(&id) {
            return refuse("drawn_again", json!({ "id": id }));
        }
        if let Some(holder) = holder {
            let pair = (holder.to_owned(), audience.to_owned());
            let issues = self.issues.entry(pair).or_default();
            issues.times.push_back(at);
            let surplus = issues.times.len().saturating_sub(ISSUES_MAX);
            issues.times.drain(..surplus);
            if !approved {
                issues.pending.push(id.clone());
            }
        }
        let ticket = Ticket {
            holder: holder.map(str::to_owned),
            audience: audience.to_owned(),
            max,
            partial: field(args, "partial").and_then(Value::as_bool).unwrap_or(true),
            issued_at: at,
            issued_by: issued_by.to_owned(),
            expires_at: after(at, ttl),
            approved_at: approved.then_some(at),
            end: None,
            secret,
            metadata: field(args, "metadata").cloned(),
            purse,
            version: 0,
        };
        if let Some(purse) = ticket.purse.as_ref().filter(|_| approved) {
            book.hold_for(&id, purse, ticket.expires_at);
        }
        let accounts = ticket.purse.clone().filter(|_| approved).map(|purse| purse.debit);
        let (mut reply, mut writes) = self.keep(&id, ticket, call);
        if let Some(account) = accounts {
            moved(book.told_of_ticket((&[&account], None), at), (&mut reply, &mut writes));
        }
        if let Some(reply) = reply.as_object_mut().filter(|_| flag(args, "make_secret")) {
            reply.insert("secret_withheld".to_owned(), json!(true));
        }
        Ok((reply, writes))
    }

    /// The refusals of an issue, its shape and its accounts apart.
    fn may_issue(
        &mut self,
        call: &Call<'_>,
        (ttl, limit): (Nanos, Option<(usize, Nanos)>),
        (book, purse): (&Book, Option<&Purse>),
    ) -> Result<(), Refusal> {
        let (args, at) = (call.args, call.at);
        let pair = text(args, "holder").zip(text(args, "audience"));
        let pair = pair.map(|(holder, audience)| (holder.to_owned(), audience.to_owned()));
        let mut none = Issues::default();
        let issues = pair.and_then(|pair| self.issues.get_mut(&pair)).unwrap_or(&mut none);
        let waits = |id: &&String| self.tickets.get(*id).is_some_and(|ticket| ticket.waits(at));
        let pending: Vec<&String> = issues.pending.iter().filter(waits).collect();
        let oldest = pending.first().and_then(|id| Some((*id, self.tickets.get(*id)?)));
        if let Some((id, ticket)) = oldest.filter(|_| flag(args, "one_pending")) {
            let told = (!is_undrawn(id)).then(|| json!(id));
            let until = Some(shown(ticket.expires_at));
            let data = object([("ticket", told), ("expires_at", until)]);
            return refuse("already_pending", data);
        }
        if TTL_MAX < ttl {
            return refuse("ttl_too_long", json!({ "max_ttl_ns": span(0, TTL_MAX) }));
        }
        let approved = flag(args, "approved");
        if let Some(purse) = purse {
            book.fits_purse(purse)?;
            if approved || flag(args, "require_funds") {
                book.funds_purse(purse, at)?;
            }
        }
        if !approved && PENDING_MAX <= pending.len() {
            return refuse("too_many_pending", json!({ "max": PENDING_MAX }));
        }
        // The newest `count` issues still count: it is over when the oldest of them does not.
        if let Some((count, period)) = limit {
            let oldest =
                issues.times.len().checked_sub(count).and_then(|place| issues.times.get(place));
            let retry_at = oldest.map(|issued| after(*issued, period));
            if let Some(retry_at) = retry_at.filter(|retry_at| at < *retry_at) {
                let data =
                    json!({ "retry_at": shown(retry_at), "retry_after_ns": span(at, retry_at) });
                return refuse("issue_limit_exceeded", data);
            }
        }
        purse.filter(|_| approved).map_or(Ok(()), |purse| book.holds_fit(purse, at))
    }

    fn approve(&mut self, call: &Call<'_>, book: &mut Book) -> Outcome {
        let (id, ticket) = self.find(call)?;
        if ticket.holder.as_deref() != Some(needed(call.args, "holder")?) {
            return refuse("wrong_holder", json!({}));
        }
        version_fits(call.args, ticket.version)?;
        ticket.not_over(call.at)?;
        ticket.not_approved()?;
        let Some(purse) = ticket.purse.clone() else {
            return Ok(self.keep(id, Ticket { approved_at: Some(call.at), ..ticket }, call));
        };
        book.is_purse_open(&purse)?;
        book.funds_purse(&purse, call.at)?;
        book.holds_fit(&purse, call.at)?;

        // Past here it succeeds.
        book.hold_for(id, &purse, ticket.expires_at);
        let (mut reply, mut writes) =
            self.keep(id, Ticket { approved_at: Some(call.at), ..ticket }, call);
        let told = book.told_of_ticket((&[&purse.debit], None), call.at);
        moved(told, (&mut reply, &mut writes));
        Ok((reply, writes))
    }

    /// Reject, cancel and revoke: who may, from where, and to what.
    fn close(&mut self, call: &Call<'_>, book: &mut Book) -> Outcome {
        let (args, at) = (call.args, call.at);
        let (id, ticket) = self.find(call)?;
        let by = needed(args, if call.cmd == "tickets.reject" { "holder" } else { "by" })?;
        if call.cmd == "tickets.reject" && ticket.holder.as_deref() != Some(by) {
            return refuse("wrong_holder", json!({}));
        }
        if call.cmd != "tickets.reject" && !ticket.is_involved(by) {
            return refuse("not_allowed", json!({}));
        }
        version_fits(args, ticket.version)?;
        ticket.not_over(at)?;
        if call.cmd != "tickets.revoke" {
            ticket.not_approved()?;
        }
        let (by, reason) = (by.to_owned(), text(args, "reason").map(str::to_owned));
        let end = match call.cmd {
            "tickets.reject" => End::Rejected { at, by, reason },
            _ => End::Cancelled { at, by, reason },
        };
        let purse = ticket.purse.clone().filter(|_| ticket.approved_at.is_some());
        let (mut reply, mut writes) = self.keep(id, Ticket { end: Some(end), ..ticket }, call);
        if let Some(purse) = purse {
            book.void_for(id, at);
            let told = book.told_of_ticket((&[&purse.debit], None), at);
            moved(told, (&mut reply, &mut writes));
        }
        Ok((reply, writes))
    }

    fn redeem(&mut self, call: &Call<'_>, (currencies, book): (&Currencies, &mut Book)) -> Outcome {
        let (args, at) = (call.args, call.at);
        let audience = needed(args, "audience")?;
        // A bare number is of whatever unit the ticket has; of money it says nothing.
        let (count, of) = match field(args, "amount") {
            Some(amount @ Value::Object(_)) => {
                let Amount { count, kind, of } = Amount::read(amount, "amount")?;
                currencies.know(kind, &of)?;
                (count, Some((kind, of)))
            }
            Some(amount) => (minor_units(Some(amount), "amount")?, None),
            None => (1, None),
        };
        let secret = digest(args, "secret_hash")?.map(Secret::Hash);
        let (id, ticket) = self.find(call)?;
        if ticket.audience != audience {
            return refuse("wrong_audience", json!({}));
        }
        if ticket.holder.as_deref() != text(args, "holder") {
            return refuse("wrong_holder", json!({}));
        }
        if ticket.secret != secret.unwrap_or(Secret::None) {
            return refuse("wrong_secret", json!({}));
        }
        version_fits(args, ticket.version)?;
        ticket.not_over(at)?;
        if ticket.approved_at.is_none() {
            return refuse("ticket_not_approved", json!({ "status": ticket.status(at) }));
        }
        if let Some(purse) = &ticket.purse {
            book.is_purse_open(purse)?;
        }
        let fits = match &of {
            Some((kind, of)) => *kind == ticket.max.kind && *of == ticket.max.of,
            None => ticket.max.kind == "unit",
        };
        if !fits {
            let got = of.map_or_else(|| "units".to_owned(), |(_, of)| of);
            return refuse("currency_mismatch", json!({ "expected": ticket.max.of, "got": got }));
        }
        if ticket.max.count < count {
            return refuse("amount_exceeds_ticket", json!({ "max_amount": ticket.max.show() }));
        }
        if !ticket.partial && count != ticket.max.count {
            return refuse("amount_not_exact", json!({ "max_amount": ticket.max.show() }));
        }
        if let Some(purse) = &ticket.purse {
            book.bears_purse(purse, count)?;
        }

        // Past here it succeeds.
        let by = text(args, "by").unwrap_or(audience).to_owned();
        let amount = Amount { count, ..ticket.max.clone() };
        let purse = ticket.purse.clone();
        let end = Some(End::Used { at, by, amount });
        let (mut reply, mut writes) = self.keep(id, Ticket { end, ..ticket }, call);
        if let Some(purse) = purse {
            let drawn = call.drawn.and_then(|reply| reply.pointer("/transfer/id")?.as_str());
            let drawn = drawn.map_or_else(|| undrawn(self.tickets.len()), str::to_owned);
            book.capture_for((id, &purse), count, (&drawn, at));
            let accounts = [purse.debit.as_str(), purse.credit.as_str()];
            let told = book.told_of_ticket((&accounts, Some(&drawn)), at);
            moved(told, (&mut reply, &mut writes));
        }
        Ok((reply, writes))
    }

    fn expire(&mut self, call: &Call<'_>) -> Outcome {
        let ids: Vec<&str> = match field(call.args, "ids").and_then(Value::as_array) {
            Some(ids) => ids.iter().filter_map(Value::as_str).collect(),
            None => return senseless("ids"),
        };
        if ids.is_empty() || 100 < ids.len() {
            return senseless("ids");
        }
        let (mut expired, mut skipped) = (Vec::new(), Vec::new());
        for (place, id) in ids.iter().enumerate() {
            // Named twice is named once.
            if ids.iter().take(place).any(|earlier| earlier == id) {
                continue;
            }
            match self.tickets.get(*id) {
                None => skipped.push(json!({ "id": id })),
                Some(ticket) if ticket.end.is_none() && ticket.expires_at <= call.at => {
                    expired.push(*id);
                }
                Some(ticket) => {
                    skipped.push(json!({ "id": id, "status": ticket.status(call.at) }));
                }
            }
        }
        if expired.is_empty() {
            return refuse("nothing_to_expire", json!({}));
        }
        let mut writes = Writes::new();
        for id in &expired {
            if let Some(ticket) = self.tickets.get(*id).cloned() {
                let ticket = Ticket { end: Some(End::Expired), ..ticket };
                writes.extend(self.keep(id, ticket, call).1);
            }
        }
        Ok((json!({ "expired": expired, "skipped": skipped }), writes))
    }

    /// What is held for tickets is for those that may still be redeemed, all of each.
    pub(crate) fn check_holds(&self, book: &Book, at: Nanos) -> Result<(), String> {
        for (id, ticket) in &self.tickets {
            let Some(purse) = &ticket.purse else { continue };
            let lives = ticket.status(at) == "approved";
            let expected = if lives { i128::from(purse.amount) } else { 0 };
            let held = book.held_for(id, at);
            if held != expected {
                return Err(format!("V9: ticket {id}: {held} is held, and not {expected}"));
            }
        }
        Ok(())
    }

    /// What holds of every ticket at `at`, whatever happened.
    pub(crate) fn check(&self, at: Nanos) -> Result<(), String> {
        for (id, ticket) in &self.tickets {
            let broken = |what: &str| Err(format!("ticket {id}: {what}"));
            if ticket.expires_at <= ticket.issued_at {
                return broken("expires before it is issued");
            }
            if at < ticket.issued_at {
                return broken("was issued in the future");
            }
            if ticket.approved_at.is_some_and(|at| ticket.expires_at <= at) {
                return broken("was approved after its end");
            }
            if ticket.holder.is_none() && ticket.secret == Secret::None {
                return broken("is nobody's and has no secret");
            }
            match &ticket.end {
                Some(End::Used { at: used_at, amount, .. }) => {
                    let approved = ticket.approved_at.is_some_and(|at| at <= *used_at);
                    if !approved || ticket.expires_at <= *used_at || at < *used_at {
                        return broken("was used outside of its time");
                    }
                    let is_whole = amount.count == ticket.max.count;
                    if ticket.max.count < amount.count || !(ticket.partial || is_whole) {
                        return broken("was used for what it is not good for");
                    }
                }
                Some(
                    End::Rejected { at: closed_at, .. } | End::Cancelled { at: closed_at, .. },
                ) => {
                    if ticket.expires_at <= *closed_at || at < *closed_at {
                        return broken("was closed outside of its time");
                    }
                }
                Some(End::Expired) if at < ticket.expires_at => {
                    return broken("was stored as expired before its time");
                }
                Some(End::Expired) | None => {}
            }
        }
        Ok(())
    }
}

/// Adds what is told of the money that moved.
fn moved((told, wrote): (Map<String, Value>, Writes), (reply, writes): (&mut Value, &mut Writes)) {
    if let Some(reply) = reply.as_object_mut() {
        reply.extend(told);
    }
    writes.extend(wrote);
}

/// The accounts that a ticket names.
fn purse(args: &Value, max: &Amount) -> Result<Option<Purse>, Refusal> {
    match (text(args, "debit_account"), text(args, "credit_account")) {
        (None, None) if flag(args, "require_funds") => senseless("require_funds"),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => senseless("credit_account"),
        (Some(debit), Some(credit)) => Ok(Some(Purse {
            debit: debit.to_owned(),
            credit: credit.to_owned(),
            amount: max.count,
            currency: max.of.clone(),
        })),
    }
}

fn secret(args: &Value) -> Result<Secret, Refusal> {
    let made = digest(args, "made_secret_hash")?;
    match (digest(args, "secret_hash")?, flag(args, "make_secret")) {
        (Some(_), true) => senseless("make_secret"),
        (_, false) if made.is_some() => senseless("make_secret"),
        (given, false) => Ok(given.map_or(Secret::None, Secret::Hash)),
        (None, true) => Ok(made.map_or(Secret::Unseen, Secret::Hash)),
    }
}

fn issue_limit(args: &Value) -> Result<Option<(usize, Nanos)>, Refusal> {
    let Some(limit) = field(args, "issue_limit") else { return Ok(None) };
    let count = field(limit, "count").and_then(Value::as_u64).unwrap_or_default();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if !(1..=ISSUES_MAX).contains(&count) {
        return senseless("issue_limit.count");
    }
    match duration(limit, "period_ns")? {
        Some(period) if period <= TTL_MAX => Ok(Some((count, period))),
        Some(_) | None => senseless("issue_limit.period_ns"),
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_arguments,
    reason = "a test that panics has failed"
)]
mod tests;
