//! Which server has a partition.

use std::sync::Arc;

use bellpunch_store::Failure;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, ServerError, TlsCertificates};

use crate::promise::{Promise, Way};
use crate::server::{Server, Target, Terms};
use crate::{ConnectError, ConnectErrorKind, RedisConfig};

/// How the servers are found, as the address says.
#[derive(Clone, Debug)]
pub(crate) enum Scheme {
    One(ConnectionInfo),
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String, tls: bool },
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
                Ok(Self::Sentinel { sentinels, master: master.to_owned(), tls })
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

/// A client of one server.
pub(crate) fn client(info: ConnectionInfo, config: &RedisConfig) -> Result<Client, ConnectError> {
    let encrypted = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
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
}

impl Topology {
    pub(crate) fn new(
        scheme: Scheme,
        config: &RedisConfig,
        terms: &Arc<Terms>,
    ) -> Result<Self, ConnectError> {
        let server = |target| Arc::new(Server::new(target, Arc::clone(terms)));
        match scheme {
            Scheme::One(info) => {
                Ok(Self::One(server(Target::Client(Box::new(client(info, config)?)))))
            }
            Scheme::Sentinel { sentinels, master, tls } => {
                let client = sentinel((sentinels, &master), tls, config)?;
                let target = Target::Sentinel(tokio::sync::Mutex::new(Box::new(client)));
                Ok(Self::One(server(target)))
            }
            Scheme::Cluster(_) => Err(config_error("clusters come next")),
        }
    }
}

impl Topology {
    /// The server that has a key.
    pub(crate) async fn server(&self, _: &[u8]) -> Result<Arc<Server>, Failure> {
        match self {
            Self::One(server) => Ok(Arc::clone(server)),
        }
    }

    /// Whether an error told where to ask instead.
    pub(crate) async fn follow(&self, _: &ServerError) -> bool {
        match self {
            Self::One(_) => false,
        }
    }

    /// What all servers promise.
    pub(crate) async fn promise(&self) -> Result<Promise, ConnectError> {
        match self {
            Self::One(server) => server.promise().await,
        }
    }

    /// Looks at all servers once more.
    pub(crate) async fn check(&self) {
        match self {
            Self::One(server) => server.check().await,
        }
    }

    /// Nothing is sent until the servers have been looked at again.
    pub(crate) fn refuse(&self, failure: &Failure) {
        match self {
            Self::One(server) => server.refuse(failure),
        }
    }

    /// Closes all connections.
    pub(crate) async fn disconnect(&self) {
        match self {
            Self::One(server) => server.disconnect().await,
        }
    }
}

fn sentinel(
    (sentinels, master): (Vec<ConnectionInfo>, &str),
    tls: bool,
    config: &RedisConfig,
) -> Result<redis::sentinel::SentinelClient, ConnectError> {
    let settings = sentinels.first().map(|info| info.redis_settings().clone());
    let addresses = sentinels.iter().map(|info| info.addr().clone());
    let build = || {
        let mut builder =
            SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
        if let Some(settings) = settings {
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(name) = settings.username() {
                builder = builder.set_client_to_redis_username(name);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_redis_password(password);
            }
        }
        if tls {
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
