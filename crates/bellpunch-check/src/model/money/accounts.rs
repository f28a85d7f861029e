//! `accounts.*` and `transfers.*`: what callers move themselves.

use serde_json::{Value, json};

use super::Book;
use super::ledger::{Account, End, Hold, Line, Transfer, is_reserved};
use super::show::known;
use super::value::{Ask, Money, Shown, What, number};
use crate::model::fields::{
    DAY, Refusal, after, duration, field, needed, object, record, refuse, senseless, span, text,
};

const LINES_MAX: usize = 40;
pub(super) const HOLDS_MAX: usize = 1_024;
const HOLD_MAX: i128 = 3_660 * DAY;

/// A line as it is asked for.
struct Asked {
    account: String,
    money: Money,
    is_debit: bool,
}

impl Asked {
    fn change(&self) -> i128 {
        if self.is_debit { self.money.minor.saturating_neg() } else { self.money.minor }
    }
}

impl Book {
    pub(super) fn create_account(&mut self, ask: &Ask<'_>) -> Shown {
        let (owner, currency) = (needed(ask.args, "owner")?, needed(ask.args, "currency")?);
        let external = match text(ask.args, "class") {
            None | Some("bounded") => false,
            Some("external") => true,
            Some(_) => return senseless("class"),
        };
        ask.currencies.know("currency", currency)?;
        let id = ask.given_or_drawn("/account/id");
        if self.ledger.accounts.contains_key(&id) {
            return refuse("account_exists", json!({ "id": id }));
        }
        if is_reserved(&id) {
            return refuse("reserved_account", json!({}));
        }
        let (owner, currency) = (owner.to_owned(), currency.to_owned());
        let account = Account { owner, currency, external, open: true };
        self.ledger.accounts.insert(id.clone(), account);
        self.writes("accounts", &id);
        Ok(vec![("account", What::Account(id))])
    }

    pub(super) fn create_transfer(&mut self, ask: &Ask<'_>) -> Shown {
        let Some(lines) = field(ask.args, "lines").and_then(Value::as_array) else {
            return senseless("lines");
        };
        if lines.is_empty() || LINES_MAX < lines.len() {
            return senseless("lines");
        }
        let mut all = Vec::new();
        for one in lines {
            let of = ask.with(one);
            let is_debit = match text(one, "side") {
                Some("debit") => true,
                Some("credit") => false,
                Some(_) | None => return senseless("lines"),
            };
            let account = needed(one, "account")?.to_owned();
            all.push(Asked { account, money: of.money("amount")?, is_debit });
        }
        self.transfer(ask, all)
    }

    /// `accounts.credit` and `accounts.debit`: a transfer of two lines, its own account first.
    pub(super) fn credit_or_debit(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.money("amount")?);
        let is_credit = ask.cmd == "accounts.credit";
        let other = needed(ask.args, if is_credit { "from" } else { "to" })?.to_owned();
        let own = Asked { account: id, money: money.clone(), is_debit: !is_credit };
        let other = Asked { account: other, money, is_debit: is_credit };
        self.transfer(ask, vec![own, other])
    }

    fn transfer(&mut self, ask: &Ask<'_>, asked: Vec<Asked>) -> Shown {
        balanced(&asked)?;
        for line in &asked {
            if !is_reserved(&line.account) {
                self.account(&line.account)?;
            }
        }
        let series = text(ask.args, "series");
        if let Some(series) = series {
            self.series_is(series)?;
        }
        for line in &asked {
            not_reserved(&line.account)?;
        }
        if ask.cmd != "transfers.create" {
            ask.fits(self.version("accounts", ask.id()?))?;
        }
        for line in &asked {
            self.is_account_open(&line.account)?;
        }
        for line in &asked {
            line.money.is_in(&self.account(&line.account)?.currency)?;
            if let Some(first) = asked.first() {
                line.money.is_in(&first.money.currency)?;
            }
        }
        let lines: Vec<Line> = asked
            .iter()
            .map(|line| Line {
                place: self.ledger.place(&line.account),
                change: line.change(),
                about: None,
            })
            .collect();
        self.ledger.covers(&lines, ask.at)?;
        self.ledger.bears(&lines)?;
        let id = ask.drawn("/transfer/id");
        let number = match series {
            Some(series) => Some(self.take_number((series, None), &id, ask)?),
            None => None,
        };

        // Past here it succeeds.
        let about = text(ask.args, "ref").map(str::to_owned);
        let names = lines.iter().map(|line| line.place.0.clone()).collect();
        let at = ask.at;
        let transfer = Transfer { lines, about, number, at, reverses: None, reversed: None };
        self.ledger.post((&id, transfer), &mut self.turn);
        Ok(vec![("transfer", What::Transfer(id)), ("accounts", accounts(names))])
    }

    pub(super) fn reverse_transfer(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        let Some(old) = self.ledger.transfers.get(&id).cloned() else {
            return refuse("transfer_not_found", json!({ "id": id }));
        };
        for line in &old.lines {
            not_reserved(&line.place.0)?;
        }
        ask.fits(self.version("transfers", &id))?;
        if let Some((by, at)) = &old.reversed {
            let at = Some(crate::model::fields::shown(*at));
            return refuse("already_reversed", object([("by", known(by)), ("at", at)]));
        }
        for line in &old.lines {
            self.is_account_open(&line.place.0)?;
        }
        let mirror = |line: &Line| Line { change: line.change.saturating_neg(), ..line.clone() };
        let lines: Vec<Line> = old.lines.iter().map(mirror).collect();
        self.ledger.covers(&lines, ask.at)?;
        self.ledger.bears(&lines)?;

        // Past here it succeeds.
        let (by, at) = (ask.drawn("/transfer/id"), ask.at);
        if let Some(old) = self.ledger.transfers.get_mut(&id) {
            old.reversed = Some((by.clone(), at));
        }
        self.writes("transfers", &id);
        let names = lines.iter().map(|line| line.place.0.clone()).collect();
        let (reverses, about) = (Some(id), old.about);
        let transfer = Transfer { lines, about, number: None, at, reverses, reversed: None };
        self.ledger.post((&by, transfer), &mut self.turn);
        Ok(vec![("transfer", What::Transfer(by)), ("accounts", accounts(names))])
    }

    pub(super) fn hold_money(&mut self, ask: &Ask<'_>) -> Shown {
        let (id, money) = (ask.id()?.to_owned(), ask.money("amount")?);
        let Some(ttl) = duration(ask.args, "ttl_ns")? else { return senseless("ttl_ns") };
        if !is_reserved(&id) {
            self.account(&id)?;
        }
        not_reserved(&id)?;
        ask.fits(self.version("accounts", &id))?;
        self.is_account_open(&id)?;
        if HOLD_MAX < ttl {
            return refuse("ttl_too_long", json!({ "max_ttl_ns": span(0, HOLD_MAX) }));
        }
        money.is_in(&self.account(&id)?.currency)?;
        self.may_hold(&id, money.minor, ask)?;

        // Past here it succeeds.
        let hold = Hold {
            account: id.clone(),
            amount: money.minor,
            expires_at: after(ask.at, ttl),
            end: None,
            about: text(ask.args, "ref").map(str::to_owned),
            ticket: None,
        };
        let name = ask.drawn("/hold/id");
        self.keep_hold(&name, hold);
        Ok(vec![("hold", What::Hold(name)), ("account", What::Account(id))])
    }

    /// Refuses a hold of more than is available, or of one too many.
    pub(super) fn may_hold(&self, id: &str, amount: i128, ask: &Ask<'_>) -> Result<(), Refusal> {
        self.ledger.has(&self.ledger.place(id), amount, ask.at)?;
        if HOLDS_MAX <= self.ledger.live_holds(id, ask.at) {
            return refuse("too_many_holds", json!({ "max": HOLDS_MAX }));
        }
        Ok(())
    }

    /// Keeps a hold that is made or ends.
    pub(super) fn keep_hold(&mut self, name: &str, hold: Hold) {
        self.writes("accounts", &hold.account);
        self.writes("account_holds", name);
        self.ledger.holds.insert(name.to_owned(), hold);
    }

    fn hold(&self, ask: &Ask<'_>) -> Result<(String, Hold), Refusal> {
        let name = needed(ask.args, "hold")?;
        match self.ledger.holds.get(name) {
            Some(hold) => Ok((name.to_owned(), hold.clone())),
            None => refuse("hold_not_found", json!({ "id": name })),
        }
    }

    pub(super) fn capture_money(&mut self, ask: &Ask<'_>) -> Shown {
        let (money, to) = (ask.money("amount")?, needed(ask.args, "to")?.to_owned());
        let (name, hold) = self.hold(ask)?;
        if !is_reserved(&to) {
            self.account(&to)?;
        }
        not_reserved(&to)?;
        of_no_ticket(&hold)?;
        ask.fits(self.version("account_holds", &name))?;
        hold.is_waiting()?;
        self.is_account_open(&hold.account)?;
        self.is_account_open(&to)?;
        hold.is_in_time(ask.at)?;
        let from = self.ledger.place(&hold.account);
        money.is_in(&from.1)?;
        let into = self.ledger.place(&to);
        Money { minor: 0, currency: into.1.clone() }.is_in(&from.1)?;
        if hold.amount < money.minor {
            return refuse("exceeds_hold", json!({ "amount": number(hold.amount) }));
        }
        let lines = moved((from.0, into.0), &money);
        self.ledger.bears(&lines)?;

        // Past here it succeeds.
        let (id, at) = (ask.drawn("/transfer/id"), ask.at);
        let names = vec![hold.account.clone(), to];
        let about = hold.about.clone();
        self.keep_hold(&name, Hold { end: Some(End::Captured(at)), ..hold });
        let transfer = Transfer { lines, about, number: None, at, reverses: None, reversed: None };
        self.ledger.post((&id, transfer), &mut self.turn);
        Ok(vec![
            ("hold", What::Hold(name)),
            ("transfer", What::Transfer(id)),
            ("accounts", accounts(names)),
        ])
    }

    pub(super) fn void_hold(&mut self, ask: &Ask<'_>) -> Shown {
        let (name, hold) = self.hold(ask)?;
        of_no_ticket(&hold)?;
        ask.fits(self.version("account_holds", &name))?;
        hold.is_waiting()?;
        hold.is_in_time(ask.at)?;

        // Past here it succeeds.
        let account = hold.account.clone();
        self.keep_hold(&name, Hold { end: Some(End::Voided(ask.at)), ..hold });
        Ok(vec![("hold", What::Hold(name)), ("account", What::Account(account))])
    }

    pub(super) fn close_account(&mut self, ask: &Ask<'_>) -> Shown {
        let id = ask.id()?.to_owned();
        if !is_reserved(&id) {
            self.account(&id)?;
        }
        not_reserved(&id)?;
        ask.fits(self.version("accounts", &id))?;
        self.is_account_open(&id)?;
        let place = self.ledger.place(&id);
        let (posted, held) = (self.ledger.posted(&place), self.ledger.held(&place, ask.at));
        if (posted, held) != (0, 0) {
            let of = |minor| number(minor);
            let data = json!({ "posted": of(posted), "held": of(held) });
            return refuse("account_not_empty", data);
        }

        // Past here it succeeds.
        if let Some(account) = self.ledger.accounts.get_mut(&id) {
            account.open = false;
        }
        self.turn.writes.insert(record("accounts", &[&id]));
        Ok(vec![("account", What::Account(id))])
    }

    /// An account that a caller made.
    pub(super) fn account(&self, id: &str) -> Result<&Account, Refusal> {
        let account = self.ledger.accounts.get(id);
        account.map_or_else(|| refuse("account_not_found", json!({ "id": id })), Ok)
    }

    pub(super) fn is_account_open(&self, id: &str) -> Result<(), Refusal> {
        if self.account(id)?.open {
            return Ok(());
        }
        refuse("account_closed", json!({ "account": id }))
    }
}

/// The two lines of a capture, from one account to another.
pub(super) fn moved((from, to): (String, String), money: &Money) -> Vec<Line> {
    let place = |id: String| (id, money.currency.clone());
    let debit = Line { place: place(from), change: money.minor.saturating_neg(), about: None };
    vec![debit, Line { place: place(to), change: money.minor, about: None }]
}

fn accounts(names: Vec<String>) -> What {
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    What::All(once.into_iter().map(What::Account).collect())
}

fn not_reserved(id: &str) -> Result<(), Refusal> {
    if is_reserved(id) { refuse("reserved_account", json!({})) } else { Ok(()) }
}

fn of_no_ticket(hold: &Hold) -> Result<(), Refusal> {
    match &hold.ticket {
        Some(ticket) => refuse("reserved_hold", json!({ "ticket": ticket })),
        None => Ok(()),
    }
}

/// Refuses lines whose debits are not their credits.
fn balanced(lines: &[Asked]) -> Result<(), Refusal> {
    for line in lines {
        let currency = &line.money.currency;
        let of = |is_debit| {
            let same = lines.iter().filter(|line| line.money.currency == *currency);
            same.filter(|line| line.is_debit == is_debit).map(|line| line.money.minor).sum::<i128>()
        };
        let (debits, credits) = (of(true), of(false));
        if debits != credits {
            let data = json!({ "currency": currency, "debits": number(debits),
                               "credits": number(credits) });
            return refuse("unbalanced", data);
        }
    }
    Ok(())
}
