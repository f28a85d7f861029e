//! The engine as its callers see it, on every backend.

mod cable;
mod scripts;
mod world;
