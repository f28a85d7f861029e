//! Why an upload's command was refused.

use super::State;
use crate::rejection::rejections;
use crate::{Duration, Key, Limit, Timestamp, Units};

rejections! {
    /// Why not, for reasons of the upload itself; quotas and rates say no in their own words. Which
    /// of several is told is in [`super::ORDERS`].
    pub enum UploadRejection {
        /// The content makes no sense.
        Shape "invalid_request" => InvalidRequest {
            /// Which field.
            field: &'static str,
            /// What would be right.
            reason: &'static str,
        },
        /// No upload has this id.
        Existence "upload_not_found" => UploadNotFound {
            /// The id.
            id: Key,
        },
        /// The id is taken, for ever.
        Existence "upload_exists" => UploadExists {
            /// Since when.
            at: Timestamp,
        },
        /// The upload is somebody else's.
        Right "not_owner" => NotOwner {},
        /// It was created without a secret for it.
        Right "delete_not_enabled" => DeleteNotEnabled {},
        /// The secret is not the upload's.
        Right "delete_denied" => DeleteDenied {},
        /// It was deleted.
        State "upload_deleted" => UploadDeleted {
            /// When.
            at: Timestamp,
        },
        /// It was completed before.
        State "upload_completed" => UploadCompleted {
            /// When.
            at: Timestamp,
            /// With which generation.
            generation: u32,
            /// The charge it cost.
            charge: Option<Key>,
        },
        /// It was abandoned.
        State "upload_abandoned" => UploadAbandoned {
            /// When.
            at: Timestamp,
        },
        /// It was not completed.
        State "upload_pending" => UploadPending {
            /// Pending, or lapsed.
            state: State,
        },
        /// Nothing was published.
        State "payload_missing" => PayloadMissing {},
        /// Another generation was published last.
        State "generation_mismatch" => GenerationMismatch {
            /// Which one.
            generation: u32,
        },
        /// It was not completed in time.
        Time "upload_lapsed" => UploadLapsed {
            /// Until when it would have been.
            pending_until: Timestamp,
        },
        /// It is no longer usable.
        Time "upload_expired" => UploadExpired {
            /// Since when.
            expires_at: Timestamp,
        },
        /// It would be pending for too long.
        Time "ttl_too_long" => TtlTooLong {
            /// The longest that would do.
            max_ttl_ns: Duration,
        },
        /// The end would not be later than it is, or than now.
        Time "expiry_not_later" => ExpiryNotLater {
            /// The end in question.
            expires_at: Timestamp,
        },
        /// The bytes were begun too long ago: they may be gone.
        Time "blob_too_old" => BlobTooOld {
            /// Until when they could be published.
            publish_before: Timestamp,
        },
        /// More bytes than declared, or than may be.
        Amount "payload_too_large" => PayloadTooLarge {
            /// How many there may be.
            limit: Units,
        },
        /// Published too often.
        Limit "too_many_generations" => TooManyGenerations {
            /// How often it may be.
            max: u32,
        },
        /// All downloads were used.
        State "downloads_exhausted" => DownloadsExhausted {
            /// How many there were.
            downloads: Units,
            /// How many there may be.
            max_downloads: Limit,
        },
    }
}
