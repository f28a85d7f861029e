//! `chains.define`, `chains.seal`, `chains.read`.
//!
//! Invariant: a seal is given once, and never taken back: the next document carries it.

use serde::{Deserialize, Serialize};

use super::chain::{self, Chain, ChainDocument, ChainedAt, SealMode};
use super::view::{self, ChainView};
use crate::money::{Book, Decided, MoneyRejection, Moved, at_version};
use crate::{Command, Digest, Draft, IfVersion, Key, RecordId, Timestamp};

/// Defines a chain, once.
///
/// ```
/// use bellpunch_core::command;
/// let content = serde_json::json!({
///     "name": "tax", "genesis_hash": "0".repeat(64), "seal": "caller",
/// });
/// let parse = command("chains.define").expect("it is in the table").parse;
/// assert!(parse(content).is_ok());
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Define {
    /// Its name.
    pub name: Key,
    /// What its first document carries.
    pub genesis_hash: Digest,
    /// Who hashes its documents.
    pub seal: SealMode,
}

/// A chain, as it now is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainReply {
    /// The chain.
    pub chain: ChainView,
    /// What it brought about.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Command for Define {
    const NAME: &'static str = "chains.define";
    type Reply = ChainReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ChainReply> {
        let mut book = Book::open(draft, now);
        let id = RecordId::from(&self.name);
        if book.draft.get::<Chain>(&id).is_some() {
            return Err(MoneyRejection::ChainExists { id: self.name.clone() });
        }

        // Past here it succeeds.
        let chain = Chain {
            genesis_hash: self.genesis_hash,
            seal: self.seal,
            counter: 0,
            document: None,
            head: None,
            defined_at: now,
        };
        book.draft.put(&id, chain);
        let chain = view::chain(&mut book, &self.name)?;
        Ok(ChainReply { chain, moved: book.close() })
    }
}

/// Gives the last document of a chain its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Which document.
    pub document: Key,
    /// The hash of the caller's own form of it, with counter and previous hash.
    pub hash: Digest,
    /// Only at one of these versions of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<IfVersion>,
}

impl Command for Seal {
    const NAME: &'static str = "chains.seal";
    type Reply = ChainReply;
    type Rejection = MoneyRejection;

    fn begins_journal(&self) -> bool {
        true
    }

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ChainReply> {
        let mut book = Book::open(draft, now);
        let not_found = || MoneyRejection::DocumentNotFound { document: self.document.clone() };
        let at = book.draft.get::<ChainedAt>(&RecordId::from(&self.document));
        let at = at.ok_or_else(not_found)?;
        let id = chain::place_id(&at.chain, at.counter);
        let found = book.draft.get::<ChainDocument>(&id).ok_or_else(not_found)?;
        let version = book.draft.version::<Chain>(&RecordId::from(&at.chain));
        at_version(self.if_version.as_ref(), version)?;
        if let Some(hash) = found.hash {
            return Err(MoneyRejection::AlreadySealed { hash });
        }

        // Past here it succeeds.
        chain::stamp(&mut book, (&at.chain, at.counter), self.hash);
        let chain = view::chain(&mut book, &at.chain)?;
        Ok(ChainReply { chain, moved: book.close() })
    }
}

/// Shows a chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Its name.
    pub id: Key,
}

/// A chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainShown {
    /// The chain.
    pub chain: ChainView,
}

impl Command for Read {
    const NAME: &'static str = "chains.read";
    type Reply = ChainShown;
    type Rejection = MoneyRejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Decided<ChainShown> {
        let mut book = Book::look(draft, now);
        Ok(ChainShown { chain: view::chain(&mut book, &self.id)? })
    }
}
