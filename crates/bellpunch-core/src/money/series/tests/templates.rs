//! Templates, dates and zones, one by one.

use jiff::civil::date;

use crate::money::series::template::{Mark, Template};
use crate::money::series::zone::{self, Zone};
use crate::{Key, Timestamp};

fn refused(template: &str) -> &'static str {
    Template::new(template).map(|_| "ok").unwrap_or_else(|reason| reason)
}

#[test]
fn a_template_ends_with_its_number_after_a_character_that_is_no_digit() {
    for good in
        ["INV-{YYYY}{MM}-{N:4}", "A{N:1}", "{scope}/{N:15}", "{R}", "A{R}Z", "{YY}.{DD}_{N:2}"]
    {
        assert_eq!(refused(good), "ok", "{good}");
    }
    for (bad, reason) in [
        ("", "must have one {N:width}, or one {R}"),
        ("A-{N:2}-{R}", "must have one {N:width}, or one {R}"),
        ("A-{N:2}{N:2}", "must have one {N:width}, or one {R}"),
        ("A-{N:2}-A", "must end with {N:width}"),
        ("{N:2}", "must have a character that is no digit before {N:width}"),
        ("{YYYY}{N:2}", "must have a character that is no digit before {N:width}"),
        ("{scope}{N:2}", "must have a character that is no digit before {N:width}"),
        ("A1{N:2}", "must have a character that is no digit before {N:width}"),
        ("{MM}-{N:2}", "has {MM} without a year before it"),
        ("{MM}{YYYY}-{N:2}", "has {MM} without a year before it"),
        ("A-{N:0}", "has an {N:width} whose width is not 1 to 15"),
        ("A-{N:16}", "has an {N:width} whose width is not 1 to 15"),
        ("A-{N:04}", "has an {N:width} whose width is not 1 to 15"),
        ("A-{N:+4}", "has an {N:width} whose width is not 1 to 15"),
        ("A-{N:}", "has an {N:width} whose width is not 1 to 15"),
        ("A-{N}", "has a field other than {YYYY} {YY} {MM} {DD} {scope} {N:width} {R}"),
        ("A-{yyyy}-{N:4}", "has a field other than {YYYY} {YY} {MM} {DD} {scope} {N:width} {R}"),
        ("A-{N:4", "has a `{` without a `}`"),
        ("a-{N:4}", "has a character other than A to Z, 0 to 9 and . _ / -"),
        ("A}-{N:4}", "has a character other than A to Z, 0 to 9 and . _ / -"),
        ("Ä-{N:4}", "has a character other than A to Z, 0 to 9 and . _ / -"),
    ] {
        assert_eq!(refused(bad), reason, "{bad}");
    }
    assert_eq!(refused(&format!("{}-{{N:4}}", "A".repeat(123))), "is longer than 128 characters");
    assert_eq!(refused(&format!("{}-{{N:4}}", "A".repeat(122))), "ok");
}

#[test]
fn the_period_is_the_date_fields_printed() {
    let day = date(2025, 6, 5);
    for (template, period) in [
        ("A-{YYYY}{MM}-{N:4}", "202506"),
        ("A-{YY}.{MM}.{DD}-{N:4}", "250605"),
        ("A-{DD}-{N:4}", "05"),
        ("A-{N:4}", ""),
    ] {
        let template = Template::new(template).unwrap();
        assert_eq!(template.period(day), period);
        assert!(template.has_period(period) && !template.has_period("2"));
    }
}

#[test]
fn a_number_is_told_from_its_text() {
    let scope = Key::new("L-1").unwrap();
    let template = Template::new("{scope}/{YYYY}.{MM}-{N:3}").unwrap();
    let mark = Mark::Value(1_234);
    let text = template.render("202506", Some(&scope), &mark);
    assert_eq!(text, "L-1/2025.06-1234");
    assert_eq!(template.parse(&text, Some(&scope)), Some(("202506".to_owned(), mark)));
    assert_eq!(template.parse("L-1/2025.06-012", Some(&scope)).unwrap().1, Mark::Value(12));
    for wrong in ["L-1/2025.06-12", "L-1/2025.13-012", "L-2/2025.06-012", "L-1/2025.06-0120"] {
        assert_eq!(template.parse(wrong, Some(&scope)), None, "{wrong}");
    }
    assert_eq!(template.parse(&text, None), None);
}

#[test]
fn a_zone_is_an_offset_or_of_the_table() {
    for (name, shown) in [
        ("UTC", "UTC"),
        ("Asia/Riyadh", "Asia/Riyadh"),
        ("asia/riyadh", "Asia/Riyadh"),
        ("+03:00", "+03:00"),
        ("-09:30", "-09:30"),
        ("+23:59", "+23:59"),
    ] {
        assert_eq!(Zone::new(name).unwrap().name(), shown);
    }
    for wrong in [
        "",
        "Mars/Olympus",
        "+3",
        "+03",
        "+0300",
        "+24:00",
        "+03:60",
        "3:00",
        "+-3:00",
        "Etc/Unknown",
    ] {
        assert!(Zone::new(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_day_ends_where_the_next_one_begins() {
    let end = |zone: &str, day: &str| {
        Zone::new(zone).unwrap().end_of_day(zone::date(day).unwrap()).map(|at| at.to_string())
    };
    assert_eq!(end("Asia/Riyadh", "2025-06-15").unwrap(), "2025-06-15T21:00:00Z");
    assert_eq!(end("-05:30", "2025-12-31").unwrap(), "2026-01-01T05:30:00Z");
    assert_eq!(end("UTC", "2028-02-28").unwrap(), "2028-02-29T00:00:00Z");
    // In Cairo the clocks go forward at midnight: the day begins at one.
    assert_eq!(end("Africa/Cairo", "2026-04-23").unwrap(), "2026-04-23T22:00:00Z");
    assert_eq!(end("UTC", "9999-12-31"), None);
}

#[test]
fn a_date_has_one_form() {
    assert_eq!(zone::date("2025-06-15"), Some(date(2025, 6, 15)));
    for wrong in ["20250615", "2025-6-15", "2025-02-29", "2025-06-15T00:00", " 2025-06-15", ""] {
        assert_eq!(zone::date(wrong), None, "{wrong}");
    }
}

#[test]
fn dates_are_those_of_the_zone() {
    let night: Timestamp = "2025-12-31T21:00:00Z".parse().unwrap();
    assert_eq!(Zone::new("Asia/Riyadh").unwrap().date(night), date(2026, 1, 1));
    assert_eq!(Zone::utc().date(night), date(2025, 12, 31));
}
