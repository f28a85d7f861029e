//! The engine as its callers see it, on every backend.

mod scripts;
mod world;
