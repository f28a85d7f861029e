//! Secrets: only their hashes reach a command.
//!
//! Invariant: a secret lives in the request that brought it or the answer that shows it, and
//! nowhere else: not in a record, a journal, a log line or an error.

use std::fmt;
use std::fmt::Write as _;

use hyper::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::headers::SECRET;
use crate::problem::Problem;
use crate::reserved::MADE;

/// Random bytes of a secret that the door makes.
const MADE_BYTES: usize = 20;

/// A secret that the door made: shown once.
pub(crate) struct Made(String);

impl Made {
    /// The secret, for the one answer that shows it.
    pub(crate) fn show(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    text
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The field of a secret, and that of its hash.
pub(crate) fn plain_field(command: &str) -> Option<(&'static str, &'static str)> {
    match command {
        "uploads.create" => Some(("delete_secret", "delete_hash")),
        _ if command.starts_with("tickets.") || command == "uploads.delete" => {
            Some(("secret", "secret_hash"))
        }
        _ => None,
    }
}

/// Replaces what is secret in the content of a command by its hash, and makes what is asked for.
pub(crate) fn hash(
    command: &str,
    content: &mut Map<String, Value>,
) -> Result<Option<Made>, Problem> {
    let Some((plain, hashed)) = plain_field(command) else { return Ok(None) };
    match content.remove(plain) {
        None => {}
        Some(Value::String(_)) if content.contains_key(hashed) => {
            return Err(Problem::field(plain, &format!("stands beside `{hashed}`")));
        }
        Some(Value::String(secret)) if !secret.is_empty() => {
            content.insert(hashed.to_owned(), sha256(&secret).into());
        }
        Some(_) => return Err(Problem::field(plain, "must be a string that is not empty")),
    }
    let wanted = content.get("make_secret") == Some(&Value::Bool(true));
    if command != "tickets.create" || !wanted {
        return Ok(None);
    }
    let mut bytes = [0; MADE_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has random bits");
    let made = hex(&bytes);
    content.insert(MADE.to_owned(), sha256(&made).into());
    Ok(Some(Made(made)))
}

/// The secret of a delete stands in a header, never in a URL.
pub(crate) fn from_header(
    headers: &HeaderMap,
    content: &mut Map<String, Value>,
) -> Result<(), Problem> {
    let mut lines = headers.get_all(SECRET).iter();
    let Some(line) = lines.next() else { return Ok(()) };
    let text = line.to_str().ok().filter(|_| lines.next().is_none());
    let text = text.ok_or_else(|| Problem::field("Bellpunch-Secret", "must be one ASCII line"))?;
    if content.insert("secret".to_owned(), text.into()).is_some() {
        return Err(Problem::field("secret", "stands in Bellpunch-Secret"));
    }
    Ok(())
}
