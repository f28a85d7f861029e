//! Connections: few, kept, and given up as soon as one is in doubt.
//!
//! Invariant: a statement is sent once. What fails before it is sent may be tried on another
//! connection; once it is sent, a lost answer is told as [`Trouble::Unknown`], and the connection
//! that lost it is never used again.

use std::time::Duration;

use bellpunch_store::{Failure, FailureKind};
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod, Runtime,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::config::{ConnectError, ConnectErrorKind, PostgresConfig, parse};
use crate::failure::{Trouble, causes};
use crate::tls::connector;

/// How much longer an answer is waited for than the server works on it: then it is the server that
/// gives up, and says what became of the statement.
const GRACE: Duration = Duration::from_millis(500);
/// Connections that may turn out to be dead before a statement is sent, one after another.
const DEAD_MAX: usize = 3;

/// The connections to one database.
#[derive(Debug)]
pub(crate) struct Link {
    pool: Pool,
    timeout: Duration,
}

fn unavailable(message: impl AsRef<str>) -> Failure {
    Failure::new(FailureKind::Unavailable, message)
}

impl Link {
    /// Reads the configuration; connects to nothing yet.
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self, ConnectError> {
        let address = parse(config)?;
        let recycling_method = RecyclingMethod::Fast;
        let manager =
            Manager::from_config(address, connector(config)?, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(config.connections_max)
            // The one that was used last: its server process has all at hand.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(config.timeout))
            .create_timeout(Some(config.timeout))
            .recycle_timeout(Some(config.timeout))
            .build();
        let wrong = |cause: &dyn std::error::Error| {
            ConnectError::new(ConnectErrorKind::Config, causes(cause))
        };
        let pool = pool.map_err(|cause| wrong(&cause))?;
        Ok(Self { pool, timeout: config.timeout })
    }

    /// A connection; new if none is free.
    pub(crate) async fn connection(&self) -> Result<Object, Trouble> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Trouble::unsent(&error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => {
                let message = format!("no connection to PostgreSQL: {}", causes(&error));
                Trouble::Failed(unavailable(message))
            }
        })
    }

    /// A connection, and the statement made ready on it.
    async fn ready(&self, sql: &str) -> Result<(Object, Statement), Trouble> {
        for _ in 1..DEAD_MAX {
            let connection = self.connection().await?;
            let prepared = tokio::time::timeout(self.timeout, connection.prepare_cached(sql)).await;
            match prepared {
                Ok(Ok(statement)) => return Ok((connection, statement)),
                // It was closed while nobody used it: nothing was sent that matters.
                Ok(Err(error)) if error.as_db_error().is_none() => drop(Object::take(connection)),
                Ok(Err(error)) => return Err(Trouble::unsent(&error)),
                Err(_) => {
                    drop(Object::take(connection));
                    break;
                }
            }
        }
        Err(Trouble::Failed(unavailable("PostgreSQL does not make a statement ready in time")))
    }

    /// Sends a statement once; gives its rows.
    pub(crate) async fn rows(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Trouble> {
        let (connection, statement) = self.ready(sql).await?;
        let patience = self.timeout.saturating_add(GRACE);
        let sent = connection.query(&statement, parameters);
        let trouble = match tokio::time::timeout(patience, sent).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => Trouble::of(&error),
            Err(_) => Trouble::Unknown(unavailable("PostgreSQL did not answer in time")),
        };
        if matches!(trouble, Trouble::Unknown(_) | Trouble::Elsewhere(_)) {
            drop(Object::take(connection));
        }
        Err(trouble)
    }

    /// Closes all connections as they become free. Nothing can be sent any more.
    pub(crate) fn close(&self) {
        self.pool.close();
    }
}
