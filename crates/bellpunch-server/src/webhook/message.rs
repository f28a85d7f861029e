//! What a receiver is told: one message for each event of an entry, and for an entry whose command
//! was asked for.
//!
//! Invariant: a message is a function of its webhook and the entry alone, so it is the same bytes
//! under the same id whenever and by whichever node it is sent. Only its timestamp and signature
//! tell one sending from another (Standard Webhooks 1.0.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellpunch::{Entry, Partition, Timestamp};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// How many bytes a secret has.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets at once: the new one, and those that receivers may still test with.
const SECRETS_MAX: usize = 4;
/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// What messages are signed with. Never shown.
pub(super) struct Secrets(Vec<Vec<u8>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secrets {
    /// Reads secrets, one on each line.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let mut secrets = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let encoded = line.strip_prefix(SECRET_PREFIX);
            let encoded = encoded.ok_or("a secret is `whsec_` and then base64")?;
            let bytes =
                STANDARD.decode(encoded).map_err(|_| "after `whsec_` comes base64 (RFC 4648)")?;
            if !SECRET_BYTES.contains(&bytes.len()) {
                return Err("a secret has 24 to 64 bytes");
            }
            secrets.push(bytes);
        }
        if secrets.is_empty() || SECRETS_MAX < secrets.len() {
            return Err("there are 1 to 4 secrets, each on a line");
        }
        Ok(Self(secrets))
    }

    /// A signature by each secret: a receiver needs to know one of them.
    pub(super) fn sign(&self, message: &Message, timestamp: &str) -> String {
        let sign = |secret: &Vec<u8>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
            for part in [message.id.as_bytes(), b".", timestamp.as_bytes(), b".", &message.body] {
                mac.update(part);
            }
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
}

impl Message {
    /// `content` is what of the message is not told of every one.
    fn new(
        webhook: &str,
        (of, entry): (&Partition, &Entry),
        (place, name, data): (&str, &str, Value),
    ) -> Self {
        let seq = entry.seq.to_string();
        let mut hash = Sha256::new();
        for part in [webhook, of.as_str(), &seq, place] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (half, _) = digest.split_at(16);
        let id = half.iter().fold("msg_".to_owned(), |id, byte| id + &format!("{byte:02x}"));
        let body = json!({
            "type": name, "timestamp": entry.at, "partition": of, "seq": entry.seq,
            "command": entry.command, "data": data,
        });
        Self { id, body: body.to_string().into() }
    }
}

/// What a receiver wants to be told of.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) events: Vec<String>,
    pub(super) commands: Vec<String>,
}

impl Wanted {
    /// The messages of an entry: of its command first, then of its events in their order.
    pub(super) fn messages(
        &self,
        webhook: &str,
        (of, entry): (&Partition, &Entry),
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        if self.commands.iter().any(|wanted| matches(wanted, &entry.command)) {
            let data = json!({ "versions": entry.versions });
            messages.push(Message::new(webhook, (of, entry), ("command", &entry.command, data)));
        }
        for (index, event) in entry.events.iter().enumerate() {
            let mut data: Map<String, Value> = event.as_object().cloned().unwrap_or_default();
            let name = data.remove("event");
            let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
            if self.events.iter().any(|wanted| wanted == "*" || wanted == name) {
                let place = format!("events/{index}");
                let told = (place.as_str(), name, Value::Object(data));
                messages.push(Message::new(webhook, (of, entry), told));
            }
        }
        messages
    }
}

/// `quotas.consume`, all of `quotas.*`, or `*`.
pub(super) fn matches(wanted: &str, command: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => command.starts_with(prefix),
        None => wanted == command,
    }
}

/// The seconds of a sending, as its header has them.
pub(super) fn timestamp(now: Timestamp) -> String {
    now.nanos().checked_div(1_000_000_000).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
