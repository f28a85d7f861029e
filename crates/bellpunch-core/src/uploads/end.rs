//! `uploads.extend`, `abandon`, `delete`: how long an upload is there.

use serde::{Deserialize, Serialize};

use super::charging;
use super::{
    PENDING_MAX, State, Status, Upload, UploadRejection, UploadReply, earliest, find, put,
};
use crate::{Command, Draft, Duration, Key, Rejection, SecretHash, Timestamp};

pub(super) const EXTEND_ORDER: &[&str] = &[
    "upload_not_found",
    "not_owner",
    "upload_deleted",
    "upload_completed",
    "upload_abandoned",
    "quota_revoked",
    "upload_lapsed",
    "upload_expired",
    "quota_expired",
    "ttl_too_long",
    "expiry_not_later",
];

pub(super) const ABANDON_ORDER: &[&str] = &[
    "upload_not_found",
    "not_owner",
    "upload_deleted",
    "upload_completed",
    "upload_abandoned",
    "upload_lapsed",
];

/// Gives a pending upload, and what it holds, more time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Which upload.
    pub id: Key,
    /// How long from now; at most 7 days after it was created.
    pub ttl_ns: Duration,
    /// The upload's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
}

impl Extend {
    /// Until when the upload would be pending.
    fn check_time(&self, upload: &Upload, now: Timestamp) -> Result<Timestamp, UploadRejection> {
        upload.check_time(now)?;
        let latest = upload.created_at.plus(PENDING_MAX).unwrap_or(Timestamp::MAX);
        let pending_until = now.plus(self.ttl_ns).filter(|until| *until <= latest);
        let Some(pending_until) = pending_until else {
            let rest = latest.since(now).expect("it lapses at the latest instant, if not before");
            return Err(UploadRejection::TtlTooLong { max_ttl_ns: rest });
        };
        if pending_until <= upload.pending_until {
            return Err(UploadRejection::ExpiryNotLater { expires_at: upload.pending_until });
        }
        Ok(pending_until)
    }
}

impl Command for Extend {
    const NAME: &'static str = "uploads.extend";
    type Reply = UploadReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<UploadReply, Rejection> {
        let upload = find(draft, &self.id)?;
        upload.check_owner(self.owner.as_ref())?;
        upload.check_pending()?;
        let own = self.check_time(&upload, now).map_err(Rejection::from);
        let held = charging::extend(draft, &upload, self.ttl_ns, now).map_err(Rejection::from);
        let [revoked, expired] = charging::standing(draft, &upload, now);
        let refused = own.as_ref().err().cloned();
        earliest(EXTEND_ORDER, [held.err(), revoked, refused, expired])?;
        let pending_until = own?;

        // Past here it succeeds.
        upload.commit_before(draft);
        let upload = Upload { pending_until, ..(*upload).clone() };
        Ok(put(draft, &self.id, upload, now))
    }
}

/// Gives up a pending upload, and gives back what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Abandon {
    /// Which upload.
    pub id: Key,
    /// The upload's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
}

impl Command for Abandon {
    const NAME: &'static str = "uploads.abandon";
    type Reply = UploadReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<UploadReply, Rejection> {
        let upload = find(draft, &self.id)?;
        upload.check_owner(self.owner.as_ref())?;
        upload.check_pending()?;
        if upload.pending_until <= now {
            let pending_until = upload.pending_until;
            return Err(UploadRejection::UploadLapsed { pending_until }.into());
        }
        charging::void(draft, &upload, now)?;

        // Past here it succeeds.
        draft.commit_before(upload.pending_until);
        let (status, ended_at) = (Status::Abandoned, Some(now));
        let upload = Upload { status, ended_at, ..(*upload).clone() };
        Ok(put(draft, &self.id, upload, now))
    }
}

/// Deletes an upload, whatever became of it. Its id stays taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// Which upload.
    pub id: Key,
    /// The SHA-256 of the secret that was shown.
    pub secret_hash: SecretHash,
}

impl Command for Delete {
    const NAME: &'static str = "uploads.delete";
    type Reply = UploadReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<UploadReply, Rejection> {
        let upload = find(draft, &self.id)?;
        let Some(delete_hash) = &upload.delete_hash else {
            return Err(UploadRejection::DeleteNotEnabled {}.into());
        };
        if !delete_hash.matches(&self.secret_hash) {
            return Err(UploadRejection::DeleteDenied {}.into());
        }
        if upload.status == Status::Deleted {
            let version = draft.version::<Upload>(&crate::RecordId::from(&self.id));
            let upload = upload.view(&self.id, version, now);
            return Ok(UploadReply { upload, grant: None, changed: Some(false) });
        }
        // What lapsed gave back what it held by itself.
        if upload.state(now) == State::Pending {
            charging::void(draft, &upload, now)?;
        }

        // Past here it succeeds.
        let (status, ended_at) = (Status::Deleted, Some(now));
        let upload = Upload { status, ended_at, ..(*upload).clone() };
        let reply = put(draft, &self.id, upload, now);
        Ok(UploadReply { changed: Some(true), ..reply })
    }
}
