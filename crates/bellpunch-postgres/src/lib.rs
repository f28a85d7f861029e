//! The PostgreSQL backend of Bellpunch.
