//! What uploads promise of bytes: a completed one has its payload, whole and unaltered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellpunch::BlobName;
use bellpunch::audit::Stored;
use bellpunch::store::BlobStore;
use bellpunch::{SystemClock, Timestamp};
use bellpunch_disk::DiskBlobs;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Found;
use crate::failure::Failure;

/// Bytes that are hashed at once.
const PIECE_BYTES: usize = 256 << 10;

/// Where the payloads are.
#[derive(Debug)]
pub(super) struct Payloads {
    blobs: Option<Arc<dyn BlobStore>>,
}

impl Payloads {
    /// None: there is no folder of payloads.
    pub(super) fn none() -> Self {
        Self { blobs: None }
    }

    pub(super) fn of(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs: Some(blobs) }
    }

    /// Those of a folder, which must not be made by looking.
    pub(super) fn open(folder: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(folder) = folder.filter(|folder| Path::is_dir(folder)) else {
            return Ok(Self::none());
        };
        let blobs = DiskBlobs::open(&folder, Arc::new(SystemClock::new()))
            .map_err(|error| Failure::could_not_run(format!("the payloads: {error}")))?;
        Ok(Self::of(Arc::new(blobs)))
    }

    /// A completed upload that may still be downloaded has the bytes that were pinned.
    pub(super) fn check(&self, stored: &Stored, now: Timestamp) -> Option<Found> {
        let upload = &stored.record;
        if stored.key.kind.name() != "uploads" || upload["status"].as_str() != Some("completed") {
            return None;
        }
        let payload = upload.get("payload").filter(|payload| !payload.is_null())?;
        // What can no longer be downloaded may have been swept.
        let expires_at = upload["expires_at"].as_str().and_then(|text| text.parse().ok());
        let expired = expires_at.is_some_and(|expires_at: Timestamp| expires_at <= now);
        let max_downloads = upload["max_downloads"].as_u64();
        let used_up = max_downloads.is_some_and(|max| Some(max) <= upload["downloads"].as_u64());
        if expired || (used_up && upload["auto_delete"].as_bool() == Some(true)) {
            return None;
        }
        let expected = format!("{} bytes of SHA-256 {}", payload["size"], payload["sha256"]);
        let found = match self.read(payload) {
            Ok(Some((size, sha256))) => format!("{size} bytes of SHA-256 \"{sha256}\""),
            Ok(None) => "nothing".to_owned(),
            Err(cause) => cause,
        };
        let differs = found != expected;
        differs.then(|| Found {
            check: "payload_present",
            record: stored.key.to_string(),
            version: stored.version,
            expected,
            found,
        })
    }

    fn read(&self, payload: &Value) -> Result<Option<(u64, String)>, String> {
        let name = payload["blob"].as_str().unwrap_or_default();
        let name = BlobName::new(name).map_err(|error| error.to_string())?;
        let Some(blobs) = &self.blobs else { return Ok(None) };
        let Some(reader) = blobs.open(&name).map_err(|failure| failure.to_string())? else {
            return Ok(None);
        };
        let (mut hash, mut offset) = (Sha256::new(), 0_u64);
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = reader.read_at(offset, &mut buffer).map_err(|f| f.to_string())?;
            if count == 0 {
                let digest = hash.finalize();
                let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                return Ok(Some((offset, hex)));
            }
            hash.update(buffer.get(..count).unwrap_or_default());
            offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}
