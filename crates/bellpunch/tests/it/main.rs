//! The engine as its callers see it, on every backend.

mod best_effort;
mod scripts;
mod world;
