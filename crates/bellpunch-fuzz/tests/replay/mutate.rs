//! Inputs that are nearly right: bits flipped, cut, spliced, numbers at their edges.

use bellpunch_fuzz::Form;
use serde_json::Value;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }
}

const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "-1",
    "1",
    "127",
    "255",
    "65535",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211455",
    "340282366920938463463374607431768211456",
    "1e999",
];

const PIECES: [&str; 26] = [
    "null",
    "true",
    "\"\"",
    "\"_\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{}",
    "[]",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\u{0}",
    "\u{feff}",
    "\u{e9}",
    "\n",
    "\r\n",
    " ",
    "=",
    "%",
    "+",
    ";",
];

const BYTES: [u8; 8] = [0, 1, 3, 0x7f, 0x80, 0xfe, 0xff, 0x20];

/// Some changes of one of the inputs: of its bytes, or of what JSON says.
pub(crate) fn mutated(random: &mut Random, form: Form, inputs: &[&[u8]]) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].to_vec();
    if form == Form::Json && random.below(3) != 0 {
        for _ in 0..=random.below(2) {
            bytes = said_otherwise(random, &bytes, inputs);
        }
        return bytes;
    }
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => bytes[at] = BYTES[random.below(BYTES.len())],
            4 => {
                let other = inputs[random.below(inputs.len())];
                let from = random.below(other.len());
                let to = from + random.below(other.len() - from.min(other.len()) + 1);
                bytes.splice(at..at, other[from.min(other.len())..to.min(other.len())].to_vec());
            }
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].repeat(1 + random.below(8));
                bytes.splice(at..at, piece);
            }
            6 => number(random, form, (&mut bytes, at)),
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

/// Puts a number at its edge where one is, in text; anywhere, in bytes.
fn number(random: &mut Random, form: Form, (bytes, at): (&mut Vec<u8>, usize)) {
    if form == Form::Binary {
        let width = 1 << random.below(4);
        let edge = [0, 1, u64::MAX, u64::MAX - 1, u64::MAX >> 1, random.next()][random.below(6)];
        for (byte, new) in bytes[at..].iter_mut().zip(edge.to_le_bytes()).take(width) {
            *byte = new;
        }
        return;
    }
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|start| at + start)
    else {
        return;
    };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[random.below(NUMBERS.len())];
    bytes.splice(start..start + digits, number.bytes());
}

/// One line of JSON with one member changed, taken away or taken from elsewhere. Most of it is still
/// read, so that what comes behind a parser is reached.
fn said_otherwise(random: &mut Random, bytes: &[u8], inputs: &[&[u8]]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let place = random.below(lines.len());
    // Before the JSON there may be words.
    let Some((words, mut value)) = value_of(&lines[place]) else { return bytes.to_vec() };
    let donor = inputs[random.below(inputs.len())];
    let donors: Vec<&[u8]> = donor.split(|byte| *byte == b'\n').collect();
    let donor = value_of(donors[random.below(donors.len())]).map(|(_, value)| value);
    let mut node = &mut value;
    loop {
        let children = match node {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        };
        if children == 0 || random.below(6) == 0 {
            break;
        }
        let child = random.below(children);
        node = match node {
            Value::Array(items) if random.below(12) == 0 => {
                items.remove(child);
                break;
            }
            Value::Object(members) if random.below(12) == 0 => {
                let name = members.keys().nth(child).unwrap().clone();
                members.remove(&name);
                break;
            }
            Value::Array(items) => &mut items[child],
            Value::Object(members) => members.values_mut().nth(child).unwrap(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => break,
        };
    }
    changed(random, node, donor);
    lines[place] = [words, serde_json::to_vec(&value).unwrap()].concat();
    lines.join(&b'\n')
}

fn value_of(line: &[u8]) -> Option<(Vec<u8>, Value)> {
    let start = line.iter().position(|byte| *byte == b'{')?;
    let (words, json) = line.split_at(start);
    Some((words.to_vec(), serde_json::from_slice(json).ok()?))
}

fn changed(random: &mut Random, node: &mut Value, donor: Option<Value>) {
    let edge = NUMBERS[random.below(NUMBERS.len())];
    *node = match (&*node, random.below(8)) {
        (_, 0) => donor.unwrap_or_default(),
        (_, 1) => Value::Null,
        (Value::Number(_), _) => serde_json::from_str(edge).unwrap_or_default(),
        (Value::String(text), 2) => Value::String(text.repeat(1 + random.below(40))),
        (Value::String(text), 3) => Value::String(format!("_{text}")),
        (Value::String(text), 4) => Value::String(text.chars().rev().collect()),
        (Value::String(text), 5) if text.bytes().any(|byte| byte.is_ascii_digit()) => {
            let digit = |letter: char| if letter.is_ascii_digit() { '9' } else { letter };
            Value::String(text.chars().map(digit).collect())
        }
        (Value::String(_), _) => Value::String(edge.to_owned()),
        (Value::Bool(is), _) => Value::Bool(!is),
        (Value::Array(items), _) => Value::Array(items.iter().chain(items).cloned().collect()),
        (Value::Null | Value::Object(_), _) => Value::Array(Vec::new()),
    };
}
