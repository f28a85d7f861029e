//! Sequences with known verdicts.
