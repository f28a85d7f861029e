//! `uploads.download`: counts a download before its first byte.
//!
//! Invariant: exactly `max_downloads` are granted. The same idempotency key is the same download,
//! as everywhere; a door answers `grant_expired` where the replayed grant has ended.

use serde::{Deserialize, Serialize};

use super::{State, Status, Upload, UploadRejection, UploadReply, find, put};
use crate::{Command, Draft, Duration, Key, Timestamp, Units};

/// How long a grant lasts unless the door says otherwise.
const GRANT_TTL: Duration = Duration::from_secs(15 * 60);
/// The longest that a grant may last: garbage waits for it.
const GRANT_TTL_MAX: Duration = Duration::from_days(7);

/// Counts one download.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Of which upload.
    pub id: Key,
    /// How long it may take: a setting of the door, at most 7 days. Not in the fingerprint.
    #[serde(default = "grant_ttl", skip_serializing)]
    pub grant_ttl_ns: Duration,
}

const fn grant_ttl() -> Duration {
    GRANT_TTL
}

/// One counted download.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grant {
    /// Its id: 128 random bits.
    pub id: Key,
    /// Which payload.
    pub generation: u32,
    /// Good before this instant.
    pub expires_at: Timestamp,
}

impl Command for Download {
    const NAME: &'static str = "uploads.download";
    type Reply = UploadReply;
    type Rejection = UploadRejection;

    fn decide(
        &self,
        draft: &mut Draft<'_>,
        now: Timestamp,
    ) -> Result<UploadReply, UploadRejection> {
        if GRANT_TTL_MAX < self.grant_ttl_ns {
            let reason = "must be at most 7 days";
            return Err(UploadRejection::InvalidRequest { field: "grant_ttl_ns", reason });
        }
        let upload = find(draft, &self.id)?;
        match upload.status {
            Status::Completed => {}
            Status::Pending => {
                return Err(UploadRejection::UploadPending { state: upload.state(now) });
            }
            Status::Abandoned | Status::Deleted => upload.check_pending()?,
        }
        upload.check_expiry(now)?;
        let (downloads, max_downloads) = (upload.downloads, upload.max_downloads);
        let counted = downloads.checked_add(Units::ONE);
        let (State::Completed, Some(counted)) = (upload.state(now), counted) else {
            return Err(UploadRejection::DownloadsExhausted { downloads, max_downloads });
        };

        // Past here it succeeds.
        if let Some(expires_at) = upload.expires_at {
            draft.commit_before(expires_at);
        }
        let payload = upload.payload.as_ref().expect("what is completed has a payload");
        let expires_at = now.plus(self.grant_ttl_ns).unwrap_or(Timestamp::MAX);
        let grant = Grant { id: draft.drawn_key(), generation: payload.generation, expires_at };
        let grants_until = upload.grants_until.max(Some(expires_at));
        let upload = Upload { downloads: counted, grants_until, ..(*upload).clone() };
        let reply = put(draft, &self.id, upload, now);
        Ok(UploadReply { grant: Some(grant), ..reply })
    }
}
