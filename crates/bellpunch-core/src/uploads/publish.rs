//! `uploads.publish`: names bytes that are durable in the blob store.

use serde::{Deserialize, Serialize};

use super::charging;
use super::{PUBLISH_WINDOW, Payload, Upload, UploadRejection, UploadReply, earliest, find, put};
use crate::{BlobName, Command, Digest, Draft, Duration, Key, Rejection, Timestamp, Units};

/// How often one upload may be published.
const GENERATIONS_MAX: u32 = 16;

pub(super) const ORDER: &[&str] = &[
    "upload_not_found",
    "not_owner",
    "upload_deleted",
    "upload_completed",
    "upload_abandoned",
    "quota_revoked",
    "upload_lapsed",
    "upload_expired",
    "quota_expired",
    "blob_too_old",
    "payload_too_large",
    "too_many_generations",
];

/// Publishes a payload as the next generation. Sent by the door once the bytes are durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Of which upload.
    pub id: Key,
    /// Where the bytes are. Drawn by the door for each try, so not in the fingerprint: a retry with
    /// the same bytes is the same command, and its replay names the blob that was published.
    #[serde(skip_serializing)]
    pub blob: BlobName,
    /// How many they are.
    pub size: Units,
    /// Their digest.
    pub sha256: Digest,
    /// The upload's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// When the blob was begun.
    #[serde(skip_serializing)]
    pub started_at: Timestamp,
    /// How long after that a publish may commit: a setting of the door.
    #[serde(default = "publish_window", skip_serializing)]
    pub publish_window_ns: Duration,
}

const fn publish_window() -> Duration {
    PUBLISH_WINDOW
}

impl Publish {
    fn check_shape(&self) -> Result<(), UploadRejection> {
        if self.blob.owner().is_some_and(|(_, owner)| owner != self.id) {
            let reason = "is another upload's";
            return Err(UploadRejection::InvalidRequest { field: "blob", reason });
        }
        Ok(())
    }

    /// That the blob is a new one. What was replaced may be gone already.
    fn check_blob(&self, upload: &Upload) -> Result<(), UploadRejection> {
        let current = upload.payload.as_ref().map(|payload| &payload.blob);
        if current == Some(&self.blob) || upload.replaced.contains(&self.blob) {
            let reason = "was published before";
            return Err(UploadRejection::InvalidRequest { field: "blob", reason });
        }
        Ok(())
    }

    fn check_payload(
        &self,
        upload: &Upload,
        publish_before: Timestamp,
        now: Timestamp,
    ) -> Result<(), UploadRejection> {
        upload.check_time(now)?;
        if publish_before <= now {
            return Err(UploadRejection::BlobTooOld { publish_before });
        }
        if upload.size_limit < self.size {
            return Err(UploadRejection::PayloadTooLarge { limit: upload.size_limit });
        }
        let generation = upload.payload.as_ref().map_or(0, |payload| payload.generation);
        if GENERATIONS_MAX <= generation {
            return Err(UploadRejection::TooManyGenerations { max: GENERATIONS_MAX });
        }
        Ok(())
    }
}

impl Command for Publish {
    const NAME: &'static str = "uploads.publish";
    type Reply = UploadReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<UploadReply, Rejection> {
        self.check_shape()?;
        let upload = find(draft, &self.id)?;
        upload.check_owner(self.owner.as_ref())?;
        upload.check_pending()?;
        self.check_blob(&upload)?;
        let publish_before = self.started_at.plus(self.publish_window_ns).unwrap_or(Timestamp::MAX);
        let own = self.check_payload(&upload, publish_before, now).map_err(Rejection::from);
        let [revoked, expired] = charging::standing(draft, &upload, now);
        earliest(ORDER, [revoked, own.err(), expired])?;

        // Past here it succeeds.
        upload.commit_before(draft);
        draft.commit_before(publish_before);
        let mut upload = (*upload).clone();
        let mut generation = 1;
        if let Some(before) = upload.payload.take() {
            generation = before.generation.checked_add(1).expect("at most 16 generations");
            upload.replaced.push(before.blob);
        }
        upload.payload = Some(Payload {
            generation,
            blob: self.blob.clone(),
            size: self.size,
            sha256: self.sha256,
            published_at: now,
        });
        Ok(put(draft, &self.id, upload, now))
    }
}
