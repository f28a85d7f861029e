//! What an invoice comes to: lines, discount, tax.
//!
//! Invariant: the parts of a discount sum to it, and tax is worked out once for each rate.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    reason = "the formulas stand as they are described; a price times a quantity stays below 2^106"
)]

use std::collections::BTreeMap;

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InvoiceLine {
    pub(super) description: String,
    pub(super) quantity_milli: i128,
    pub(super) unit_price: i128,
    pub(super) vat_bp: i128,
}

/// What is taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Discount {
    Amount(i128),
    BasisPoints(i128),
}

/// What lines come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    /// Of each line, before the discount and its part of it.
    pub(super) parts: Vec<(i128, i128)>,
    /// By rate, after the discount.
    pub(super) nets: BTreeMap<i128, i128>,
    pub(super) net: i128,
    pub(super) vat: i128,
}

/// The tax on a net amount, rounded half up.
pub(super) const fn vat(net: i128, vat_bp: i128) -> i128 {
    (net * vat_bp + 5_000).div_euclid(10_000)
}

impl InvoiceLine {
    /// What it comes to, rounded half up.
    pub(super) const fn net(&self) -> i128 {
        (self.unit_price * self.quantity_milli + 500).div_euclid(1_000)
    }
}

impl Totals {
    pub(super) const fn total(&self) -> i128 {
        self.net + self.vat
    }

    /// Of lines and a discount; `None` if the discount is more than the lines come to.
    pub(super) fn of(lines: &[InvoiceLine], discount: Option<Discount>) -> Option<Self> {
        let gross: Vec<i128> = lines.iter().map(InvoiceLine::net).collect();
        let all: i128 = gross.iter().sum();
        let off = match discount {
            None => 0,
            Some(Discount::Amount(amount)) => amount,
            Some(Discount::BasisPoints(points)) => (all * points + 5_000).div_euclid(10_000),
        };
        if all < off {
            return None;
        }
        let parts: Vec<(i128, i128)> =
            gross.iter().copied().zip(spread(off, &gross, all)).collect();
        let mut nets: BTreeMap<i128, i128> = BTreeMap::new();
        for (line, (gross, off)) in lines.iter().zip(&parts) {
            *nets.entry(line.vat_bp).or_default() += gross - off;
        }
        let vat = nets.iter().map(|(rate, net)| vat(*net, *rate)).sum();
        Some(Self { parts, net: all - off, vat, nets })
    }
}

/// Spreads an amount over lines: what is left over after whole parts goes to those with the
/// largest remainders, of equal ones to the earlier.
fn spread(off: i128, gross: &[i128], all: i128) -> Vec<i128> {
    if all == 0 {
        return vec![0; gross.len()];
    }
    let mut parts: Vec<i128> = gross.iter().map(|one| off * one / all).collect();
    let mut order: Vec<(i128, usize)> =
        gross.iter().enumerate().map(|(place, one)| (off * one % all, place)).collect();
    order.sort_by_key(|(remainder, place)| (-remainder, *place));
    let mut over = off - parts.iter().sum::<i128>();
    for (_, place) in order {
        if over == 0 {
            break;
        }
        if let Some(part) = parts.get_mut(place) {
            *part += 1;
            over -= 1;
        }
    }
    parts
}
