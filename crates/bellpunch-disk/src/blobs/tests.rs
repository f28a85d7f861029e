use std::sync::Arc;

use bellpunch_store::kit::check_blobs;
use bellpunch_store::{BlobName, BlobStore as _, Clock, Timestamp};

use super::{DiskBlobs, name_of, path_of};
use crate::OpenErrorKind;

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1_800_000_000_123_456_789).unwrap()
    }
}

fn open(path: &std::path::Path) -> DiskBlobs {
    DiskBlobs::open(path, Arc::new(Stopped)).unwrap()
}

fn name(name: &str) -> BlobName {
    BlobName::new(name).unwrap()
}

#[test]
fn blobs_on_disk_keep_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    check_blobs(&open(&folder.path().join("blobs"))).unwrap();
}

#[test]
fn blobs_on_disk_survive_and_leftovers_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let long = name(&"x/".repeat(512));
    let blobs = open(folder.path());
    for name in [&name("../up"), &long] {
        let mut writer = blobs.create(name).unwrap();
        writer.write(b"bytes").unwrap();
        writer.finish().unwrap();
    }
    let mut left = blobs.create(&name("left")).unwrap();
    left.write(b"half").unwrap();
    std::mem::forget(left);
    let locked = DiskBlobs::open(folder.path(), Arc::new(Stopped)).unwrap_err();
    assert_eq!(locked.kind(), OpenErrorKind::Locked);
    drop(blobs);
    // The forgotten writer still has the folder, as a process that was killed would not.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    assert_eq!(std::fs::read_dir(copy.path().join("temporary")).unwrap().count(), 1);

    let blobs = open(copy.path());
    assert_eq!(std::fs::read_dir(copy.path().join("temporary")).unwrap().count(), 0);
    let listed = blobs.list(None, 9).unwrap();
    let names: Vec<BlobName> = listed.iter().map(|stored| stored.name.clone()).collect();
    assert_eq!(names, [name("../up"), long.clone()]);
    assert_eq!(blobs.open(&long).unwrap().unwrap().size(), 5);
    assert!(blobs.open(&name("left")).unwrap().is_none());
}

#[test]
fn when_a_blob_was_begun_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    blobs.create(&name("a")).unwrap().finish().unwrap();
    let listed = blobs.list(None, 9).unwrap();
    // A file system may keep less than nanoseconds.
    let apart = Stopped.now().nanos().abs_diff(listed[0].created_at.nanos());
    assert!(apart < 1_000_000_000, "{listed:?}");
}

#[test]
fn a_reader_is_not_given_other_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let a = name("a");
    let mut writer = blobs.create(&a).unwrap();
    writer.write(b"bytes").unwrap();
    writer.finish().unwrap();
    let reader = blobs.open(&a).unwrap().unwrap();
    blobs.remove(&a).unwrap();
    let mut buffer = [0; 5];
    assert_eq!(reader.read_at(0, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer, b"bytes");
}

#[test]
fn names_cannot_leave_the_folder() {
    let kept = std::path::Path::new("kept");
    assert_eq!(path_of(kept, &name("..")), kept.join("2e2e"));
    let exactly = "x".repeat(100);
    assert_eq!(path_of(kept, &name(&exactly)).components().count(), 2);
    let more = "x".repeat(101);
    assert_eq!(path_of(kept, &name(&more)).components().count(), 3);
    assert_eq!(name_of("2e2e"), Some(name("..")));
    for foreign in ["lock", "2", "00"] {
        assert_eq!(name_of(foreign), None);
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
