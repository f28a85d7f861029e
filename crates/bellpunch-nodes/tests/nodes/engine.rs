//! The engine below the nodes.

use std::sync::Arc;

use bellpunch_servers::{Postgres, Redis};

use crate::aside;

/// The one database that the nodes of a test share.
const DATABASE: &str = "nodes";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Postgres,
    Redis,
}

/// A running engine, durable as it is recommended.
#[derive(Debug)]
pub(crate) enum Engine {
    Postgres(Postgres),
    Redis(Redis),
}

impl Engine {
    pub(crate) async fn start(kind: Kind) -> Arc<Self> {
        let start = move || match kind {
            Kind::Postgres => {
                let server = Postgres::start();
                let _ = server.database(DATABASE);
                Self::Postgres(server)
            }
            Kind::Redis => Self::Redis(Redis::start()),
        };
        Arc::new(aside(start).await)
    }

    pub(crate) const fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::Redis(server) => server.port(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// Its address at another port: somebody stands between.
    pub(crate) fn url_at(&self, port: u16) -> String {
        let url = match self {
            Self::Postgres(server) => server.url(DATABASE),
            Self::Redis(server) => server.url(0),
        };
        url.replace(&format!(":{}/", self.port()), &format!(":{port}/"))
    }

    /// What a node must be told so that it takes quotas and tickets.
    pub(crate) fn settings(&self) -> Vec<String> {
        match self {
            Self::Postgres(_) => Vec::new(),
            // A replica may lack what was acknowledged; here there is none.
            Self::Redis(_) => vec!["store.accept_risk=lost_on_failover".to_owned()],
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(self: &Arc<Self>) {
        self.beside(|engine| match engine {
            Self::Postgres(server) => server.kill(),
            Self::Redis(server) => server.kill(),
        })
        .await;
    }

    /// Stops it in order.
    pub(crate) async fn stop(self: &Arc<Self>) {
        self.beside(|engine| match engine {
            Self::Postgres(server) => server.stop(),
            Self::Redis(server) => server.stop(),
        })
        .await;
    }

    /// Starts it again, with what it had.
    pub(crate) async fn restart(self: &Arc<Self>) {
        self.beside(|engine| match engine {
            Self::Postgres(server) => server.restart(),
            Self::Redis(server) => server.restart(),
        })
        .await;
    }

    /// Sends all its processes a signal by its name.
    pub(crate) async fn signal(self: &Arc<Self>, name: &'static str) {
        self.beside(move |engine| match engine {
            Self::Postgres(server) => server.signal_all(name),
            Self::Redis(server) => server.signal_all(name),
        })
        .await;
    }

    /// Waits until nothing that was sent to it is still being done.
    pub(crate) async fn quiet(self: &Arc<Self>) {
        let busy = "select count(*) from pg_stat_activity where state = 'active' and pid <> \
                    pg_backend_pid() and backend_type = 'client backend'";
        let quiet = async || {
            self.beside(move |engine| match engine {
                Self::Postgres(server) => server.sql(DATABASE, busy) == "0",
                // It does one thing after another: what came before this is done.
                Self::Redis(server) => server.cli(&["ping"]) == "PONG",
            })
            .await
        };
        crate::until("a quiet engine", quiet).await;
    }

    async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let engine = Arc::clone(self);
        aside(move || work(&engine)).await
    }
}
