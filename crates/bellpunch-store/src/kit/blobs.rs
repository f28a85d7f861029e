//! What a blob store must keep.

use crate::{BlobName, BlobReader, BlobStore, Failure, FailureKind};

/// Puts a blob store through its promises. `blobs` is empty and takes at least 1 MiB.
///
/// # Panics
/// At the first promise that does not hold.
///
/// # Errors
/// If the storage fails.
pub fn check_blobs(blobs: &dyn BlobStore) -> Result<(), Failure> {
    let name = |name: &str| BlobName::new(name).expect("the names here are legal");
    check_written_once(blobs, &name("61/62/00"))?;
    check_dropped(blobs, &name("61/62/01"))?;
    check_large(blobs, &name("61/63/00"))?;
    check_names(blobs)?;
    for stored in blobs.list(None, 100)? {
        blobs.remove(&stored.name)?;
        blobs.remove(&stored.name)?;
        assert!(blobs.open(&stored.name)?.is_none(), "what was removed is gone");
    }
    assert!(blobs.list(None, 1)?.is_empty(), "all were listed");
    Ok(())
}

fn read_all(reader: &dyn BlobReader) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_099];
    loop {
        let offset = u64::try_from(bytes.len()).expect("memory is smaller than 2^64 bytes");
        let count = reader.read_at(offset, &mut buffer)?;
        bytes.extend_from_slice(buffer.get(..count).expect("no more than the buffer takes"));
        if count == 0 {
            let size = u64::try_from(bytes.len()).expect("memory is smaller than 2^64 bytes");
            assert_eq!(size, reader.size(), "size and bytes agree");
            return Ok(bytes);
        }
    }
}

fn content(blobs: &dyn BlobStore, name: &BlobName) -> Result<Option<Vec<u8>>, Failure> {
    blobs.open(name)?.map(|reader| read_all(&*reader)).transpose()
}

fn check_written_once(blobs: &dyn BlobStore, name: &BlobName) -> Result<(), Failure> {
    assert!(blobs.open(name)?.is_none(), "the store is empty");
    let mut first = blobs.create(name)?;
    let mut second = blobs.create(name)?;
    first.write(b"first, ")?;
    second.write(b"second")?;
    first.write(b"in two pieces")?;
    assert!(blobs.open(name)?.is_none(), "nothing is there before it is finished");
    assert!(blobs.list(None, 1)?.is_empty(), "nor listed");
    first.finish()?;
    let late = second.finish();
    let exists = |failure: Failure| failure.kind() == FailureKind::Exists;
    assert!(late.is_err_and(exists), "a late writer overwrites nothing");
    assert!(blobs.create(name).is_err_and(exists), "a name is written once");
    assert_eq!(content(blobs, name)?.as_deref(), Some(&b"first, in two pieces"[..]));
    let reader = blobs.open(name)?.expect("it was finished");
    let mut middle = [0; 5];
    assert_eq!(reader.read_at(2, &mut middle)?, 5, "a range fills its buffer");
    assert_eq!(&middle, b"rst, ");
    assert_eq!(reader.read_at(u64::MAX, &mut middle)?, 0, "beyond the end is nothing");
    Ok(())
}

fn check_dropped(blobs: &dyn BlobStore, name: &BlobName) -> Result<(), Failure> {
    let mut writer = blobs.create(name)?;
    writer.write(b"half")?;
    drop(writer);
    assert!(blobs.open(name)?.is_none(), "what was not finished was never there");
    blobs.create(name)?.finish()?;
    assert_eq!(content(blobs, name)?, Some(Vec::new()), "no bytes are bytes too");
    Ok(())
}

fn check_large(blobs: &dyn BlobStore, name: &BlobName) -> Result<(), Failure> {
    let piece: Vec<u8> = (0..=250).cycle().take(65_521).collect();
    let mut writer = blobs.create(name)?;
    for _ in 0..8 {
        writer.write(&piece)?;
    }
    writer.finish()?;
    assert_eq!(content(blobs, name)?, Some(piece.repeat(8)));
    Ok(())
}

/// Names as long as they come, and one that begins like another.
fn check_names(blobs: &dyn BlobStore) -> Result<(), Failure> {
    let mut names = Vec::new();
    for length in [1, 127, 128, 129, 255, 256, 512] {
        for tail in ["", "/6", "6/6"] {
            let name = format!("{}{tail}", "6".repeat(length));
            names.push(BlobName::new(name).expect("digits and slashes are legal"));
        }
    }
    names.sort();
    names.dedup();
    for (index, name) in names.iter().enumerate() {
        let mut writer = blobs.create(name)?;
        writer.write(&index.to_be_bytes())?;
        writer.finish()?;
    }
    for (index, name) in names.iter().enumerate() {
        let found = content(blobs, name)?;
        assert_eq!(found, Some(index.to_be_bytes().to_vec()), "{name} is itself");
    }
    let mut listed: Vec<BlobName> = Vec::new();
    loop {
        let page = blobs.list(listed.last(), 4)?;
        assert!(page.len() <= 4, "a page is no longer than asked");
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|stored| stored.name));
    }
    assert!(listed.is_sorted(), "listed in order");
    assert!(names.iter().all(|name| listed.contains(name)), "all are listed");
    let few = listed.len().checked_sub(names.len());
    assert_eq!(few, Some(3), "and none that is not there");
    Ok(())
}
