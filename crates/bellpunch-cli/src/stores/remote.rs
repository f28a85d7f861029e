//! Stores on a server: PostgreSQL and Redis, each behind a feature of the build.
//!
//! Invariant: no message has the password of a URL, whoever wrote it. A build without an engine
//! knows its URLs all the same, and says how to build it.

use std::sync::Arc;

use bellpunch::store::Store;

use crate::config::StoreSettings;
use crate::failure::Failure;
#[cfg(any(feature = "postgres", feature = "redis"))]
use crate::secret;

/// Which engine keeps the records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    /// PostgreSQL.
    Postgres,
    /// Redis or Valkey.
    Redis,
}

impl Engine {
    /// The engine of a URL.
    pub(super) fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "postgres" | "postgresql" => Some(Self::Postgres),
            "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster"
            | "rediss+cluster" => Some(Self::Redis),
            _ => None,
        }
    }

    #[cfg(not(all(feature = "postgres", feature = "redis")))]
    fn unbuilt(self, settings: &StoreSettings) -> Failure {
        let (name, feature, scheme) = match self {
            Self::Postgres => ("PostgreSQL", "postgres", "postgres"),
            Self::Redis => ("Redis", "redis", "redis"),
        };
        Failure::usage(format!(
            "store.url = {:?}: this build has no {name}. Build it in: \
             cargo run --features {feature} -- serve --store {scheme}://…",
            settings.shown_url()
        ))
    }
}

/// A connection to an engine, to be closed.
#[derive(Debug)]
pub(crate) enum Remote {
    /// To PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(Arc<bellpunch_postgres::PostgresStore>),
    /// To Redis.
    #[cfg(feature = "redis")]
    Redis(Arc<bellpunch_redis::RedisStore>),
}

impl Remote {
    /// Hangs up.
    pub(super) async fn close(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.close().await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.close().await,
            #[cfg(not(any(feature = "postgres", feature = "redis")))]
            _ => {}
        }
    }
}

type Connected = (Arc<dyn Store>, Remote);

/// Connects to a store.
pub(super) async fn connect(
    engine: Engine,
    settings: &StoreSettings,
) -> Result<Connected, Failure> {
    match engine {
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            let store = bellpunch_postgres::PostgresStore::connect(&postgres(settings)?).await;
            let store = Arc::new(store.map_err(|error| of_postgres(&error, settings))?);
            Ok((Arc::clone(&store) as Arc<dyn Store>, Remote::Postgres(store)))
        }
        #[cfg(feature = "redis")]
        Engine::Redis => {
            let store = bellpunch_redis::RedisStore::connect(&redis(settings)?).await;
            let store = Arc::new(store.map_err(|error| of_redis(&error, settings))?);
            Ok((Arc::clone(&store) as Arc<dyn Store>, Remote::Redis(store)))
        }
        #[cfg(not(all(feature = "postgres", feature = "redis")))]
        other => Err(other.unbuilt(settings)),
    }
}

/// Whether a store is there.
pub(super) async fn exists(engine: Engine, settings: &StoreSettings) -> Result<bool, Failure> {
    match engine {
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            let found = bellpunch_postgres::PostgresStore::exists(&postgres(settings)?).await;
            found.map_err(|error| of_postgres(&error, settings))
        }
        #[cfg(feature = "redis")]
        Engine::Redis => {
            let found = bellpunch_redis::RedisStore::exists(&redis(settings)?).await;
            found.map_err(|error| of_redis(&error, settings))
        }
        #[cfg(not(all(feature = "postgres", feature = "redis")))]
        other => Err(other.unbuilt(settings)),
    }
}

#[cfg(any(feature = "postgres", feature = "redis"))]
fn root_certificates(settings: &StoreSettings) -> Result<Option<Vec<u8>>, Failure> {
    let path = &settings.root_certificates;
    if path.is_empty() {
        return Ok(None);
    }
    crate::config::read_text(std::path::Path::new(path)).map(|text| Some(text.into_bytes()))
}

#[cfg(any(feature = "postgres", feature = "redis"))]
fn told(error: &impl std::fmt::Display, settings: &StoreSettings) -> String {
    let message = format!("the store at {} does not open: {error}", settings.shown_url());
    secret::scrubbed(&message, &settings.url)
}

#[cfg(feature = "postgres")]
fn postgres(settings: &StoreSettings) -> Result<bellpunch_postgres::PostgresConfig, Failure> {
    let mut config = bellpunch_postgres::PostgresConfig::new(&settings.url);
    config.root_certificates = root_certificates(settings)?;
    config.clock_skew_max_ns = settings.clock_skew_max_ns();
    config.timeout = settings.timeout.get();
    config.connections_max = settings.connections_max;
    config.schema.clone_from(&settings.schema);
    config.accept_risk = settings.accepted()?;
    Ok(config)
}

#[cfg(feature = "postgres")]
fn of_postgres(error: &bellpunch_postgres::ConnectError, settings: &StoreSettings) -> Failure {
    use bellpunch_postgres::ConnectErrorKind as Kind;
    let message = told(error, settings);
    match error.kind() {
        Kind::Config => Failure::usage(message),
        Kind::Unsafe | Kind::Newer => Failure::unsafe_to_run(message),
        Kind::Unreachable | Kind::Damaged | _ => Failure::could_not_run(message),
    }
}

#[cfg(feature = "redis")]
fn redis(settings: &StoreSettings) -> Result<bellpunch_redis::RedisConfig, Failure> {
    let mut config = bellpunch_redis::RedisConfig::new(&settings.url);
    config.root_certificates = root_certificates(settings)?;
    config.clock_skew_max_ns = settings.clock_skew_max_ns();
    config.timeout = settings.timeout.get();
    config.prefix.clone_from(&settings.schema);
    config.replicas_min = settings.replicas_min;
    config.accept_risk = settings.accepted()?;
    Ok(config)
}

#[cfg(feature = "redis")]
fn of_redis(error: &bellpunch_redis::ConnectError, settings: &StoreSettings) -> Failure {
    use bellpunch_redis::ConnectErrorKind as Kind;
    let message = told(error, settings);
    match error.kind() {
        Kind::Config => Failure::usage(message),
        Kind::Unsafe | Kind::Newer => Failure::unsafe_to_run(message),
        Kind::Unreachable | Kind::Damaged | _ => Failure::could_not_run(message),
    }
}

/// Makes or brings up to date what the engine needs; tells what was done, or would be.
pub(crate) async fn migrate(
    engine: Engine,
    settings: &StoreSettings,
    work: Work,
) -> Result<String, Failure> {
    match engine {
        Engine::Redis => Ok(NOTHING.to_owned()),
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            use bellpunch_postgres::{Migration, PostgresStore};
            let config = postgres(settings)?;
            let migration = match work {
                Work::Do => PostgresStore::migrate(&config).await,
                Work::Tell => PostgresStore::planned(&config).await,
            };
            let schema = &settings.schema;
            Ok(match (migration.map_err(|error| of_postgres(&error, settings))?, work) {
                (Migration::UpToDate, _) => {
                    format!("nothing to do: the schema {schema} is up to date")
                }
                (done, Work::Do) => format!("the schema {schema} was {done}"),
                (planned, Work::Tell) => format!("the schema {schema} would be {planned}"),
            })
        }
        #[cfg(not(feature = "postgres"))]
        Engine::Postgres => {
            let _ = work;
            Err(engine.unbuilt(settings))
        }
    }
}

/// What is said where there is nothing to migrate.
pub(crate) const NOTHING: &str = "nothing to do: this store needs no migration";

/// Whether a migration is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    /// It is.
    Do,
    /// It is only said what would be done.
    Tell,
}
