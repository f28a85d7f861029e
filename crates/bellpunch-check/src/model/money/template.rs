//! How a number is written: `INV-{YYYY}{MM}-{N:4}`.
//!
//! Invariant: the date fields that are printed are the period, so a counter never begins again
//! without the text changing.

use jiff::civil::Date;

/// A piece of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(char),
    Year,
    ShortYear,
    Month,
    Day,
    Scope,
    Number(usize),
    Random,
}

/// See the [module](self).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Reads a template; `None` if it makes no sense.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(inner) = rest.strip_prefix('{') {
                let (name, after) = inner.split_once('}')?;
                pieces.push(match name {
                    "YYYY" => Piece::Year,
                    "YY" => Piece::ShortYear,
                    "MM" => Piece::Month,
                    "DD" => Piece::Day,
                    "scope" => Piece::Scope,
                    "R" => Piece::Random,
                    _ => {
                        let width: usize = name.strip_prefix("N:")?.parse().ok()?;
                        Piece::Number((1..=15).contains(&width).then_some(width)?)
                    }
                });
                rest = after;
            } else {
                let legal =
                    first.is_ascii_uppercase() || first.is_ascii_digit() || "._/-".contains(first);
                pieces.push(Piece::Literal(legal.then_some(first)?));
                rest = rest.get(first.len_utf8()..)?;
            }
        }
        let template = Self { pieces };
        template.is_sensible().then_some(template)
    }

    fn is_sensible(&self) -> bool {
        let place = |wanted: &[Piece]| self.pieces.iter().position(|piece| wanted.contains(piece));
        let (year, month) = (place(&[Piece::Year, Piece::ShortYear]), place(&[Piece::Month]));
        let in_order = |later: Option<usize>, earlier: Option<usize>| match (later, earlier) {
            (None, _) => true,
            (Some(later), Some(earlier)) => earlier < later,
            (Some(_), None) => false,
        };
        let ends = match self.pieces.split_last() {
            Some((Piece::Number(_), before)) => match before.last() {
                None | Some(Piece::Scope) => true,
                Some(Piece::Literal(last)) => !last.is_ascii_digit(),
                Some(_) => false,
            },
            Some((Piece::Random, _)) => true,
            Some(_) | None => false,
        };
        let counts =
            self.pieces.iter().filter(|piece| matches!(piece, Piece::Number(_) | Piece::Random));
        ends && counts.count() == 1
            && in_order(month, year)
            && in_order(place(&[Piece::Day]), month)
    }

    /// How many digits its numbers have.
    pub(super) fn width(&self) -> Option<usize> {
        match self.pieces.last() {
            Some(Piece::Number(width)) => Some(*width),
            Some(_) | None => None,
        }
    }

    /// The date fields that it prints.
    pub(super) fn period(&self, on: Date) -> String {
        self.pieces.iter().filter_map(|piece| date_field(piece, on)).collect()
    }

    /// A number; none of a template that draws its text.
    pub(super) fn print(&self, value: u64, (on, scope): (Date, &str)) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(one) => text.push(*one),
                Piece::Scope => text.push_str(scope),
                Piece::Number(width) => text.push_str(&format!("{value:0width$}")),
                Piece::Random => return None,
                Piece::Year | Piece::ShortYear | Piece::Month | Piece::Day => {
                    text.push_str(&date_field(piece, on)?);
                }
            }
        }
        Some(text)
    }
}

fn date_field(piece: &Piece, on: Date) -> Option<String> {
    match piece {
        Piece::Year => Some(format!("{:04}", on.year())),
        Piece::ShortYear => Some(format!("{:02}", on.year().rem_euclid(100))),
        Piece::Month => Some(format!("{:02}", on.month())),
        Piece::Day => Some(format!("{:02}", on.day())),
        Piece::Literal(_) | Piece::Scope | Piece::Number(_) | Piece::Random => None,
    }
}
