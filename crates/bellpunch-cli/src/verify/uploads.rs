//! What uploads promise: a completed one has its payload, whole and unaltered, and was charged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellpunch::store::BlobStore;
use bellpunch::uploads::BlobName;
use bellpunch::{SystemClock, Timestamp};
use bellpunch_disk::DiskBlobs;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{time, units};
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

    /// Check, expected and found, of what an upload should be and is not.
    pub(super) fn check(
        &self,
        upload: &Value,
        now: Timestamp,
    ) -> Vec<(&'static str, String, String)> {
        let mut findings = Vec::new();
        if upload["status"].as_str() != Some("completed") {
            return findings;
        }
        let costs = upload["charge"].as_array().is_some_and(|items| !items.is_empty());
        if costs && upload.get("hold").is_none_or(Value::is_null) {
            let what = ("a hold that was captured".to_owned(), "none".to_owned());
            findings.push(("upload_charged", what.0, what.1));
        }
        let Some(payload) = upload.get("payload").filter(|payload| !payload.is_null()) else {
            let what = ("a pinned payload".to_owned(), "none".to_owned());
            findings.push(("upload_payload", what.0, what.1));
            return findings;
        };
        // What can no longer be downloaded may have been swept.
        let expired = time(upload.get("expires_at")).is_some_and(|expires_at| expires_at <= now);
        let unlimited = upload["max_downloads"].as_str() == Some("unlimited");
        let exhausted = !unlimited
            && upload["auto_delete"].as_bool() == Some(true)
            && units(upload.get("max_downloads")) <= units(upload.get("downloads"));
        if expired || exhausted {
            return findings;
        }
        let expected = format!("{} bytes of SHA-256 {}", payload["size"], payload["sha256"]);
        let found = match self.read(payload) {
            Ok(Some((size, sha256))) => format!("{size} bytes of SHA-256 \"{sha256}\""),
            Ok(None) => "nothing".to_owned(),
            Err(cause) => cause,
        };
        if found != expected {
            findings.push(("upload_payload", expected, found));
        }
        findings
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
