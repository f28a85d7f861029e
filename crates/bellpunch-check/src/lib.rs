//! Judges what happened: histories of calls and replies, against what the rules promise.
//!
//! A history is what callers saw: when each call was sent, when and how it was answered. The
//! checkers decide whether one order of the calls explains all of it. Everything here is written
//! from the rules' description and shares no code with the rules, so that a mistake has to be made
//! twice to stay unseen.
//!
//! Invariant: a verdict of *pass* means that every call was explained. What cannot be decided is
//! *inconclusive*, and that is never a pass.

mod black_box;
mod calls;
pub mod history;
pub mod instant;
pub mod judge;
pub mod model;
pub mod recorder;
mod wgl;
mod witness;
