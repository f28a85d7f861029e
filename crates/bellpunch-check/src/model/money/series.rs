//! `series.*` and `chains.*`: numbers of documents, and the order they are bound in.
//!
//! Invariant: a gapless counter has given every value from its start to its last, each to one
//! document, whatever became of that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::Book;
use super::show::known;
use super::template::Template;
use super::value::{Ask, Shown, What, plain};
use crate::instant::Nanos;
use crate::model::fields::{
    Refusal, field, flag, is_undrawn, needed, object, record, refuse, senseless, shown, text,
};

/// What a series promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    Gapless,
    Unique,
    Opaque,
}

/// A series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Whether the book defined it itself.
    own: bool,
    template: Template,
    class: Class,
    zone: TimeZone,
    scoped: bool,
    start: u64,
    refuses: bool,
    chain: Option<String>,
    /// By scope and period.
    counters: BTreeMap<(String, String), Counter>,
    /// Which number a document of a caller's own has.
    documents: BTreeMap<(String, String), String>,
    /// What became of each number, by scope and text.
    numbers: BTreeMap<(String, String), Number>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Counter {
    /// The last value that was given or imported.
    last: Option<u64>,
    /// Values that were given here, with their dates, in order.
    given: Vec<(u64, Date)>,
    /// The last value that was imported.
    imported: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Number {
    document: String,
    /// Of a document that is kept elsewhere.
    foreign: bool,
    void_at: Option<Nanos>,
}

/// A chain of documents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    genesis: String,
    /// The engine seals; what it hashes is not told.
    auto: bool,
    /// In order: the document, and its hash once it is sealed.
    links: Vec<(String, Option<String>)>,
}

/// The place of a document in a chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) counter: usize,
    /// Not stated where the engine hashes.
    pub(super) previous: Option<String>,
}

/// The series that every book has until it defines its own of that name.
pub(super) fn usual() -> BTreeMap<String, Series> {
    let all = [
        ("PAY", "PAY-{YYYY}-{N:4}"),
        ("RET", "RET-{YYYY}-{N:4}"),
        ("CLT", "CLT-{YYYY}-{N:4}"),
        ("INV", "INV-{YYYY}{MM}-{N:4}"),
        ("CRN", "CRN-{YYYY}{MM}-{N:4}"),
        ("RFD", "RFD-{YYYY}{MM}-{N:4}"),
        ("TXN", "TXN-{YYYY}{MM}-{N:5}"),
    ];
    let made = all.into_iter().filter_map(|(name, template)| {
        let series = Series {
            own: false,
            template: Template::read(template)?,
            class: if name == "TXN" { Class::Unique } else { Class::Gapless },
            zone: TimeZone::UTC,
            scoped: name == "CLT",
            start: 1,
            refuses: false,
            chain: None,
            counters: BTreeMap::new(),
            documents: BTreeMap::new(),
            numbers: BTreeMap::new(),
        };
        Some((name.to_owned(), series))
    });
    made.collect()
}

/// A zone by its name or its offset.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let offset = || {
        let sign = if name.starts_with('-') { -1 } else { 1 };
        let (hours, minutes) = name.strip_prefix(['+', '-'])?.split_once(':')?;
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        let seconds = hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?;
        Offset::from_seconds(seconds.checked_mul(sign)?).ok().map(TimeZone::fixed)
    };
    offset().or_else(|| TimeZone::get(name).ok())
}

fn date_in(zone: &TimeZone, at: Nanos) -> Date {
    let at = Timestamp::from_nanosecond(at).expect("an instant before 9999");
    zone.to_datetime(at).date()
}

impl Book {
    pub(super) fn define_series(&mut self, ask: &Ask<'_>) -> Shown {
        let name = needed(ask.args, "name")?.to_owned();
        let Some(template) = Template::read(needed(ask.args, "template")?) else {
            return refuse("invalid_template", json!({}));
        };
        let class = match needed(ask.args, "class")? {
            "gapless" => Class::Gapless,
            "unique" => Class::Unique,
            "opaque" => Class::Opaque,
            _ => return senseless("class"),
        };
        if (class == Class::Opaque) == template.width().is_some() {
            return refuse("invalid_template", json!({}));
        }
        let Some(zone) = zone(text(ask.args, "zone").unwrap_or("UTC")) else {
            return refuse("unknown_zone", json!({}));
        };
        let refuses = match text(ask.args, "overflow") {
            None | Some("widen") => false,
            Some("refuse") => true,
            Some(_) => return senseless("overflow"),
        };
        let start = field(ask.args, "start").and_then(Value::as_u64).unwrap_or(1);
        let chain = text(ask.args, "chain").map(str::to_owned);
        if let Some(chain) = chain.as_ref().filter(|chain| !self.chains.contains_key(*chain)) {
            return refuse("chain_not_found", json!({ "name": chain }));
        }
        let mut series = Series {
            own: true,
            template,
            class,
            zone,
            scoped: flag(ask.args, "scoped"),
            start,
            refuses,
            chain,
            counters: BTreeMap::new(),
            documents: BTreeMap::new(),
            numbers: BTreeMap::new(),
        };
        if let Some(there) = self.series.get(&name) {
            // All but what happens past the width is fixed.
            let is_same = there.template == series.template
                && (there.class, there.scoped) == (series.class, series.scoped)
                && (there.start, &there.chain) == (series.start, &series.chain)
                && there.zone == series.zone;
            if there.own && !is_same {
                return refuse("series_exists", json!({ "id": name }));
            }
            series.counters = there.counters.clone();
            series.documents = there.documents.clone();
            series.numbers = there.numbers.clone();
        }
        self.series.insert(name.clone(), series);
        self.writes("series", &name);
        Ok(vec![("series", What::Plain(json!({ "id": name })))])
    }

    pub(super) fn define_chain(&mut self, ask: &Ask<'_>) -> Shown {
        let name = needed(ask.args, "name")?.to_owned();
        let genesis = needed(ask.args, "genesis_hash")?.to_owned();
        let auto = match needed(ask.args, "seal")? {
            "auto" => true,
            "caller" => false,
            _ => return senseless("seal"),
        };
        if self.chains.contains_key(&name) {
            return refuse("chain_exists", json!({ "id": name }));
        }
        self.chains.insert(name.clone(), Chain { genesis, auto, links: Vec::new() });
        self.writes("chains", &name);
        Ok(vec![("chain", What::Plain(json!({ "id": name })))])
    }

    pub(super) fn seal_chain(&mut self, ask: &Ask<'_>) -> Shown {
        let document = needed(ask.args, "document")?;
        let hash = needed(ask.args, "hash")?.to_owned();
        let mut links = self.chains.iter_mut().flat_map(|(name, chain)| {
            let auto = chain.auto;
            chain.links.iter_mut().map(move |link| (name, auto, link))
        });
        let Some((name, auto, (_, sealed))) = links.find(|(_, _, link)| link.0 == document) else {
            return refuse("document_not_found", json!({ "document": document }));
        };
        if auto {
            return refuse("already_sealed", json!({}));
        }
        if let Some(hash) = sealed {
            return refuse("already_sealed", json!({ "hash": hash }));
        }
        *sealed = Some(hash);
        self.turn.writes.insert(record("chains", &[name]));
        Ok(Vec::new())
    }

    /// Refuses a series that is not there.
    pub(super) fn series_is(&self, name: &str) -> Result<(), Refusal> {
        match self.series.get(name) {
            Some(_) => Ok(()),
            None => refuse("series_not_found", json!({ "name": name })),
        }
    }

    /// The date in a series' place.
    pub(super) fn date_of(&self, series: &str, at: Nanos) -> Option<Date> {
        Some(date_in(&self.series.get(series)?.zone, at))
    }

    /// When the day after a date begins, in a series' place.
    pub(super) fn end_of_day(&self, series: &str, on: &str) -> Option<Nanos> {
        let on: Date = on.parse().ok()?;
        let next = on.tomorrow().ok()?;
        let start = next.to_zoned(self.series.get(series)?.zone.clone()).ok()?;
        Some(start.start_of_day().ok()?.timestamp().as_nanosecond())
    }

    /// The next number of a series for a document. Everything else of the command has been found
    /// right before: this is the last of its questions and the first of its effects.
    pub(super) fn take_number(
        &mut self,
        (name, scope): (&str, Option<&str>),
        document: &str,
        ask: &Ask<'_>,
    ) -> Result<String, Refusal> {
        let Some(series) = self.series.get_mut(name) else {
            return refuse("series_not_found", json!({ "name": name }));
        };
        let scope = match scope.filter(|_| series.scoped) {
            None if series.scoped => return refuse("scope_required", json!({})),
            scope => scope.unwrap_or_default().to_owned(),
        };
        let on = date_in(&series.zone, ask.at);
        let period = series.template.period(on);
        let place = (scope.clone(), period);
        let before = series.counters.get(&place).and_then(|counter| counter.last);
        let value = before.map_or(series.start, |last| last.saturating_add(1));
        let width = series.template.width();
        let most = width.map(|width| 10_u64.saturating_pow(width.try_into().unwrap_or(u32::MAX)));
        if let Some(most) = most.filter(|most| series.refuses && *most <= value) {
            let last = before.unwrap_or_else(|| most.saturating_sub(1));
            return refuse("series_exhausted", json!({ "last": last }));
        }
        let chain = series.chain.as_ref().and_then(|chain| self.chains.get_mut(chain));
        if let Some(chain) = chain {
            chain.bind(document)?;
            if let Some(name) = &series.chain {
                self.turn.writes.insert(record("chains", &[name]));
            }
        }

        // Past here it succeeds.
        self.turn.writes.insert(record("numbers", &[name, document]));
        let counter = series.counters.entry(place).or_default();
        counter.last = Some(value);
        counter.given.push((value, on));
        let number = series.template.print(value, (on, &scope));
        let number = number.unwrap_or_else(|| format!("\u{0}{document}"));
        let kept = Number { document: document.to_owned(), foreign: false, void_at: None };
        series.numbers.insert((scope, number.clone()), kept);
        // Eight tenths of all that have so many digits.
        let full = most.and_then(|most| most.checked_div(10)?.checked_mul(8));
        if full.is_some_and(|full| before.unwrap_or_default() < full && full <= value) {
            self.event("series_nearly_full", json!({ "series": name, "last": value }));
        }
        Ok(number)
    }

    /// The place in its series' chain of a document that has just been numbered.
    pub(super) fn link(&self, series: &str) -> Option<Link> {
        let chain = self.chains.get(self.series.get(series)?.chain.as_ref()?)?;
        let (_, before) = chain.links.split_last()?;
        let previous = match before.last() {
            None => Some(chain.genesis.clone()),
            Some((_, hash)) => hash.clone(),
        };
        Some(Link { counter: chain.links.len(), previous })
    }

    pub(super) fn next_number(&mut self, ask: &Ask<'_>) -> Shown {
        let name = needed(ask.args, "name")?;
        let (scope, document) = (text(ask.args, "scope"), needed(ask.args, "document")?);
        self.series_is(name)?;
        let Some(series) = self.series.get(name) else { return senseless("name") };
        if series.scoped && scope.is_none() {
            return refuse("scope_required", json!({}));
        }
        let key = (scope.unwrap_or_default().to_owned(), document.to_owned());
        if let Some(number) = series.documents.get(&key) {
            return refuse("document_already_numbered", json!({ "number": number }));
        }
        let number = self.take_number((name, scope), document, ask)?;
        if let Some(series) = self.series.get_mut(name) {
            if let Some(kept) = series.numbers.get_mut(&(key.0.clone(), number.clone())) {
                kept.foreign = true;
            }
            series.documents.insert(key, number.clone());
        }
        let number = told(&number);
        Ok(number
            .map(|number| ("number", What::Plain(json!({ "number": number }))))
            .into_iter()
            .collect())
    }

    pub(super) fn void_number(&mut self, ask: &Ask<'_>) -> Shown {
        let name = needed(ask.args, "name")?;
        let (scope, number) = (text(ask.args, "scope"), needed(ask.args, "number")?);
        self.series_is(name)?;
        let Some(series) = self.series.get_mut(name) else { return senseless("name") };
        let place = (scope.unwrap_or_default().to_owned(), number.to_owned());
        let Some(kept) = series.numbers.get_mut(&place) else {
            return refuse("number_not_found", json!({ "number": number }));
        };
        if !kept.foreign {
            let document = known(&kept.document);
            return refuse("number_in_use", object([("document", document)]));
        }
        if let Some(at) = kept.void_at {
            return refuse("number_void", json!({ "at": shown(at) }));
        }
        kept.void_at = Some(ask.at);
        self.turn.writes.insert(record("numbers", &[name, number]));
        Ok(Vec::new())
    }

    pub(super) fn advance_series(&mut self, ask: &Ask<'_>) -> Shown {
        let name = needed(ask.args, "name")?;
        let last = plain(ask.args, "last", None)?;
        let last = u64::try_from(last).unwrap_or(u64::MAX);
        let period = needed(ask.args, "period")?.to_owned();
        self.series_is(name)?;
        let Some(series) = self.series.get_mut(name) else { return senseless("name") };
        let scope = match text(ask.args, "scope").filter(|_| series.scoped) {
            None if series.scoped => return refuse("scope_required", json!({})),
            scope => scope.unwrap_or_default().to_owned(),
        };
        let counter = series.counters.entry((scope, period)).or_default();
        let in_use = series.class == Class::Gapless && !counter.given.is_empty();
        if let Some(last) = counter.last.filter(|_| in_use) {
            return refuse("series_in_use", json!({ "last": last }));
        }
        if let Some(before) = counter.last.filter(|before| last <= *before) {
            return refuse("series_cannot_move_back", json!({ "last": before }));
        }
        counter.last = Some(last);
        counter.imported = Some(last);
        self.turn.writes.insert(record("series_counters", &[name]));
        Ok(Vec::new())
    }

    /// What holds of every series and chain.
    pub(super) fn check_series(&self) -> Result<(), String> {
        for (name, series) in &self.series {
            for ((scope, period), counter) in &series.counters {
                let broken = |what: &str| Err(format!("V8: {name} {scope} {period}: {what}"));
                let mut before = counter.imported.map(|last| (last, None));
                for (value, on) in &counter.given {
                    match before {
                        Some((last, _)) if *value <= last && series.class != Class::Unique => {
                            return broken("a value was given twice");
                        }
                        Some((last, _))
                            if series.class == Class::Gapless
                                && last.checked_add(1) != Some(*value) =>
                        {
                            return broken("a value was left out");
                        }
                        Some((_, Some(earlier))) if *on < earlier => {
                            return broken("its dates fall");
                        }
                        Some(_) | None => {}
                    }
                    before = Some((*value, Some(*on)));
                }
            }
        }
        for (name, chain) in &self.chains {
            let open = chain.links.iter().filter(|(_, hash)| hash.is_none()).count();
            if 1 < open && !chain.auto {
                return Err(format!("V8: chain {name}: two of its documents are not sealed"));
            }
        }
        Ok(())
    }
}

impl Series {
    /// A series that the book did not define is in the book's place, until it has a number.
    pub(super) fn moves_to(&mut self, zone: &TimeZone) {
        if !self.own && self.counters.is_empty() {
            self.zone = zone.clone();
        }
    }
}

impl Chain {
    /// Binds a document, if the one before it is sealed.
    fn bind(&mut self, document: &str) -> Result<(), Refusal> {
        let counter = self.links.len();
        if let Some((last, None)) = self.links.last().filter(|_| !self.auto) {
            let before = counter.checked_sub(2).and_then(|place| self.links.get(place));
            let previous = before.map_or(Some(&self.genesis), |(_, hash)| hash.as_ref());
            let mut data = json!({ "counter": counter, "prev_hash": previous });
            super::show::add(&mut data, "document", known(last));
            return refuse("chain_unsealed", data);
        }
        self.links.push((document.to_owned(), None));
        Ok(())
    }
}

/// A number as it is told; nothing is stated if it was drawn.
pub(super) fn told(number: &str) -> Option<Value> {
    (!is_undrawn(number)).then(|| json!(number))
}
