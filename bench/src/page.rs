//! The page of the figures: a section of each engine, between two marks.
//!
//! Invariant: a run replaces the sections that it measured and leaves the rest as it is.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::Effort;
use crate::callers::CALLERS;
use crate::figures::{Contest, Row, spread};
use crate::machine;

/// `12345` as `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if 0 < place && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds.
fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

/// Hundredths as a factor.
fn times(hundredths: u64) -> String {
    if 1_000 <= hundredths {
        return format!("{}.{}×", hundredths / 100, hundredths % 100 / 10);
    }
    format!("{}.{:02}×", hundredths / 100, hundredths % 100)
}

fn row(contest: &Contest, row: &Row) -> String {
    let of = |field: fn(&crate::figures::Figure) -> u64| {
        spread(row.figures.iter().map(field).collect::<Vec<u64>>())
    };
    let (least, rate, most) = of(|figure| figure.per_second);
    let (_, p50, _) = of(|figure| figure.p50);
    let (_, p99, _) = of(|figure| figure.p99);
    let (_, _, longest) = of(|figure| figure.longest);
    let (ratio_least, ratio, ratio_most) = spread(contest.ratios(row));
    let excess = row.excess.map_or_else(String::new, |excess| excess.to_string());
    format!(
        "| {} | {} | {} – {} | {} | {} – {} | {} | {} | {} | {excess} |\n",
        row.name,
        grouped(rate),
        grouped(least),
        grouped(most),
        times(ratio),
        times(ratio_least),
        times(ratio_most),
        millis(p50),
        millis(p99),
        millis(longest),
    )
}

/// A section: what it was measured on, and a table of each contest.
pub(crate) fn section(name: &str, contests: &[Contest], (effort, load): (&Effort, &str)) -> String {
    let (median, late) = machine::sync_micros();
    let mut text = format!(
        "Measured {} at revision `{}`: medians of {} rounds of {} s, {CALLERS} callers \
         if a table says no other number. \
         {}. {}. A sync of 4 KiB takes {} ms (99 of 100: {} ms). \
         Load before {load}, after {}; priority (nice) {}.\n",
        machine::now(),
        machine::revision(),
        effort.rounds,
        effort.round.as_secs(),
        machine::machine(),
        machine::engine(name),
        millis(median),
        millis(late),
        machine::load(),
        machine::nice(),
    );
    for contest in contests {
        let _ = write!(
            text,
            "\n### {}\n\n\
             | | decisions/s | least – most | ratio | least – most | p50 ms | p99 ms | \
             longest ms | admitted − limit |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
            contest.title
        );
        for one in &contest.rows {
            text.push_str(&row(contest, one));
        }
        for one in contest.rows.iter().filter(|one| 0 < one.contended) {
            let Row { name, contended, .. } = one;
            let _ = write!(text, "\n{name}: {contended} more calls were told `contended`.\n");
        }
    }
    text
}

/// Puts a section between its marks on the page.
pub(crate) fn write(page: &Path, name: &str, section: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(page)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return Err(io::Error::other(format!("there is no place marked for {name}")));
    };
    std::fs::write(page, format!("{before}{begin}\n{section}\n{end}{after}"))
}
