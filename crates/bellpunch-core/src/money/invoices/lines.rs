//! What an invoice adds up to.
//!
//! Invariant: totals follow from lines. Each quantity is rounded half up once, at its line; a
//! discount is spread by largest remainder, so that its parts sum to it exactly; VAT is computed
//! once per rate, on what the lines of that rate sum to. Products are computed in i128, where none
//! of these can wrap; a sum above the largest is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{InvoiceLine, RateTotal};
use crate::money::{Decided, MoneyRejection, known_currency, same_currency};
use crate::{CivilDate, CurrencyCode, Draft, Key, Minor, MoneyOrZero};

/// How many lines an invoice has, and a credit note.
pub(crate) const LINES_MAX: usize = 200;

/// The largest count on a wire.
const COUNT_MAX: u64 = Minor::MAX.get();

/// Thousandths of a quantity.
const MILLI: i128 = 1_000;

/// Hundredths of a percent.
const WHOLE_BP: i128 = 10_000;

/// A line of an invoice, as it is asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewLine {
    /// What it is for.
    pub description: Key,
    /// Thousandths: 2.5 hours are 2500.
    pub quantity_milli: u64,
    /// For a whole one, without VAT.
    pub unit_price: MoneyOrZero,
    /// In hundredths of a percent: 15 % is 1500.
    pub vat_bp: u64,
}

/// What is taken off the whole document. JSON: `{"amount": {"amount": 100, "currency": "SAR"}}` or
/// `{"bp": 1250}`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Discount {
    /// So much.
    Amount(MoneyOrZero),
    /// So many hundredths of a percent of it, rounded half up: 12.5 % is 1250.
    Bp(u64),
}

/// What lines add up to.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) lines: Vec<InvoiceLine>,
    pub(crate) discount: Minor,
    pub(crate) rates: Vec<RateTotal>,
    pub(crate) net: Minor,
    pub(crate) vat: Minor,
    pub(crate) total: Minor,
}

impl Totals {
    /// Adds lines up.
    ///
    /// # Errors
    /// `currency_mismatch`, `discount_exceeds_net`, `amount_overflow`.
    pub(crate) fn of(
        currency: &CurrencyCode,
        lines: &[NewLine],
        discount: Option<&Discount>,
    ) -> Decided<Self> {
        for line in lines {
            same_currency(currency, &line.unit_price.currency)?;
        }
        if let Some(Discount::Amount(money)) = discount {
            same_currency(currency, &money.currency)?;
        }
        let worth: Vec<i128> = lines.iter().map(worth).collect();
        let off = taken_off(worth.iter().sum(), discount)?;
        worth.iter().try_for_each(|&worth| fitting(worth).map(drop))?;
        let parts = spread(off, &worth)?;

        let mut computed = Vec::with_capacity(lines.len());
        let mut rates: BTreeMap<u64, Minor> = BTreeMap::new();
        for ((line, worth), discount) in lines.iter().zip(&worth).zip(parts) {
            let net = fitting(worth.checked_sub(discount.wide()).expect("both are sums"))?;
            let rate = rates.entry(line.vat_bp).or_default();
            *rate = plus(*rate, net)?;
            computed.push(InvoiceLine {
                description: line.description.clone(),
                quantity_milli: line.quantity_milli,
                unit_price: line.unit_price.amount,
                vat_bp: line.vat_bp,
                discount,
                net,
            });
        }
        let (mut net, mut vat) = (Minor::ZERO, Minor::ZERO);
        let mut totals = Vec::with_capacity(rates.len());
        for (vat_bp, of_rate) in rates {
            let tax = fitting(vat_of(of_rate.wide(), vat_bp))?;
            (net, vat) = (plus(net, of_rate)?, plus(vat, tax)?);
            let credited_net = Minor::ZERO;
            totals.push(RateTotal { vat_bp, net: of_rate, vat: tax, credited_net });
        }
        let total = plus(net, vat)?;
        Ok(Self { lines: computed, discount: off, rates: totals, net, vat, total })
    }
}

/// The VAT of a sum at a rate: `floor((net * vat_bp + 5000) / 10000)`.
pub(crate) fn vat_of(net: i128, vat_bp: u64) -> i128 {
    half_up(net, vat_bp.into(), WHOLE_BP)
}

/// Tests the shape of lines: how many there are, and that a count is one that a wire can say.
///
/// # Errors
/// `invalid_request`.
pub(crate) fn check_lines(lines: &[NewLine]) -> Decided<()> {
    count_fits(lines.len())?;
    for line in lines {
        fits("lines.quantity_milli", line.quantity_milli)?;
        fits("lines.vat_bp", line.vat_bp)?;
    }
    Ok(())
}

/// Tests the shape of a discount.
///
/// # Errors
/// `invalid_request`.
pub(crate) fn check_discount(discount: Option<&Discount>) -> Decided<()> {
    match discount {
        Some(Discount::Bp(bp)) if WHOLE_BP < (*bp).into() => {
            let reason = "must be at most 10000";
            Err(MoneyRejection::InvalidRequest { field: "discount.bp", reason })
        }
        Some(Discount::Amount(_) | Discount::Bp(_)) | None => Ok(()),
    }
}

/// Tests the currencies of lines and of a discount: all that makes no sense was told before.
///
/// # Errors
/// `unknown_currency`.
pub(crate) fn check_currencies(
    draft: &mut Draft<'_>,
    lines: &[NewLine],
    discount: Option<&Discount>,
) -> Decided<()> {
    lines.iter().try_for_each(|line| known_currency(draft, &line.unit_price.currency))?;
    match discount {
        Some(Discount::Amount(money)) => known_currency(draft, &money.currency),
        Some(Discount::Bp(_)) | None => Ok(()),
    }
}

/// Tests how many lines there are.
///
/// # Errors
/// `invalid_request`.
pub(crate) const fn count_fits(lines: usize) -> Decided<()> {
    if 0 < lines && lines <= LINES_MAX {
        return Ok(());
    }
    Err(MoneyRejection::InvalidRequest { field: "lines", reason: "must be 1 to 200 lines" })
}

/// Tests that a wire can say a count.
///
/// # Errors
/// `invalid_request`.
pub(crate) const fn fits(field: &'static str, count: u64) -> Decided<()> {
    if count <= COUNT_MAX {
        return Ok(());
    }
    let reason = "must be at most 9007199254740991";
    Err(MoneyRejection::InvalidRequest { field, reason })
}

/// Tests that a day ends at an instant, whatever its zone.
///
/// # Errors
/// `invalid_request`.
pub(crate) fn day_fits(due_on: CivilDate) -> Decided<()> {
    if due_on.ends_everywhere() {
        return Ok(());
    }
    let reason = "must be 1970-01-02 to 9999-12-28";
    Err(MoneyRejection::InvalidRequest { field: "due_on", reason })
}

/// What a line is worth before its discount.
fn worth(line: &NewLine) -> i128 {
    half_up(line.unit_price.amount.wide(), line.quantity_milli.into(), MILLI)
}

/// How much is taken off what is worth so much.
fn taken_off(worth: i128, discount: Option<&Discount>) -> Decided<Minor> {
    let off = match discount {
        None => 0,
        Some(Discount::Amount(money)) => money.amount.wide(),
        Some(Discount::Bp(bp)) => half_up(worth, (*bp).into(), WHOLE_BP),
    };
    if worth < off {
        return Err(MoneyRejection::DiscountExceedsNet { net: fitting(worth)? });
    }
    fitting(off)
}

/// Spreads a sum over parts by their worth: each gets its share rounded down, then one more each
/// in the order of the largest remainder, of equal ones the earlier.
fn spread(sum: Minor, worth: &[i128]) -> Decided<Vec<Minor>> {
    let whole: i128 = worth.iter().sum();
    if whole == 0 {
        return Ok(vec![Minor::ZERO; worth.len()]);
    }
    let product = |part: &i128| part.checked_mul(sum.wide()).expect("two sums multiply in i128");
    let mut parts: Vec<i128> = worth.iter().map(|part| product(part).div_euclid(whole)).collect();
    let mut remainders: Vec<(usize, i128)> =
        worth.iter().map(|part| product(part).rem_euclid(whole)).enumerate().collect();
    // A stable sort leaves the earlier of equal ones before.
    remainders.sort_by_key(|&(_, remainder)| std::cmp::Reverse(remainder));
    let left = sum.wide().checked_sub(parts.iter().sum()).expect("shares are rounded down");
    let left = usize::try_from(left).expect("less than one is left for each line");
    for &(place, _) in remainders.iter().take(left) {
        let part = parts.get_mut(place).expect("each remainder is of a part");
        *part = part.checked_add(1).expect("a share is at most the sum");
    }
    parts.into_iter().map(fitting).collect()
}

/// `value * by / per`, rounded half up.
fn half_up(value: i128, by: i128, per: i128) -> i128 {
    let product = value.checked_mul(by).expect("counts of a wire multiply in i128");
    let half = per.div_euclid(2);
    product.checked_add(half).expect("far below the largest").div_euclid(per)
}

fn plus(sum: Minor, part: Minor) -> Decided<Minor> {
    sum.checked_add(part).ok_or(MoneyRejection::AmountOverflow {})
}

fn fitting(sum: i128) -> Decided<Minor> {
    Minor::from_wide(sum).ok_or(MoneyRejection::AmountOverflow {})
}
