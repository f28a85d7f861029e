//! `uploads.complete`: pins the published payload and pays for it, in one commit.
//!
//! Invariant: a refused complete leaves payload, status and hold as they were.

use serde::{Deserialize, Serialize};

use super::charging;
use super::{Status, Upload, UploadRejection, UploadReply, earliest, find, put};
use crate::{Command, Draft, Key, Rejection, Timestamp, Units};

pub(super) const ORDER: &[&str] = &[
    "upload_not_found",
    "not_owner",
    "upload_deleted",
    "upload_completed",
    "upload_abandoned",
    "payload_missing",
    "generation_mismatch",
    "quota_revoked",
    "upload_lapsed",
    "upload_expired",
    "quota_expired",
];

/// Completes an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Which one.
    pub id: Key,
    /// Only with this payload: the one that the caller was told is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The upload's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
}

impl Complete {
    /// The size of the payload that is completed.
    fn check_payload(&self, upload: &Upload) -> Result<Units, UploadRejection> {
        let Some(payload) = &upload.payload else {
            return Err(UploadRejection::PayloadMissing {});
        };
        if self.generation.is_some_and(|generation| generation != payload.generation) {
            let generation = payload.generation;
            return Err(UploadRejection::GenerationMismatch { generation });
        }
        Ok(payload.size)
    }
}

impl Command for Complete {
    const NAME: &'static str = "uploads.complete";
    type Reply = UploadReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<UploadReply, Rejection> {
        let upload = find(draft, &self.id)?;
        upload.check_owner(self.owner.as_ref())?;
        upload.check_pending()?;
        let size = self.check_payload(&upload)?;
        let own = upload.check_time(now).map_err(Rejection::from);
        let charged =
            charging::capture(draft, (&self.id, &upload), size, now).map_err(Rejection::from);
        earliest(ORDER, [charged.as_ref().err().cloned(), own.err()])?;
        let charged = charged?;

        // Past here it succeeds.
        upload.commit_before(draft);
        let completed_at = Some(now);
        let status = Status::Completed;
        let upload = Upload { status, charged, completed_at, ..(*upload).clone() };
        Ok(put(draft, &self.id, upload, now))
    }
}
