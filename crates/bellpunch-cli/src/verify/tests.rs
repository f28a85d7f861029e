//! What the core's audit cannot see is found here.

use std::sync::Arc;

use bellpunch::BlobName;
use bellpunch::store::{BlobStore as _, MemoryBlobs};
use bellpunch::{Kind, RecordId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;

const NOW: &str = "2026-03-01T00:00:00Z";

fn key(kind: &str) -> RecordKey {
    RecordKey { kind: Kind::named(kind), id: RecordId::stored("u") }
}

#[test]
fn a_record_that_is_no_record_is_found() {
    let record = |bytes: &[u8]| {
        let value = Some(bytes.to_vec().into());
        read(key("quotas"), &Versioned { value, ..Versioned::default() })
    };
    assert_eq!(record(b"{").unwrap_err().check, "record_readable");
    assert_eq!(record(b"{}").unwrap_err().record, "quotas/u");
    assert!(record(br#"{"format": 1, "record": {}}"#).is_ok());
}

#[test]
fn a_completed_upload_has_its_bytes() {
    let blobs = Arc::new(MemoryBlobs::new(Arc::new(SystemClock::new()), 1 << 20));
    let mut writer = blobs.create(&BlobName::new("a").unwrap()).unwrap();
    writer.write(b"bytes").unwrap();
    writer.finish().unwrap();
    let payloads = uploads::Payloads::of(blobs);
    let sha256: String = Sha256::digest(b"bytes").iter().map(|b| format!("{b:02x}")).collect();
    let upload = |blob: &str, size: u64| {
        json!({
            "status": "completed", "max_downloads": "unlimited", "downloads": 0,
            "payload": {"blob": blob, "size": size, "sha256": sha256}
        })
    };
    let check = |record: Value| {
        let stored = Stored { key: key("uploads"), version: Version::new(3), record };
        payloads.check(&stored, NOW.parse().unwrap()).map(|found| found.check)
    };
    assert_eq!(check(upload("a", 5)), None);
    assert_eq!(check(upload("a", 6)), Some("payload_present"));
    assert_eq!(check(upload("b", 5)), Some("payload_present"));
    let mut altered = upload("a", 5);
    altered["payload"]["sha256"] = json!("00");
    assert_eq!(check(altered), Some("payload_present"));
    let mut expired = upload("b", 5);
    expired["expires_at"] = json!(NOW);
    assert_eq!(check(expired), None);
    let mut used_up = upload("b", 5);
    used_up["max_downloads"] = json!(2);
    used_up["downloads"] = json!(2);
    assert_eq!(check(used_up.clone()), Some("payload_present"), "a grant may still be used");
    used_up["auto_delete"] = json!(true);
    assert_eq!(check(used_up), None);
}
