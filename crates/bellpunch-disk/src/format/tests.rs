use bellpunch_store::{CommitId, Partition, Timestamp, Version};

use super::{
    BATCH_HEADER_BYTES, BatchHeader, Body, End, Frame, FrameStart, Head, Operation, Seed,
    SegmentHeader, WriteRef,
};

const SEED: Seed = Seed { store: 7, segment: 3 };

fn at(nanos: u128) -> Timestamp {
    Timestamp::from_nanos(nanos).unwrap()
}

fn write(operation: Operation, id: &str) -> WriteRef<'_> {
    let (kind, value): (_, &[u8]) = ("quotas", b"value");
    let (version, sweep_at) = (Version::new(9), Some(Timestamp::MAX));
    WriteRef { operation, version, at: at(5), sweep_at, kind, id, value }
}

fn frame(partition: &Partition) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let id = CommitId::new(u128::MAX);
    let start = FrameStart::put(&Head::Commit { id, now: at(1), at: at(2), partition }, &mut out);
    write(Operation::Put, "a").put(partition, &mut out);
    WriteRef { sweep_at: None, ..write(Operation::Delete, "") }.put(partition, &mut out);
    start.end(2, &mut out);
    out.split_off(6)
}

#[test]
fn reads_what_it_writes() {
    let header = SegmentHeader { format: 1, segment: 3, store: 7 };
    assert_eq!(SegmentHeader::decode(&header.encode()), Some(header));
    let end = End { store: 1, segment: 2, bytes: 3, batches: 4 };
    assert_eq!(End::decode(&end.encode()), Some(end));
    let mut bytes = [0; BATCH_HEADER_BYTES];
    let header = BatchHeader { number: 8, bytes: 100, frames: 2 };
    header.put(SEED, &mut bytes);
    assert_eq!(BatchHeader::decode(SEED, &bytes), Some(header));
    assert_eq!(BatchHeader::decode(Seed { segment: 4, ..SEED }, &bytes), None, "misdirected");
    assert_eq!(BatchHeader::decode(Seed { store: 8, ..SEED }, &bytes), None, "of another folder");

    let partition = Partition::new("acme").unwrap();
    let bytes = frame(&partition);
    let decoded = Frame::decode(&bytes).unwrap();
    assert_eq!(decoded.bytes, bytes.len());
    let Body::Writes { commit, partition: of, writes } = decoded.body else { panic!("a commit") };
    assert_eq!((commit, of), (Some((CommitId::new(u128::MAX), at(2))), partition.clone()));
    let [put, delete] = &writes[..] else { panic!("two writes") };
    assert_eq!(
        (put.write.operation, put.write.id, put.write.value),
        (Operation::Put, "a", &b"value"[..])
    );
    assert_eq!((put.write.version, put.write.sweep_at), (Version::new(9), Some(Timestamp::MAX)));
    assert_eq!((delete.write.operation, delete.write.sweep_at), (Operation::Delete, None));
    // Where a write is said to be, it is.
    let place = put.offset..put.offset.checked_add(put.length).unwrap();
    let alone = WriteRef::decode(&partition, &bytes[place.clone()]).unwrap();
    assert_eq!(alone.key(), put.write.key());
    let other = Partition::new("bell").unwrap();
    assert!(WriteRef::decode(&other, &bytes[place]).is_none(), "of another partition");

    let mut removed = Vec::new();
    FrameStart::put(&Head::Removed { through: 6 }, &mut removed).end(0, &mut removed);
    let decoded = Frame::decode(&removed).unwrap();
    assert!(matches!(decoded.body, Body::Removed { through: 6 }));
}

#[test]
fn refuses_every_flipped_bit_and_every_cut() {
    let partition = Partition::new("acme").unwrap();
    let bytes = frame(&partition);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(Frame::decode(&flipped).is_none(), "byte {at}, bit {bit}");
        }
        assert!(Frame::decode(&bytes[..at]).is_none(), "cut at {at}");
    }
}

#[test]
fn survives_any_bytes() {
    // Lengths and counts of all sizes in a frame whose checksum is right.
    let partition = Partition::new("acme").unwrap();
    let bytes = frame(&partition);
    for at in 8..bytes.len() {
        for byte in [0, 1, 2, 3, 4, 5, 127, 128, 254, 255] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            let crc = crc32c::crc32c(&changed[8..]).to_le_bytes();
            changed[4..8].copy_from_slice(&crc);
            let _ = Frame::decode(&changed);
        }
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 0..2_000 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u8::try_from(seed >> 56).unwrap()
            })
            .collect();
        assert!(Frame::decode(&bytes).is_none());
        assert!(SegmentHeader::decode(&bytes).is_none());
        assert!(BatchHeader::find(SEED, &bytes, 0).is_none());
        assert!(End::decode(&bytes).is_none());
    }
}
