//! Sequences of commands with known answers.
