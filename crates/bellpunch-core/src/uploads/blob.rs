//! Which blobs are garbage.
//!
//! Invariant: to keep garbage for a while costs space; to remove bytes that somebody was promised is
//! the mistake that must not happen: a blob nobody refers to is removed only when no publish of it
//! can commit any more.

use super::{PUBLISH_WINDOW, State, Status, Upload};
use crate::{BlobName, Duration, StoredBlob, Timestamp};

impl Upload {
    /// The blobs of this upload that nobody can be given any more, as of `now`. They may be removed
    /// at once, and more than once.
    #[must_use]
    pub fn garbage(&self, now: Timestamp) -> Vec<BlobName> {
        let mut garbage = self.replaced.clone();
        if let Some(payload) = &self.payload
            && !self.needs_payload(now)
        {
            garbage.push(payload.blob.clone());
        }
        garbage
    }

    /// Whether the current payload may still be completed or given out.
    fn needs_payload(&self, now: Timestamp) -> bool {
        match self.state(now) {
            State::Pending | State::Completed => true,
            State::Lapsed | State::Abandoned | State::Deleted => false,
            State::Exhausted if !self.auto_delete => true,
            // Who was counted before may still be reading.
            State::Expired | State::Exhausted => {
                self.grants_until.is_some_and(|granted_until| now < granted_until)
            }
        }
    }
}

/// When an unpublished blob is an orphan.
#[derive(Clone, Copy, Debug)]
pub struct OrphanAge {
    /// How long after its blob's start a publish may commit.
    pub publish_window: Duration,
    /// How far clocks may be apart.
    pub clock_skew_max: Duration,
}

impl Default for OrphanAge {
    /// 24 hours and half a second.
    fn default() -> Self {
        Self { publish_window: PUBLISH_WINDOW, clock_skew_max: Duration::from_millis(500) }
    }
}

/// Whether a sweep may remove a blob. `upload` is the record of [`BlobName::owner`], read at or
/// after `now` (`None`: there is none): a publish that could still overtake the sweep would have to
/// commit later than `publish_window` after the blob's start, and that one is refused.
///
/// ```
/// use bellpunch_core::uploads::{OrphanAge, garbage};
/// use bellpunch_core::{BlobName, StoredBlob, Timestamp};
/// let blob = StoredBlob { name: BlobName::new("a")?, created_at: Timestamp::EPOCH };
/// let age = OrphanAge::default();
/// assert!(!garbage(&blob, None, age, Timestamp::EPOCH), "its publish may be on the way");
/// assert!(garbage(&blob, None, age, Timestamp::MAX));
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[must_use]
pub fn garbage(blob: &StoredBlob, upload: Option<&Upload>, age: OrphanAge, now: Timestamp) -> bool {
    if let Some(upload) = upload {
        if upload.garbage(now).contains(&blob.name) {
            return true;
        }
        if upload.payload.as_ref().is_some_and(|payload| payload.blob == blob.name) {
            return false;
        }
        // Nothing is ever published again where the status is final.
        if upload.status == Status::Deleted {
            return true;
        }
    }
    let over = blob.created_at.plus(age.publish_window);
    // An instant later too: a store may count the last one as before its deadline.
    over.and_then(|over| over.plus(age.clock_skew_max)).is_some_and(|over| over < now)
}
