use std::sync::Arc;

use super::{BlobStore as _, MemoryBlobs};
use crate::kit::check_blobs;
use crate::{BlobName, Clock, FailureKind, Timestamp};

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(7).unwrap()
    }
}

#[test]
fn blobs_in_memory_keep_the_promises() {
    check_blobs(&MemoryBlobs::new(Arc::new(Stopped), 1 << 20)).unwrap();
}

#[test]
fn blobs_in_memory_have_a_bound() {
    let blobs = MemoryBlobs::new(Arc::new(Stopped), 10);
    let name = |name: &str| BlobName::new(name).unwrap();
    let mut first = blobs.create(&name("a")).unwrap();
    first.write(&[1; 6]).unwrap();
    let mut second = blobs.create(&name("b")).unwrap();
    assert_eq!(second.write(&[2; 5]).unwrap_err().kind(), FailureKind::Full);
    drop(first);
    second.write(&[2; 10]).unwrap();
    second.finish().unwrap();
    assert_eq!(blobs.list(None, 9).unwrap()[0].created_at, Stopped.now());
    let mut third = blobs.create(&name("c")).unwrap();
    assert!(third.write(&[3; 1]).is_err());
    blobs.remove(&name("b")).unwrap();
    blobs.remove(&name("b")).unwrap();
    third.write(&[3; 10]).unwrap();
}
