//! What a credit note is worth.
//!
//! Invariant: the VAT of all that was credited at a rate is the VAT of its sum, so it never
//! exceeds the invoice's, and reaches it with the last slice.

use std::collections::BTreeMap;

use super::credit::CreditLine;
use super::credit_note::CreditedRate;
use super::lines::vat_of;
use super::{Invoice, RateTotal};
use crate::Minor;
use crate::money::{Decided, MoneyRejection, OfOneState as _};

/// What is asked to be credited, whether the invoice has it or not.
pub(super) struct Asked {
    pub(super) nets: BTreeMap<u64, i128>,
    /// With its VAT.
    pub(super) total: i128,
}

impl Asked {
    pub(super) fn of(invoice: &Invoice, lines: &[CreditLine]) -> Self {
        let mut nets: BTreeMap<u64, i128> = BTreeMap::new();
        for line in lines {
            let net = nets.entry(line.vat_bp).or_default();
            *net = net.saturating_add(Minor::from(line.net.amount).wide());
        }
        let worth = |(vat_bp, net): (&u64, &i128)| {
            net.saturating_add(more_vat(credited_before(invoice, *vat_bp), (*vat_bp, *net)))
        };
        let total = nets.iter().map(worth).sum();
        Self { nets, total }
    }
}

/// What of a rate was credited before.
fn credited_before(invoice: &Invoice, vat_bp: u64) -> i128 {
    let rate = invoice.rates.iter().find(|rate| rate.vat_bp == vat_bp);
    rate.map_or(0, |rate| rate.credited_net.wide())
}

/// The VAT of all that is credited at a rate, less that of what was credited before.
fn more_vat(before: i128, (vat_bp, net): (u64, i128)) -> i128 {
    vat_of(before.saturating_add(net), vat_bp).saturating_sub(vat_of(before, vat_bp))
}

/// What a credit note is worth: of each rate no more than the invoice has.
pub(super) struct Worth {
    pub(super) rates: Vec<CreditedRate>,
    pub(super) net: Minor,
    pub(super) vat: Minor,
    pub(super) total: Minor,
    /// The invoice's rates after it.
    after: Vec<RateTotal>,
}

impl Worth {
    /// Tests that the invoice has what is asked.
    ///
    /// # Errors
    /// `exceeds_invoice`, of the lowest rate that has less.
    pub(super) fn of(invoice: &Invoice, asked: &Asked) -> Decided<Self> {
        let fits = |sum| Minor::from_wide(sum).ok_or(MoneyRejection::AmountOverflow {});
        let mut after = invoice.rates.clone();
        let mut rates = Vec::with_capacity(asked.nets.len());
        let (mut net, mut vat) = (0_i128, 0_i128);
        for (&vat_bp, &of_rate) in &asked.nets {
            let rate = after.iter_mut().find(|rate| rate.vat_bp == vat_bp);
            let creditable = rate.as_ref().map_or(Minor::ZERO, |rate| rate.creditable());
            let Some(rate) = rate.filter(|_| of_rate <= creditable.wide()) else {
                return Err(MoneyRejection::ExceedsInvoice { vat_bp, creditable });
            };
            let before = rate.credited_net.wide();
            let tax = more_vat(before, (vat_bp, of_rate));
            rate.credited_net = fits(before.saturating_add(of_rate))?;
            (net, vat) = (net.saturating_add(of_rate), vat.saturating_add(tax));
            rates.push(CreditedRate { vat_bp, net: fits(of_rate)?, vat: fits(tax)? });
        }
        let total = fits(asked.total)?;
        Ok(Self { rates, net: fits(net)?, vat: fits(vat)?, total, after })
    }

    /// The invoice after it.
    pub(super) fn credit(&self, invoice: &Invoice, released: Minor) -> Invoice {
        let credited = invoice.credited.checked_add(self.total);
        let amount_paid = invoice.amount_paid.checked_sub(released);
        Invoice {
            credited: credited.expect("no more is credited than the total"),
            amount_paid: amount_paid.of_one_state("what goes back was paid"),
            rates: self.after.clone(),
            ..invoice.clone()
        }
    }
}

impl RateTotal {
    /// What of it was not credited.
    fn creditable(&self) -> Minor {
        self.net.checked_sub(self.credited_net).expect("no more is credited than the invoice has")
    }
}
