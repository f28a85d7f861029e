//! Inputs that are nearly right: bits flipped, cut, spliced, numbers at their edges.

use bellpunch_fuzz::Form;

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

/// Some changes of one of the inputs.
pub(crate) fn mutated(random: &mut Random, form: Form, inputs: &[&[u8]]) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].to_vec();
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
