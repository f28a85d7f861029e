//! Names as the database can hold them: its text has no NUL.
//!
//! Invariant: what is escaped comes back as it was, in the same order, and a prefix stays one. A
//! name without control characters, as all names from callers are, is stored as it is.

use std::borrow::Cow;

/// The first of two characters that stand for one that text cannot hold, or for itself.
const ESCAPE: char = '\u{1}';

/// A name as it is stored.
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    if !name.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '\0' => escaped.push_str("\u{1}\u{1}"),
            ESCAPE => escaped.push_str("\u{1}\u{2}"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The name that is stored so; `None` if no name is.
pub(crate) fn unescape(stored: &str) -> Option<Cow<'_, str>> {
    if !stored.contains(ESCAPE) {
        return Some(Cow::Borrowed(stored));
    }
    let mut name = String::with_capacity(stored.len());
    let mut letters = stored.chars();
    while let Some(letter) = letters.next() {
        name.push(match letter {
            ESCAPE => match letters.next()? {
                '\u{1}' => '\0',
                '\u{2}' => ESCAPE,
                _ => return None,
            },
            other => other,
        });
    }
    Some(Cow::Owned(name))
}

/// The first text after all that begin with this one; `None`: there is no such text.
pub(crate) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        let mut after = (last..=char::MAX).skip(1);
        if let Some(next) = after.next() {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

/// The first text after this one.
pub(crate) fn just_after(text: &str) -> String {
    let mut after = text.to_owned();
    after.push(ESCAPE);
    after
}

#[cfg(test)]
mod tests;
