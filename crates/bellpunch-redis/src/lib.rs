//! The Redis and Valkey backend of Bellpunch.
