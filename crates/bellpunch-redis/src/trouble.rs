//! What went wrong on the way to a server, and what is certain all the same.
//!
//! Invariant: a failure is said only of what certainly had no effect; all else is unknown.

use bellpunch_store::{Failure, FailureKind};
use redis::{RedisError, ServerError};

/// Errors that a server gives before it runs anything, or a script before its first write.
const REFUSALS: [(&str, FailureKind); 15] = [
    ("OOM", FailureKind::Full),
    ("BUSY", FailureKind::Throttled),
    ("LOADING", FailureKind::Unavailable),
    ("MASTERDOWN", FailureKind::Unavailable),
    ("READONLY", FailureKind::Unavailable),
    ("CLUSTERDOWN", FailureKind::Unavailable),
    ("TRYAGAIN", FailureKind::Unavailable),
    ("ASK", FailureKind::Unavailable),
    ("MOVED", FailureKind::Unavailable),
    ("NOREPLICAS", FailureKind::Unavailable),
    ("MISCONF", FailureKind::Unavailable),
    ("NOAUTH", FailureKind::Unavailable),
    ("NOPERM", FailureKind::Unavailable),
    ("NOSCRIPT", FailureKind::Unavailable),
    ("CROSSSLOT", FailureKind::Unavailable),
];
/// What a full disk says in a `MISCONF`.
const NO_SPACE: &str = "No space left";

/// What came of asking a server.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Nothing was sent, or the server refused it before it did anything.
    Refused(Failure),
    /// The server does not know the script, and did nothing.
    NoScript(Failure),
    /// It was sent, and the connection broke, or the reply does not say what was done.
    Lost(String),
    /// It was sent, and no reply came in time.
    Late(String),
}

impl Trouble {
    /// For what changes nothing: it is unavailable either way.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::NoScript(failure) => failure,
            Self::Lost(message) | Self::Late(message) => {
                Failure::new(FailureKind::Unavailable, message)
            }
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// What a server's error reply says of the command that it answers.
pub(crate) fn of_server(error: &ServerError) -> Trouble {
    let known = REFUSALS.iter().find(|(code, _)| *code == error.code());
    let details = error.details().unwrap_or_default();
    match known {
        Some((code @ "NOSCRIPT", kind)) => Trouble::NoScript(refusal((*kind, code), details)),
        Some((code, kind)) => Trouble::Refused(refusal((*kind, code), details)),
        None => Trouble::Lost(format!("Redis: {} {details}", error.code())),
    }
}

/// What an error says that stopped a script before it wrote anything for a commit.
pub(crate) fn of_script(text: &str) -> Failure {
    let word = |code: &str| text.split(|c: char| !c.is_ascii_uppercase()).any(|word| word == code);
    let known = REFUSALS.iter().find(|(code, _)| word(code));
    known.map_or_else(
        || Failure::new(FailureKind::Unavailable, format!("Redis: {text}")),
        |(code, kind)| refusal((*kind, code), text),
    )
}

fn refusal((kind, code): (FailureKind, &str), details: &str) -> Failure {
    let kind = if details.contains(NO_SPACE) { FailureKind::Full } else { kind };
    Failure::new(kind, format!("Redis refuses it ({code}): {details}"))
}

/// A server that could not be reached.
pub(crate) fn unreachable(error: &RedisError) -> Failure {
    Failure::new(FailureKind::Unavailable, format!("Redis cannot be reached: {error}"))
}

#[cfg(test)]
mod tests;
