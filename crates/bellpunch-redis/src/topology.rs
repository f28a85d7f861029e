//! Which server has a partition.

use std::sync::Arc;

use bellpunch_store::Failure;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ServerError, ServerErrorKind,
    TlsCertificates,
};

use crate::cluster::Cluster;
use crate::promise::{Promise, Way};
use crate::server::{Server, Target, Terms};
use crate::{ConnectError, ConnectErrorKind, RedisConfig};

/// How the servers are found, as the address says.
#[derive(Clone, Debug)]
pub(crate) enum Scheme {
    One(ConnectionInfo),
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String },
    Cluster(Vec<ConnectionInfo>),
}

fn config_error(message: impl Into<String>) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Config, message)
}

impl Scheme {
    /// Takes an address apart.
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(config_error("the address of Redis begins with redis:// or the like"));
        };
        let (base, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = matches!(base, "rediss" | "valkeys");
        if !(tls || matches!(base, "redis" | "valkey")) {
            return Err(config_error(format!("{base}:// is no address of Redis")));
        }
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (format!("{user}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let one = |host: &str, path: &str| {
            let url = format!("{base}://{user}{host}/{path}");
            // The message would show the password.
            url.into_connection_info().map_err(|_| {
                config_error(format!("{base}://{host}/{path} is not an address of Redis"))
            })
        };
        let all = |path: &str| {
            hosts.split(',').map(|host| one(host, path)).collect::<Result<Vec<_>, _>>()
        };
        match form {
            "" => Ok(Self::One(one(hosts, path)?)),
            "cluster" if path.is_empty() => Ok(Self::Cluster(all("")?)),
            "cluster" => Err(config_error("a cluster has one database: leave its number out")),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    let message = "after the sentinels comes /NAME, what they call the primary";
                    return Err(config_error(message));
                }
                let sentinels = all(database)?;
                Ok(Self::Sentinel { sentinels, master: master.to_owned() })
            }
            other => Err(config_error(format!("{base}+{other}:// is no address of Redis"))),
        }
    }

    /// Whether something may put another server in the place of one.
    pub(crate) const fn way(&self) -> Way {
        match self {
            Self::One(_) => Way::Address,
            Self::Sentinel { .. } | Self::Cluster(_) => Way::Failover,
        }
    }
}

/// Sends what there is: else a commit waits until the one before it is acknowledged, which the
/// server does with its reply.
fn at_once() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// A client of one server.
pub(crate) fn client(info: ConnectionInfo, config: &RedisConfig) -> Result<Client, ConnectError> {
    let encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let info = info.set_tcp_settings(at_once());
    let client = match &config.root_certificates {
        Some(pem) if encrypted => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
            Client::build_with_tls(info, certificates)
        }
        Some(_) | None => Client::open(info),
    };
    client.map_err(|error| config_error(format!("Redis: {error}")))
}

/// Where all commits go, or where those of a partition go.
#[derive(Debug)]
pub(crate) enum Topology {
    One(Arc<Server>),
    Cluster(Box<Cluster>),
}

impl Topology {
    pub(crate) fn new(
        scheme: Scheme,
        config: &RedisConfig,
        terms: &Arc<Terms>,
    ) -> Result<Self, ConnectError> {
        let one = |target| Self::One(Arc::new(Server::new(target, Arc::clone(terms))));
        Ok(match scheme {
            Scheme::One(info) => one(Target::Client(Box::new(client(info, config)?))),
            Scheme::Sentinel { sentinels, master } => {
                let client = sentinel(sentinels, &master, config)?;
                one(Target::Sentinel(tokio::sync::Mutex::new(Box::new(client))))
            }
            Scheme::Cluster(seeds) => {
                Self::Cluster(Box::new(Cluster::new(seeds, config, Arc::clone(terms))))
            }
        })
    }

    /// The server that has a key.
    pub(crate) async fn server(&self, key: &[u8]) -> Result<Arc<Server>, Failure> {
        match self {
            Self::One(server) => Ok(Arc::clone(server)),
            Self::Cluster(cluster) => cluster.server(key).await,
        }
    }

    /// Whether an error tells that another server is to be asked instead.
    pub(crate) fn follow(&self, error: &ServerError) -> bool {
        match self {
            Self::One(_) => false,
            Self::Cluster(cluster) => {
                let moved = error.kind() == Some(ServerErrorKind::Moved);
                if moved {
                    cluster.stale();
                }
                moved
            }
        }
    }

    /// A server cannot be reached: another may have taken over.
    pub(crate) fn doubt(&self) {
        match self {
            Self::One(_) => {}
            Self::Cluster(cluster) => cluster.stale(),
        }
    }

    /// What all servers promise.
    pub(crate) async fn promise(&self) -> Result<Promise, ConnectError> {
        match self {
            Self::One(server) => server.promise().await,
            Self::Cluster(cluster) => cluster.promise().await,
        }
    }

    /// Looks at all servers once more.
    pub(crate) async fn check(&self) {
        match self {
            Self::One(server) => server.check().await,
            Self::Cluster(cluster) => cluster.check().await,
        }
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        match self {
            Self::One(server) => vec![Arc::clone(server)],
            Self::Cluster(cluster) => cluster.servers(),
        }
    }

    /// Closes all connections.
    pub(crate) async fn disconnect(&self) {
        for server in self.servers() {
            server.disconnect().await;
        }
    }
}

fn sentinel(
    sentinels: Vec<ConnectionInfo>,
    master: &str,
    config: &RedisConfig,
) -> Result<redis::sentinel::SentinelClient, ConnectError> {
    let is_encrypted = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let encrypted = sentinels.iter().any(is_encrypted);
    let settings = sentinels.first().map(|info| info.redis_settings().clone());
    let addresses = sentinels.iter().map(|info| info.addr().clone());
    let build = || {
        let mut builder =
            SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
                .set_client_to_redis_tcp_settings(at_once());
        if let Some(settings) = settings {
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(name) = settings.username() {
                builder = builder.set_client_to_redis_username(name);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_redis_password(password);
            }
        }
        if encrypted {
            builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
            if let Some(pem) = &config.root_certificates {
                let certificates =
                    TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
        }
        builder.build()
    };
    build().map_err(|error| config_error(format!("Redis: {error}")))
}
