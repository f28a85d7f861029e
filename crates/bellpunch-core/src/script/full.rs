//! The full form: `== id title ; setup ; …`, then lines of `time command => outcome`.

use super::model::{
    Alternative, Call, Expect, Expected, Field, KeyChoice, Line, Order, ParseError, Script, Step,
    Wanted,
};
use super::{value, verb};
use crate::Timestamp;

/// How often a command may be repeated.
pub(super) const REPEATS_MAX: usize = 10_000;

/// Reads scripts in the full form. Lines that begin with `#` are comments.
///
/// # Errors
/// At the first line that is not understood to its last word.
pub fn parse(text: &str) -> Result<Vec<Script>, ParseError> {
    let mut scripts: Vec<Script> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |message: String| ParseError::new(number, message);
        if let Some(head) = line.strip_prefix("==") {
            scripts.push(self::head(head, number).map_err(wrong)?);
            continue;
        }
        let Some(script) = scripts.last_mut() else {
            return Err(wrong("a script begins with `== id title`".to_owned()));
        };
        script.lines.push(self::line(line, number).map_err(wrong)?);
    }
    if let Some(script) = scripts.iter().find(|script| script.lines.is_empty()) {
        return Err(ParseError::new(script.line, "a script without lines shows nothing"));
    }
    Ok(scripts)
}

fn head(text: &str, number: usize) -> Result<Script, String> {
    let mut parts = value::split_outside_quotes(text, |c| c == ';').into_iter();
    let title = parts.next().unwrap_or_default().trim();
    let (id, rest) = title.split_once(char::is_whitespace).unwrap_or((title, ""));
    if id.is_empty() {
        return Err("a script has an id".to_owned());
    }
    // A title may have semicolons too: `NUM integer extremes; a refusal …`. What is set up is
    // known by its verb, so a part that is none is still title as long as no setup came.
    let mut setup = Vec::new();
    let mut title = rest.trim().to_owned();
    for part in parts {
        let part = part.trim();
        let verb = part.split_whitespace().next().unwrap_or_default();
        if setup.is_empty() && !matches!(verb, "quota" | "policy") {
            title.push_str("; ");
            title.push_str(part);
            continue;
        }
        setup.extend(calls(part)?);
    }
    Ok(Script { id: id.to_owned(), title, line: number, setup, lines: Vec::new() })
}

fn line(text: &str, number: usize) -> Result<Line, String> {
    let (left, right) = text.split_once("=>").ok_or("`=>` is missing")?;
    let left = left.trim();
    let (time, commands) = left.split_once(char::is_whitespace).ok_or("there is no command")?;
    let at = time_of(time)?;
    let commands = commands.trim();
    let (order, calls) = match commands.strip_prefix('|') {
        None => (Order::InTurn, calls(commands)?),
        Some(rest) => {
            let mut all = Vec::new();
            for part in value::split_outside_quotes(rest, |c| c == '|') {
                all.extend(calls(part)?);
            }
            (Order::AtOnce, all)
        }
    };
    let expect = expect(right, calls.len())?;
    Ok(Line { number, at, calls, order, expect })
}

fn time_of(text: &str) -> Result<Timestamp, String> {
    value::instant(text).ok_or_else(|| format!("`{text}` is no time"))
}

/// A command with its modifiers, as often as it is repeated.
fn calls(text: &str) -> Result<Vec<Call>, String> {
    let text = text.trim();
    let mut words = value::words(text);
    let times = take_repeats(&mut words)?;
    let call = modified(&words, text)?;
    Ok(vec![call; times])
}

/// Takes `xN` off the end.
pub(super) fn take_repeats(words: &mut Vec<&str>) -> Result<usize, String> {
    let count = words.last().and_then(|word| word.strip_prefix('x')).map(str::parse::<usize>);
    match count {
        Some(Ok(times)) if 0 < times && times <= REPEATS_MAX => {
            words.pop();
            Ok(times)
        }
        Some(Ok(times)) => Err(format!("x{times} is not from 1 to {REPEATS_MAX}")),
        Some(Err(_)) | None => Ok(1),
    }
}

fn modified(words: &[&str], text: &str) -> Result<Call, String> {
    let mut call = Call::of(text, Step::Restart);
    let mut rest = Vec::new();
    for word in words {
        if !modifier(&mut call, word)? {
            rest.push(*word);
        }
    }
    call.step = verb::step(&rest)?;
    let plain = Call::of(text, call.step.clone()) == call;
    if !call.step.is_command() && !plain {
        return Err("only commands take modifiers".to_owned());
    }
    Ok(call)
}

/// Notes a modifier; tells whether the word was one.
pub(super) fn modifier(call: &mut Call, word: &str) -> Result<bool, String> {
    if word == "dry" {
        call.dry_run = true;
    } else if word == "!lost" {
        call.lost = true;
    } else if let Some(key) = word.strip_prefix("key=") {
        let key = value::name(key).ok_or_else(|| format!("`{key}` is no key"))?;
        call.key = KeyChoice::Given(key);
    } else if let Some(until) = word.strip_prefix("!stall_commit_until=") {
        call.stall_until = Some(match until.strip_prefix('@') {
            Some(millis) => time_of(&format!("{millis}ms"))?,
            None => time_of(until)?,
        });
    } else if word.starts_with('!') {
        return Err(format!("`{word}` is no modifier"));
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn expect(text: &str, calls: usize) -> Result<Expect, String> {
    let words = value::words(text);
    let counted = words.first().is_some_and(|word| word.parse::<usize>().is_ok());
    if !counted {
        if calls != 1 {
            return Err(format!("{calls} answers are told apart by how many there are of each"));
        }
        return Ok(Expect::One(expected(&words)?));
    }
    let alternatives = words.split(|word| *word == "or").map(alternative);
    let alternatives = alternatives.collect::<Result<Vec<_>, _>>()?;
    sums_are(calls, &alternatives)?;
    Ok(Expect::Counts(alternatives))
}

/// Each alternative must speak of every answer.
pub(super) fn sums_are(calls: usize, alternatives: &[Alternative]) -> Result<(), String> {
    for alternative in alternatives {
        let sum = alternative.iter().map(|(count, _)| *count).fold(0, usize::saturating_add);
        if sum != calls {
            return Err(format!("{calls} commands have {calls} answers, not {sum}"));
        }
    }
    Ok(())
}

fn alternative(words: &[&str]) -> Result<Alternative, String> {
    let mut counts = Vec::new();
    let mut rest = words;
    while let [count, tail @ ..] = rest {
        let count: usize = count.parse().map_err(|_| format!("`{count}` is no count"))?;
        // What follows, up to the next count, is the outcome's word and its fields.
        let end = tail.iter().skip(1).position(|word| word.parse::<usize>().is_ok());
        let end = end.map_or(tail.len(), |end| end.saturating_add(1));
        let (outcome, after) = tail.split_at(end);
        counts.push((count, expected(outcome)?));
        rest = after;
    }
    if counts.is_empty() {
        return Err("an alternative is missing beside `or`".to_owned());
    }
    Ok(counts)
}

fn expected(words: &[&str]) -> Result<Expected, String> {
    let [word, fields @ ..] = words else {
        return Err("the outcome is missing".to_owned());
    };
    // A read says only its fields: `peek q => used=50` is accepted.
    let (word, fields) = if word.contains('=') { ("ok", words) } else { (*word, fields) };
    code(word)?;
    let fields = fields.iter().map(|word| field(word)).collect::<Result<_, _>>()?;
    Ok(Expected { word: word.to_owned(), fields })
}

/// Codes are words of lower-case letters.
pub(super) fn code(word: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if word.is_empty() || !word.bytes().all(legal) {
        return Err(format!("`{word}` is no outcome"));
    }
    Ok(())
}

fn field(word: &str) -> Result<Field, String> {
    let (name, text) =
        word.split_once('=').ok_or_else(|| format!("`{word}` is no field of an outcome"))?;
    Ok(Field { name: name.to_owned(), wanted: wanted(text) })
}

/// A value, a range of numbers, or `none`.
pub(super) fn wanted(text: &str) -> Wanted {
    let range = text.split_once("..").and_then(|(from, to)| {
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        Some(Wanted::Between(from, to))
    });
    match range {
        Some(range) => range,
        None if text == "none" => Wanted::Absent,
        None => Wanted::Is(text.to_owned()),
    }
}
