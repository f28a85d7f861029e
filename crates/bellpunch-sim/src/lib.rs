//! Hostile worlds in one loop: one thread, one seed, the production executor and rules.
//!
//! Invariant: the same case gives the same trace, byte for byte.
