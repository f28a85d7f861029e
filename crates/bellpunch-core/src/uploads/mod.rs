//! Uploads: create, publish, complete, download, under a quota.
//!
//! Invariant: no completed upload without its charge, no charge without its completion: the state
//! change itself enforces the quota. Units are held when the upload is created, before a byte is
//! sent, captured in the commit that completes it, and given back by the one that ends it. Nothing
//! returns to `pending`, and a pinned generation never changes.
//!
//! Only names and hashes of bytes are here. The bytes are in a blob store, durable before the
//! publish that names them: a crash leaves an orphan, never a reference without bytes.

mod blob;
mod charging;
mod complete;
mod create;
mod download;
mod end;
mod publish;
mod rejection;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    BlobName, Category, Command, Digest, Draft, Duration, Key, Kind, Labels, Limit, Record,
    RecordId, Rejection, SecretHash, Timestamp, Units, Version,
};

pub use blob::{OrphanAge, garbage};
pub use charging::{ChargeItem, ChargeUnits};
pub use complete::Complete;
pub use create::Create;
pub use download::{Download, Grant};
pub use end::{Abandon, Delete, Extend};
pub use publish::Publish;
pub use rejection::UploadRejection;

/// How long an upload may be pending.
const PENDING_MAX: Duration = Duration::from_days(7);
/// How long after its blob's start a publish may commit, unless the door says otherwise.
const PUBLISH_WINDOW: Duration = Duration::from_days(1);

/// Where the record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Payloads may be published.
    Pending,
    /// One is pinned for ever.
    Completed,
    /// Given up by its owner.
    Abandoned,
    /// Gone; its id stays taken.
    Deleted,
}

/// What the status and the time make of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Waits for its payload.
    Pending,
    /// Was not completed in time.
    Lapsed,
    /// May be downloaded.
    Completed,
    /// Was usable until its end.
    Expired,
    /// All downloads were used.
    Exhausted,
    /// Given up by its owner.
    Abandoned,
    /// Gone.
    Deleted,
}

/// An upload as it is stored. Its id is the record's. Never removed: the id is not reused. Nothing
/// of it is swept: its end is derived, and what was granted ends by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Key>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    charge: Vec<ChargeItem>,
    /// The hold of the charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Key>,
    /// The charge that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    charged: Option<Key>,
    size_limit: Units,
    pending_until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    /// The blobs of the generations before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replaced: Vec<BlobName>,
    max_downloads: Limit,
    downloads: Units,
    auto_delete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete_hash: Option<SecretHash>,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    /// When it was abandoned or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Until when somebody who was counted may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
}

/// One published payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    generation: u32,
    blob: BlobName,
    size: Units,
    sha256: Digest,
    published_at: Timestamp,
}

impl Record for Upload {
    const KIND: Kind = Kind::new("uploads");
}

impl Upload {
    /// What status and time make of it.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> State {
        match self.status {
            Status::Pending if self.pending_until <= now => State::Lapsed,
            Status::Pending => State::Pending,
            Status::Completed if self.is_expired(now) => State::Expired,
            Status::Completed if self.max_downloads.units() <= self.downloads => State::Exhausted,
            Status::Completed => State::Completed,
            Status::Abandoned => State::Abandoned,
            Status::Deleted => State::Deleted,
        }
    }

    /// The upload as it is at `now`; the hash of its secret is never part of it.
    #[must_use]
    pub fn view(&self, id: &Key, version: Version, now: Timestamp) -> UploadView {
        let payload = self.payload.as_ref();
        let downloads_remaining = match self.max_downloads {
            Limit::Finite(max) => Some(max.minus_or_zero(self.downloads)),
            Limit::Unlimited => None,
        };
        UploadView {
            id: id.clone(),
            status: self.status,
            state: self.state(now),
            owner: self.owner.clone(),
            charge: self.charge.clone(),
            hold: self.hold.clone(),
            charged: self.charged.clone(),
            size_limit: self.size_limit,
            pending_until: self.pending_until,
            generation: payload.map(|payload| payload.generation),
            payload: payload.map(|payload| payload.blob.clone()),
            size: payload.map(|payload| payload.size),
            sha256: payload.map(|payload| payload.sha256),
            published_at: payload.map(|payload| payload.published_at),
            max_downloads: self.max_downloads,
            downloads: self.downloads,
            downloads_remaining,
            auto_delete: self.auto_delete,
            expires_at: self.expires_at,
            created_at: self.created_at,
            completed_at: self.completed_at,
            ended_at: self.ended_at,
            labels: self.labels.clone(),
            version,
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    fn check_owner(&self, owner: Option<&Key>) -> Result<(), UploadRejection> {
        match &self.owner {
            Some(expected) if Some(expected) != owner => Err(UploadRejection::NotOwner {}),
            Some(_) | None => Ok(()),
        }
    }

    /// That it waits for its payload, as far as its status says.
    fn check_pending(&self) -> Result<(), UploadRejection> {
        let ended_at = || self.ended_at.expect("what has ended says when");
        match self.status {
            Status::Pending => Ok(()),
            Status::Deleted => Err(UploadRejection::UploadDeleted { at: ended_at() }),
            Status::Abandoned => Err(UploadRejection::UploadAbandoned { at: ended_at() }),
            Status::Completed => {
                let payload = self.payload.as_ref().expect("what is completed has a payload");
                Err(UploadRejection::UploadCompleted {
                    at: self.completed_at.expect("what is completed says when"),
                    generation: payload.generation,
                    charge: self.charged.clone(),
                })
            }
        }
    }

    /// That its time as a pending one is not over.
    fn check_time(&self, now: Timestamp) -> Result<(), UploadRejection> {
        if self.pending_until <= now {
            return Err(UploadRejection::UploadLapsed { pending_until: self.pending_until });
        }
        self.check_expiry(now)
    }

    fn check_expiry(&self, now: Timestamp) -> Result<(), UploadRejection> {
        match self.expires_at {
            Some(expires_at) if expires_at <= now => {
                Err(UploadRejection::UploadExpired { expires_at })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// States until when what changes a pending upload must have landed.
    fn commit_before(&self, draft: &mut Draft<'_>) {
        draft.commit_before(self.pending_until);
        if let Some(expires_at) = self.expires_at {
            draft.commit_before(expires_at);
        }
    }
}

/// An upload as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UploadView {
    /// Its id.
    pub id: Key,
    /// As it is stored.
    pub status: Status,
    /// As it is now.
    pub state: State,
    /// Who alone may publish, complete, extend and abandon it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charge: Vec<ChargeItem>,
    /// The hold of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Key>,
    /// The charge that was written when it was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<Key>,
    /// The most bytes it may have.
    pub size_limit: Units,
    /// To be completed before this instant.
    pub pending_until: Timestamp,
    /// Which payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The blob of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<BlobName>,
    /// How many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Units>,
    /// Their digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// How often it may be downloaded.
    pub max_downloads: Limit,
    /// How often it was.
    pub downloads: Units,
    /// How often it still may be; absent if that is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloads_remaining: Option<Units>,
    /// Whether its bytes go when its downloads are used up.
    pub auto_delete: bool,
    /// Usable before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When it was abandoned or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// As they were given.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The version; rises with every change.
    pub version: Version,
}

/// What an upload's command answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UploadReply {
    /// The upload after the command.
    pub upload: UploadView,
    /// The download that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Of a delete: whether it changed anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
}

fn find(draft: &mut Draft<'_>, id: &Key) -> Result<Arc<Upload>, UploadRejection> {
    let found = draft.get::<Upload>(&RecordId::from(id));
    found.ok_or_else(|| UploadRejection::UploadNotFound { id: id.clone() })
}

/// Writes a changed upload and tells how it is now.
fn put(draft: &mut Draft<'_>, id: &Key, upload: Upload, now: Timestamp) -> UploadReply {
    let version = draft.put(&RecordId::from(id), upload.clone());
    UploadReply { upload: upload.view(id, version, now), grant: None, changed: None }
}

/// The codes of each command after those of shape, in order of precedence; what is not named comes
/// last. An upload's own reasons and those of its quotas are mixed, so the order is told here.
pub const ORDERS: &[(&str, &[&str])] = &[
    (Create::NAME, create::ORDER),
    (Publish::NAME, publish::ORDER),
    (Complete::NAME, complete::ORDER),
    (Extend::NAME, end::EXTEND_ORDER),
    (Abandon::NAME, end::ABANDON_ORDER),
];

/// The reason to tell of those that apply: the earliest in `order`. Where an upload and its quota
/// both name a longest span, the shorter one is true.
fn earliest(
    order: &[&str],
    reasons: impl IntoIterator<Item = Option<Rejection>>,
) -> Result<(), Rejection> {
    let rank = |rejection: &Rejection| match rejection.category {
        Category::Malformed => 0,
        Category::Reuse
        | Category::Absent
        | Category::State
        | Category::Gone
        | Category::Right
        | Category::Version
        | Category::Limit => {
            let place = order.iter().position(|code| *code == rejection.code);
            place.unwrap_or(order.len()).saturating_add(1)
        }
    };
    let max_ttl = |rejection: &Rejection| {
        let named = rejection.data.get("max_ttl_ns");
        named.and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX)
    };
    let precedence = |rejection: &Rejection| (rank(rejection), max_ttl(rejection));
    match reasons.into_iter().flatten().min_by_key(precedence) {
        Some(rejection) => Err(rejection),
        None => Ok(()),
    }
}

/// Tells how an upload is now. Counts nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which one.
    pub id: Key,
}

impl Command for Read {
    const NAME: &'static str = "uploads.read";
    type Reply = UploadReply;
    type Rejection = UploadRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<UploadReply, UploadRejection> {
        let upload = find(draft, &self.id)?;
        let version = draft.version::<Upload>(&RecordId::from(&self.id));
        let upload = upload.view(&self.id, version, now);
        Ok(UploadReply { upload, grant: None, changed: None })
    }
}

#[cfg(test)]
mod tests;
