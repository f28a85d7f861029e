//! The right side of the compact form: answers, states after them, and remarks.
//!
//! Invariant: every word is an answer, a state or a remark of a known form; what is neither is an
//! error of the script. What the page says in a sentence (`the other a or b`, `three times`) is
//! rewritten to what it stands for.

use super::compact::parts;

type Parsed<T> = Result<T, String>;

/// One thing that the right side says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// The answer of the next command.
    Answer(String),
    /// How a ticket or an account is then.
    State(String),
    /// What the last command is answered under the same key.
    Replay(String),
}

/// Three commands of which one ends a ticket; each order has its own count.
const TERMINAL: &str = "2 ok, 1 ticket_cancelled or 1 ok, 2 ticket_rejected or \
    1 ok, 2 ticket_cancelled or 2 ok, 1 already_approved";
const ROUNDS: &str = "1,000 rounds: one terminal status, losers told it";
const REMARK: &str = "before any sweep";

/// What a script knows while its right side is read.
pub(super) struct Known<'k> {
    /// The names of its tickets.
    pub(super) tickets: &'k [String],
    /// The names of its accounts.
    pub(super) accounts: &'k [&'k str],
    /// The version of the ticket that was spoken of last.
    pub(super) version: u64,
    /// What is held for it, as a state.
    pub(super) held: &'k str,
}

impl Known<'_> {
    /// Reads the right side of a line.
    pub(super) fn read(&self, right: &str) -> Parsed<Vec<Told>> {
        let mut told = Vec::new();
        let mut word = String::new();
        for part in parts(right, ';') {
            if let Some(replay) = part.strip_prefix("its replay:") {
                told.push(Told::Replay(replay.trim().to_owned()));
            } else if let Some(others) = part.strip_prefix("the other ") {
                let Some(Told::Answer(first)) = told.pop() else {
                    return Err("the other of which two?".to_owned());
                };
                let either = others.split(" or ").map(|other| format!("{first}, 1 {other}"));
                told.push(Told::Answer(either.collect::<Vec<_>>().join(" or ")));
            } else if let Some(states) = part.strip_prefix(ROUNDS) {
                told.push(Told::Answer(TERMINAL.to_owned()));
                let states = states.trim_start_matches(',');
                told.extend(self.states(&parts(states, ','))?);
            } else {
                self.answer(part, &mut word, &mut told)?;
            }
        }
        Ok(told)
    }

    /// Whether a part says how a ticket or an account is.
    fn is_state(&self, part: &str) -> bool {
        let Some((first, _)) = part.trim().split_once(char::is_whitespace) else { return false };
        self.accounts.contains(&first) || self.tickets.iter().any(|ticket| ticket == first)
    }

    fn states(&self, pieces: &[&str]) -> Parsed<Vec<Told>> {
        let mut states = Vec::new();
        for piece in pieces {
            match *piece {
                REMARK => {}
                "its hold kept" => states.push(Told::State(self.held.to_owned())),
                state if self.is_state(state) => states.push(Told::State(state.to_owned())),
                other => return Err(format!("`{other}` is no state")),
            }
        }
        Ok(states)
    }

    /// An answer, and what follows it after commas; `word` is that of the answer before.
    fn answer(&self, part: &str, word: &mut String, told: &mut Vec<Told>) -> Parsed<()> {
        let pieces = parts(part, ',');
        let after =
            |piece: &&str| *piece == REMARK || *piece == "its hold kept" || self.is_state(piece);
        let end = pieces.iter().position(after).unwrap_or(pieces.len());
        let (head, states) = pieces.split_at(end);
        let (head, mut times) = match head.join(", ") {
            head if head.starts_with("ok") => (without_remark(&head).to_owned(), 1),
            head => (head, 1_usize),
        };
        let head = match head.strip_suffix(" three times") {
            Some(head) => {
                times = 3;
                head.to_owned()
            }
            None => head,
        };
        if !head.is_empty() {
            // `{negative}` after `invalid_amount {zero}`: the same code.
            let head = if head.starts_with('{') { format!("{word} {head}") } else { head };
            head.split('{').next().unwrap_or_default().trim().clone_into(word);
            let (head, within) = self.within(&head)?;
            told.extend(std::iter::repeat_n(Told::Answer(head), times));
            told.extend(within);
        }
        told.extend(self.states(states)?);
        Ok(())
    }

    /// Takes states out of the braces of an answer, and says which version is the same.
    fn within(&self, head: &str) -> Parsed<(String, Vec<Told>)> {
        let counted = head.starts_with(|c: char| c.is_ascii_digit());
        let Some((word, inner)) = head.split_once('{').filter(|_| !counted) else {
            return Ok((head.to_owned(), Vec::new()));
        };
        let inner = inner.trim().strip_suffix('}').ok_or("`}` is missing")?;
        let (mut fields, mut states) = (Vec::new(), Vec::new());
        for item in parts(inner, ';').into_iter().flat_map(|items| parts(items, ',')) {
            match item {
                "same version" | "that version" => fields.push(format!("version {}", self.version)),
                // The door shows it; the receipt says that it is not in it.
                "secret beside the receipt" => fields.push("secret_withheld true".to_owned()),
                state if self.is_state(state) => states.push(Told::State(state.to_owned())),
                field => fields.push(field.to_owned()),
            }
        }
        let word = word.trim();
        Ok(match fields.as_slice() {
            [] => (word.to_owned(), states),
            fields => (format!("{word} {{{}}}", fields.join(", ")), states),
        })
    }
}

/// `ok {used}: and why` without the why.
fn without_remark(text: &str) -> &str {
    let mut depth = 0_i32;
    for (index, character) in text.char_indices() {
        match character {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => return text.get(..index).unwrap_or_default(),
            _ => {}
        }
    }
    text
}
