use super::*;

#[test]
fn a_slot_is_that_of_the_tag() {
    // The check value of CRC16/XMODEM, and the examples of the cluster specification.
    assert_eq!(slot(b"123456789"), 0x31c3);
    assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    assert_eq!(slot(b"bellpunch:{a}:r:x"), slot(b"a"));
    assert_eq!(slot(b"bellpunch:{a}:r:{x}"), slot(b"a"), "an id with braces changes nothing");
}
