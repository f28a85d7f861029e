//! Numbers as the database has them, so that it parses no text.
//!
//! Invariant: the database reads what is written here as the same number. Its driver knows none beyond
//! 64 bits.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

/// Decimal digits that the database puts into one of its own.
const BASE: u128 = 10_000;
/// So many of its digits has the largest number of 128 bits.
const DIGITS_MAX: usize = 10;

/// A whole number, as a `numeric`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Numeric(pub(crate) u128);

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let mut digits = [0_u16; DIGITS_MAX];
        let (mut rest, mut count) = (self.0, 0_u16);
        for digit in digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = u16::try_from(rest.checked_rem(BASE).unwrap_or(0))?;
            rest = rest.checked_div(BASE).unwrap_or(0);
            count = count.saturating_add(1);
        }
        out.put_u16(count);
        // The weight of the first digit; then the sign, and that there are no digits after a point.
        out.put_u16(count.saturating_sub(1));
        out.put_u16(0);
        out.put_u16(0);
        let unused = DIGITS_MAX.saturating_sub(usize::from(count));
        digits.iter().skip(unused).for_each(|digit| out.put_u16(*digit));
        Ok(IsNull::No)
    }

    accepts!(NUMERIC);
    to_sql_checked!();
}

/// 128 bits, as a `uuid`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Uuid(pub(crate) u128);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u128(self.0);
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

#[cfg(test)]
mod tests;
