//! Templates: what the numbers of a series look like, `INV-{YYYY}{MM}-{N:4}`.
//!
//! Invariant: the period of a counter is the date fields that its template prints, so a counter
//! never starts again without the text changing; and from a text, its scope and its template, the
//! period and the value can be told. So two values of one scope never have one text.

use std::fmt;
use std::fmt::Write as _;

use jiff::civil::Date;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Key;

const BYTES_MAX: usize = 128;
/// A value has at most 16 digits, 2^53 − 1; a wider field would never be full.
const WIDTH_MAX: u32 = 15;
const RANDOM_DIGITS: usize = 32;

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(String),
    Field(Field),
    Scope,
    Value { width: u32 },
    Random,
}

/// A part of a date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Year,
    ShortYear,
    Month,
    Day,
}

impl Field {
    const fn digits(self) -> usize {
        match self {
            Self::Year => 4,
            Self::ShortYear | Self::Month | Self::Day => 2,
        }
    }

    fn of(self, date: Date) -> String {
        match self {
            Self::Year => format!("{:04}", date.year()),
            Self::ShortYear => format!("{:02}", date.year().rem_euclid(100)),
            Self::Month => format!("{:02}", date.month()),
            Self::Day => format!("{:02}", date.day()),
        }
    }

    fn allows(self, digits: &str) -> bool {
        let number: u32 = match digits.parse() {
            Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => number,
            Ok(_) | Err(_) => return false,
        };
        match self {
            Self::Year | Self::ShortYear => true,
            Self::Month => (1..=12).contains(&number),
            Self::Day => (1..=31).contains(&number),
        }
    }
}

/// What a number of a series is made of beside its period and scope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    /// Its place.
    Value(u64),
    /// 128 random bits, in hex.
    Random(String),
}

impl Mark {
    /// Its place, if it has one.
    pub(super) const fn value(&self) -> Option<u64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Random(_) => None,
        }
    }
}

/// A template that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template {
    text: String,
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, &'static str> {
        if BYTES_MAX < text.len() {
            return Err("is longer than 128 characters");
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if character == '{' {
                let (name, after) = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once('}'))
                    .ok_or("has a `{` without a `}`")?;
                parts.push(placeholder(name)?);
                rest = after;
            } else if is_literal(character) {
                let end = rest.find(|next| !is_literal(next)).unwrap_or(rest.len());
                let (literal, after) = rest.split_at(end);
                parts.push(Part::Literal(literal.to_owned()));
                rest = after;
            } else {
                return Err("has a character other than A to Z, 0 to 9 and . _ / -");
            }
        }
        check(&parts)?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether its numbers are random.
    pub(super) fn is_random(&self) -> bool {
        self.parts.contains(&Part::Random)
    }

    /// Whether it prints the scope.
    pub(super) fn prints_scope(&self) -> bool {
        self.parts.contains(&Part::Scope)
    }

    /// The largest value that fits its width; `None` if it prints none.
    pub(super) fn value_max(&self) -> Option<u64> {
        let width = self.parts.iter().find_map(|part| match part {
            Part::Value { width } => Some(*width),
            Part::Literal(_) | Part::Field(_) | Part::Scope | Part::Random => None,
        })?;
        10_u64.checked_pow(width)?.checked_sub(1)
    }

    /// The period of a date: the date fields printed.
    pub(super) fn period(&self, date: Date) -> String {
        self.fields().map(|field| field.of(date)).collect()
    }

    /// Whether a text can be a period of this template.
    pub(super) fn has_period(&self, period: &str) -> bool {
        let mut rest = period;
        for field in self.fields() {
            let Some((digits, after)) = rest.split_at_checked(field.digits()) else {
                return false;
            };
            if !field.allows(digits) {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(*field),
            Part::Literal(_) | Part::Scope | Part::Value { .. } | Part::Random => None,
        })
    }

    /// The text of a number.
    ///
    /// # Panics
    /// If the period, the scope or the mark is not of this template: a mistake of the rule.
    pub(super) fn render(&self, period: &str, scope: Option<&Key>, mark: &Mark) -> String {
        let mut text = String::new();
        let mut period = period;
        for part in &self.parts {
            match (part, mark) {
                (Part::Literal(literal), _) => text.push_str(literal),
                (Part::Field(field), _) => {
                    let (digits, after) =
                        period.split_at_checked(field.digits()).expect("the period has its fields");
                    text.push_str(digits);
                    period = after;
                }
                (Part::Scope, _) => {
                    text.push_str(scope.expect("a printed scope is named").as_str())
                }
                (Part::Value { width }, Mark::Value(value)) => {
                    let width = usize::try_from(*width).expect("at most 15");
                    write!(text, "{value:0width$}").expect("writing to a string succeeds");
                }
                (Part::Random, Mark::Random(digits)) => text.push_str(digits),
                (Part::Value { .. } | Part::Random, _) => unreachable!("a mark is of its template"),
            }
        }
        text
    }

    /// The period and the mark of a text; `None` if it is no number of this template and scope.
    pub(super) fn parse(&self, text: &str, scope: Option<&Key>) -> Option<(String, Mark)> {
        let mut period = String::new();
        let mut mark = None;
        let mut rest = text;
        for part in &self.parts {
            rest = match part {
                Part::Literal(literal) => rest.strip_prefix(literal.as_str())?,
                Part::Scope => rest.strip_prefix(scope?.as_str())?,
                Part::Field(field) => {
                    let (digits, after) = rest.split_at_checked(field.digits())?;
                    period.push_str(digits);
                    after
                }
                Part::Random => {
                    let (digits, after) = rest.split_at_checked(RANDOM_DIGITS)?;
                    // Nothing else was ever given, and a place is made of it.
                    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                        return None;
                    }
                    mark = Some(Mark::Random(digits.to_owned()));
                    after
                }
                Part::Value { .. } => {
                    mark = Some(Mark::Value(rest.parse().ok()?));
                    ""
                }
            };
        }
        let mark = mark.filter(|_| rest.is_empty() && self.has_period(&period))?;
        // Only the one way to write it: `+1`, or one digit less, is another text.
        (self.render(&period, scope, &mark) == text).then_some((period, mark))
    }
}

const fn is_literal(character: char) -> bool {
    matches!(character, 'A'..='Z' | '0'..='9' | '.' | '_' | '/' | '-')
}

fn placeholder(name: &str) -> Result<Part, &'static str> {
    match name {
        "YYYY" => Ok(Part::Field(Field::Year)),
        "YY" => Ok(Part::Field(Field::ShortYear)),
        "MM" => Ok(Part::Field(Field::Month)),
        "DD" => Ok(Part::Field(Field::Day)),
        "scope" => Ok(Part::Scope),
        "R" => Ok(Part::Random),
        _ => {
            let digits = name
                .strip_prefix("N:")
                .ok_or("has a field other than {YYYY} {YY} {MM} {DD} {scope} {N:width} {R}")?;
            let width = digits.parse().ok().filter(|width| (1..=WIDTH_MAX).contains(width));
            match width {
                Some(width) if width.to_string() == digits => Ok(Part::Value { width }),
                Some(_) | None => Err("has an {N:width} whose width is not 1 to 15"),
            }
        }
    }
}

fn check(parts: &[Part]) -> Result<(), &'static str> {
    let place = |wanted: fn(&Part) -> bool| parts.iter().position(wanted);
    let values = parts.iter().filter(|part| matches!(part, Part::Value { .. })).count();
    let randoms = parts.iter().filter(|part| matches!(part, Part::Random)).count();
    if values.checked_add(randoms) != Some(1) {
        return Err("must have one {N:width}, or one {R}");
    }
    let year = place(|part| matches!(part, Part::Field(Field::Year | Field::ShortYear)));
    let month = place(|part| matches!(part, Part::Field(Field::Month)));
    if month.is_some_and(|month| year.is_none_or(|year| month < year)) {
        return Err("has {MM} without a year before it");
    }
    let Some(value) = place(|part| matches!(part, Part::Value { .. })) else { return Ok(()) };
    if value.checked_add(1) != Some(parts.len()) {
        return Err("must end with {N:width}");
    }
    match value.checked_sub(1).and_then(|before| parts.get(before)) {
        Some(Part::Literal(literal)) if !literal.ends_with(|last: char| last.is_ascii_digit()) => {
            Ok(())
        }
        Some(_) | None => Err("must have a character that is no digit before {N:width}"),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}
