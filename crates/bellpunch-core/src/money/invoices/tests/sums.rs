//! What holds for the sums of any lines, and at the largest.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    reason = "the formulas stand as they are written down, in numbers that none of these fills"
)]

use proptest::prelude::*;

use super::super::lines::{Discount, NewLine, Totals, vat_of};
use super::*;
use crate::trial::cases;
use crate::{CurrencyCode, MoneyOrZero};

const LARGEST: u64 = 9_007_199_254_740_991;

fn new_line(price: u64, quantity_milli: u64, vat_bp: u64) -> NewLine {
    serde_json::from_value(line(price, quantity_milli, vat_bp)).unwrap()
}

fn currency() -> CurrencyCode {
    CurrencyCode::new("SAR").unwrap()
}

fn off(amount: u64) -> Discount {
    let amount = Minor::new(amount).unwrap();
    Discount::Amount(MoneyOrZero { amount, currency: currency() })
}

fn code_of(lines: &[Value], over: Value) -> String {
    book().send(NOW, create("i", lines, over)).code().to_owned()
}

#[test]
fn a_quantity_is_rounded_half_up_once() {
    for (price, quantity, net) in [(1, 499, 0), (1, 500, 1), (3, 1_500, 5), (333, 333, 111)] {
        let totals = Totals::of(&currency(), &[new_line(price, quantity, 0)], None).unwrap();
        assert_eq!(totals.net.get(), net, "{price} times {quantity}");
    }
}

#[test]
fn vat_is_rounded_half_up_once_for_each_rate() {
    assert_eq!((vat_of(999, 1_500), vat_of(333, 1_500)), (150, 50));
    assert_eq!((vat_of(10, 500), vat_of(9, 500)), (1, 0));
    let lines = [new_line(10, 1_000, 500), new_line(10, 1_000, 1_500), new_line(10, 1_000, 500)];
    let totals = Totals::of(&currency(), &lines, None).unwrap();
    let rates: Vec<_> = totals.rates.iter().map(|rate| (rate.vat_bp, rate.vat.get())).collect();
    assert_eq!(rates, [(500, 1), (1_500, 2)]);
}

#[test]
fn of_equal_remainders_the_earlier_line_gets_more() {
    let lines = [new_line(1, 1_000, 0), new_line(1, 1_000, 0), new_line(1, 1_000, 0)];
    let totals = Totals::of(&currency(), &lines, Some(&off(1))).unwrap();
    let parts: Vec<_> = totals.lines.iter().map(|line| line.discount.get()).collect();
    assert_eq!(parts, [1, 0, 0]);
}

#[test]
fn a_discount_may_be_all_and_no_more() {
    let lines = [line(10, 1_000, 1_500)];
    let all =
        |discount: Value| book().send(NOW, create("i", &lines, json!({"discount": discount})));
    assert_eq!(all(json!({"amount": sar(10)})).ok()["invoice"]["total"], 0);
    assert_eq!(all(json!({"bp": 10_000})).ok()["invoice"]["total"], 0);
    assert_eq!(all(json!({"amount": sar(11)})).no("discount_exceeds_net")["net"], 10);
    assert_eq!(all(json!({"bp": 10_001})).no("invalid_request")["field"], "discount.bp");
    assert_eq!(all(json!({"bp": 1_250})).ok()["invoice"]["discount"], 1, "1.25, rounded half up");
}

#[test]
fn the_largest_sum_is_one_and_one_more_is_refused() {
    let largest = line(LARGEST, 1_000, 0);
    assert_eq!(code_of(std::slice::from_ref(&largest), json!({})), "ok");
    assert_eq!(code_of(&[largest.clone(), line(0, 1_000, 1_500)], json!({})), "ok");
    for over in [
        vec![line(LARGEST, 1_001, 0)],
        vec![line(LARGEST, LARGEST, 0)],
        vec![largest.clone(), line(1, 1_000, 0)],
        vec![largest.clone(), line(1, 1_000, 1)],
        vec![line(LARGEST, 1_000, 1)],
        vec![line(1, 1_000, LARGEST), line(2, 1_000, LARGEST - 1), line(LARGEST, 1_000, 0)],
        vec![line(LARGEST, LARGEST, LARGEST); 200],
    ] {
        assert_eq!(code_of(&over, json!({})), "amount_overflow");
        let all = json!({"discount": {"bp": 10_000}});
        let fits = over.iter().all(|line| line["quantity_milli"] == 1_000);
        let fits = fits && over.len() == 1;
        assert_eq!(code_of(&over, all), if fits { "ok" } else { "amount_overflow" });
    }
    let answer = book().send(NOW, create("i", &[line(LARGEST + 1, 1_000, 0)], json!({})));
    assert_eq!(answer.no("invalid_amount")["reason"], "too_large");
}

#[test]
fn counts_beyond_a_wire_are_refused() {
    for (field, wrong) in [
        ("lines.quantity_milli", line(1, LARGEST + 1, 0)),
        ("lines.vat_bp", line(1, 1_000, LARGEST + 1)),
    ] {
        let answer = book().send(NOW, create("i", &[wrong], json!({})));
        assert_eq!(answer.no("invalid_request")["field"], field);
    }
}

#[test]
fn a_book_that_is_full_issues_nothing() {
    let mut world = book();
    issued(&mut world, "i", LARGEST);
    let answer = world.send(NOW, create("j", &[line(1, 1_000, 0)], json!({"issue": true})));
    answer.no("amount_overflow");
    world.send(NOW, create("j", &[line(1, 1_000, 0)], json!({}))).ok();
    world.send(NOW, act("invoices.issue", "j")).no("amount_overflow");
    world.send(NOW, act("invoices.void", "i")).ok();
    let answer = world.send(NOW, act("invoices.issue", "j"));
    assert_eq!(answer.ok()["invoice"]["number"], "INV-202506-0002", "what is refused numbers none");
}

fn any_lines() -> impl Strategy<Value = Vec<NewLine>> {
    let price = prop_oneof![0_u64..20, 0_u64..1_000_000, Just(LARGEST / 300)];
    let quantity = prop_oneof![Just(1_000_u64), 0_u64..5_000];
    let rate = prop_oneof![Just(0_u64), Just(500), Just(1_500), 0_u64..10_000];
    let line =
        (price, quantity, rate).prop_map(|(price, quantity, rate)| new_line(price, quantity, rate));
    prop::collection::vec(line, 1..12)
}

/// Exact, in numbers that none of these fills.
fn worth(line: &NewLine) -> u128 {
    let product = u128::from(line.unit_price.amount.get()) * u128::from(line.quantity_milli);
    product / 1_000 + u128::from(500 <= product % 1_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(250), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totals_follow_from_lines(lines in any_lines(), bp in 0_u64..=10_000) {
        let totals = Totals::of(&currency(), &lines, Some(&Discount::Bp(bp))).unwrap();
        let all: u128 = lines.iter().map(worth).sum();
        let off = (all * u128::from(bp) + 5_000) / 10_000;
        let parts: u128 = totals.lines.iter().map(|line| u128::from(line.discount.get())).sum();
        prop_assert_eq!(parts, off, "the parts of a discount are the discount");
        prop_assert_eq!(u128::from(totals.discount.get()), off);
        prop_assert_eq!(u128::from(totals.net.get()), all - off);
        for (computed, asked) in totals.lines.iter().zip(&lines) {
            let (net, part) = (u128::from(computed.net.get()), u128::from(computed.discount.get()));
            prop_assert_eq!(net + part, worth(asked));
            let fair = (off * worth(asked)).checked_div(all).unwrap_or(0);
            prop_assert!(part == fair || part == fair + 1, "nobody is more than one off");
        }
        let vat: u64 = totals.rates.iter().map(|rate| rate.vat.get()).sum();
        prop_assert_eq!(totals.vat.get(), vat);
        prop_assert_eq!(totals.total.get(), totals.net.get() + vat);
        for rate in &totals.rates {
            let of_rate = totals.lines.iter().filter(|line| line.vat_bp == rate.vat_bp);
            prop_assert_eq!(of_rate.map(|line| line.net.get()).sum::<u64>(), rate.net.get());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(50), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slices_of_any_size_credit_exactly_the_invoice(
        lines in any_lines(),
        cuts in prop::collection::vec(1_u64..u64::MAX, 1..8),
    ) {
        let mut world = book();
        let lines: Vec<Value> = lines.iter().map(|line| json!(line)).collect();
        let invoice = issued_of(&mut world, "i", &lines);
        let mut vat = 0;
        for rate in invoice["rates"].as_array().unwrap() {
            let (rate, mut left) = (rate["vat_bp"].as_u64().unwrap(), rate["net"].as_u64().unwrap());
            let ends = std::iter::once(&u64::MAX);
            for cut in cuts.iter().chain(ends) {
                let net = if *cut == u64::MAX { left } else { left.min(cut % (left + 1)) };
                if net == 0 {
                    continue;
                }
                left -= net;
                let answer = world.send(NOW, credit("i", &[(net, rate)], json!({})));
                vat += answer.ok()["credit_note"]["vat"].as_u64().unwrap();
            }
        }
        prop_assert_eq!(vat, invoice["vat"].as_u64().unwrap());
        let after = read(&mut world, "i");
        prop_assert_eq!(&after["credited"], &invoice["total"]);
        prop_assert_eq!(&after["status"], "paid");
        if invoice["total"] != 0 {
            for account in ["sys:receivable:SAR", "sys:revenue:SAR"] {
                prop_assert_eq!(posted(&mut world, account), 0);
            }
        }
    }
}
