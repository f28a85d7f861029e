//! PostgreSQL and Redis servers for tests and measurements.
//!
//! Invariant: a server listens on a free loopback port, writes to a temporary folder of its own and
//! to nothing else, and is stopped by its process id: when it is dropped, or, should the test's
//! process be killed, by a watcher that sees its pipe close. Why no containers: a test needs nothing
//! but the engine's own binaries, and those come from the distribution's packages if they are not
//! there.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test code: it starts processes, waits for them in real time, and says what it installs"
)]

mod binaries;
mod cluster;
mod postgres;
mod process;
mod redis;
mod tls;

pub use cluster::{RedisCluster, RedisSentinel};
pub use postgres::Postgres;
pub use redis::{DURABLE, Redis};
pub use tls::Identity;
