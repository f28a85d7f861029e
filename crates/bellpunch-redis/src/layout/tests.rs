use super::*;

fn key(id: &str) -> RecordKey {
    RecordKey { kind: Kind::new("quotas"), id: RecordId::stored(id) }
}

fn write(value: WriteValue) -> Write {
    let (version, at) = (Version::new(u64::MAX), Timestamp::MAX);
    Write { key: key("a\0b"), version, at, sweep_at: Some(Timestamp::EPOCH), value }
}

/// What is stored.
fn encoded(write: &Write) -> Vec<u8> {
    let (header, value) = encode(write);
    [&header, value].concat()
}

#[test]
fn writes_numbers_and_times_as_the_library_would() {
    for number in [0, 1, 9, 10, 999_999, u64::MAX - 1, u64::MAX] {
        let expected = format!("{number:020}");
        assert_eq!(version_digits(Version::new(number)), expected.as_bytes());
    }
    for nanos in [0, 1, 999_999_999, 1_000_000_000, u128::from(u64::MAX) + 1] {
        let time = Timestamp::from_nanos(nanos).unwrap();
        assert_eq!(time_digits(time), format!("{nanos:021}").as_bytes());
    }
    let last = Timestamp::MAX;
    assert_eq!(time_digits(last), format!("{:021}", last.nanos()).as_bytes());
    assert_eq!(&count_digits(4_096), b"0000004096");
    let write = write(WriteValue::Put((*b"content").into()));
    let stored = encoded(&write);
    let sum = checksum(&write.key, (&stored[..64], b"content"));
    assert_eq!(&stored[64..72], format!("{sum:08x}").as_bytes());
}

#[test]
fn reads_what_it_wrote_at_the_edges() {
    for value in [&b""[..], b"\0", &[255; 300]] {
        let write = write(WriteValue::Put(value.into()));
        let found = decode(&write.key, &encoded(&write)).unwrap();
        assert_eq!((found.version, found.at), (write.version, write.at));
        assert_eq!(found.sweep_at, Some(Timestamp::EPOCH));
        assert_eq!(found.value.as_deref(), Some(value));
    }
    let tombstone = Write { sweep_at: None, ..write(WriteValue::Delete) };
    let found = decode(&tombstone.key, &encoded(&tombstone)).unwrap();
    assert_eq!((found.sweep_at, found.value), (None, None));
}

#[test]
fn refuses_every_changed_byte_every_cut_and_another_name() {
    let write = write(WriteValue::Put((*b"content").into()));
    let stored = encoded(&write);
    for at in 0..stored.len() {
        let mut changed = stored.clone();
        changed[at] ^= 1;
        assert!(decode(&write.key, &changed).is_err(), "byte {at}");
        assert!(decode(&write.key, &stored[..at]).is_err(), "cut at {at}");
    }
    let elsewhere = decode(&key("c"), &stored).unwrap_err();
    assert_eq!(elsewhere.kind(), FailureKind::Corrupt);
}

#[test]
fn a_partition_has_one_tag_whatever_its_name() {
    let layout = Layout::new("bellpunch");
    let base = |name: &str| layout.shelf(&Partition::new(name).unwrap()).base;
    assert_eq!(base("acme"), "bellpunch:{acme}:");
    assert_eq!(base("a{b}c"), "bellpunch:{a%7Bb%7Dc}:");
    assert_eq!(base("}"), "bellpunch:{%7D}:");
    assert_eq!(base("%7D"), "bellpunch:{%257D}:", "two names never share a tag");
}

#[test]
fn members_are_in_the_order_of_keys() {
    let mut keys: Vec<_> = ["", "\0", "a", "a\0", "ab", "é"].map(key).into();
    keys.push(RecordKey { kind: Kind::new("quotasx"), id: RecordId::stored("") });
    keys.sort();
    let mut members: Vec<_> = keys.iter().map(member).collect();
    members.sort();
    let back: Vec<_> = members.iter().map(|member| key_of(member.as_bytes()).unwrap()).collect();
    assert_eq!(back, keys);
}
