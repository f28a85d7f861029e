//! Panics inside worlds, kept instead of printed.
//!
//! A panic in a world is a finding like any other, caught and reported once. The usual message on
//! standard error would come thousands of times while a case is shrunk.
//!
//! Invariant: only threads that are named after a world are quiet; a panic of the tool itself is
//! printed as ever.

use std::cell::RefCell;
use std::panic::{set_hook, take_hook};
use std::thread;

/// Threads of this name, or of names that begin with it, are quiet.
pub const WORLD: &str = "world";

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, panics on threads named [`WORLD`] are kept and not printed.
pub fn install() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        if thread::current().name().is_some_and(|name| name.starts_with(WORLD)) {
            LAST.set(Some(panic.to_string()));
        } else {
            usual(panic);
        }
    }));
}

/// The last panic of this thread with its place, if it was kept; forgotten afterwards.
#[must_use]
pub fn last() -> Option<String> {
    LAST.take()
}
