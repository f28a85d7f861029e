use super::hash;

#[test]
fn locks_tell_records_apart_and_never_change() {
    // Nodes of two releases lock the same records by the same numbers.
    assert_eq!(hash(["p", "records", "a"]), hash(["p", "records", "a"]));
    assert_ne!(hash(["p", "records", "a"]), hash(["p", "record", "sa"]));
    assert_ne!(hash(["p", "records"]), hash(["p", "records", ""]));
    assert_eq!([hash([]), hash(["default", "quotas", "q"])], [1_339_080_641, 762_831_171]);
}
