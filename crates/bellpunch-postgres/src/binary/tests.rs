use bytes::BytesMut;
use tokio_postgres::types::{ToSql, Type};

use super::{Numeric, Uuid};

/// The digits of a number, most significant first, as the database has them.
fn digits(number: u128) -> Vec<u16> {
    let mut out = BytesMut::new();
    let _ = Numeric(number).to_sql(&Type::NUMERIC, &mut out).unwrap();
    let words: Vec<u16> =
        out.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let (head, digits) = words.split_at(4);
    let count = u16::try_from(digits.len()).unwrap();
    assert_eq!(head, [count, count.saturating_sub(1), 0, 0], "{number}");
    digits.to_vec()
}

#[test]
fn numbers_are_in_digits_of_ten_thousand() {
    assert!(digits(0).is_empty());
    assert_eq!(digits(1), [1]);
    assert_eq!(digits(9_999), [9_999]);
    assert_eq!(digits(10_000), [1, 0]);
    assert_eq!(digits(1_763_792_659_784_300_048), [176, 3792, 6597, 8430, 48]);
    let most = [340, 2823, 6692, 938, 4634, 6337, 4607, 4317, 6821, 1455];
    assert_eq!(digits(u128::MAX), most);
}

#[test]
fn ids_are_in_their_own_order() {
    let mut out = BytesMut::new();
    let _ = Uuid(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10).to_sql(&Type::UUID, &mut out).unwrap();
    assert_eq!(out.to_vec(), (1..=16).collect::<Vec<u8>>());
}
