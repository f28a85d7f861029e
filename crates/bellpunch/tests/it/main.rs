//! The engine as its callers see it, on every backend.

mod best_effort;
mod books;
mod clock_back;
mod contention;
mod numbers;
mod outage;
mod policies;
mod scripts;
mod sweeping;
mod torn;
mod world;
