use super::{Expect, Order, Step, parse, parse_compact};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");

#[test]
fn reads_every_script() {
    assert_eq!(parse(LIMITS).unwrap().len(), LIMITS.matches("== ").count());
    assert_eq!(parse(UPLOADS).unwrap().len(), UPLOADS.matches("== ").count());
    let tickets = TICKETS.lines().filter(|line| line.starts_with('T')).count();
    assert_eq!(parse_compact(TICKETS).unwrap().len(), tickets);
}
