//! Accounts of callers: opened, moved between, held on, closed.
//!
//! Invariant: what a caller names here is a caller's. The accounts of the book itself, `sys:…`,
//! move by the commands of retainers, invoices, payments and refunds alone.

use crate::CommandSpec;

/// The commands of accounts and transfers.
pub(crate) const COMMANDS: &[CommandSpec] = &[];
