//! Several nodes on one store.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::aside;
use crate::server::Server;

/// Any free port of loopback.
const ANYWHERE: &str = "127.0.0.1:0";

/// Where the nodes are: a node may come back elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Vec<SocketAddr>>>);

impl Places {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn of(&self, node: usize) -> SocketAddr {
        self.0.lock().unwrap()[node]
    }
}

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) url: String,
    pub(crate) settings: Vec<String>,
    /// Variables of its environment.
    pub(crate) environment: Vec<(String, String)>,
}

impl Start {
    pub(crate) fn new(url: String, settings: &[String]) -> Self {
        Self { url, settings: settings.to_vec(), environment: Vec::new() }
    }

    pub(crate) fn with(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().map(|&setting| setting.to_owned()));
        self
    }

    async fn at(&self, listen: String) -> Server {
        let mut command = Command::new(crate::BINARY);
        command.args(["serve", "--listen", &listen, "--store", &self.url]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.envs(self.environment.iter().cloned());
        aside(move || Server::launch(command)).await
    }
}

#[derive(Debug)]
pub(crate) struct Cluster {
    starts: Vec<Start>,
    nodes: Vec<Option<Server>>,
    pub(crate) places: Places,
}

impl Cluster {
    /// Starts so many nodes, all at once.
    pub(crate) async fn start(start: Start, count: usize) -> Self {
        Self::of(vec![start; count]).await
    }

    pub(crate) async fn of(starts: Vec<Start>) -> Self {
        let mut tasks = tokio::task::JoinSet::new();
        for (node, start) in starts.iter().cloned().enumerate() {
            tasks.spawn(async move { (node, start.at(ANYWHERE.to_owned()).await) });
        }
        let mut started = tasks.join_all().await;
        started.sort_by_key(|(node, _)| *node);
        let nodes: Vec<Server> = started.into_iter().map(|(_, server)| server).collect();
        let places = nodes.iter().map(|server| server.address).collect();
        let places = Places(Arc::new(Mutex::new(places)));
        Self { starts, nodes: nodes.into_iter().map(Some).collect(), places }
    }

    pub(crate) fn node(&self, node: usize) -> &Server {
        self.nodes[node].as_ref().expect("it runs")
    }

    /// The process ids of all nodes.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.nodes.iter().flatten().map(Server::id).collect()
    }

    /// `kill -9` of one.
    pub(crate) async fn kill(&mut self, node: usize) {
        let server = self.nodes[node].take().expect("it runs");
        aside(|| server.kill()).await;
    }

    /// SIGTERM to one, which ends in order; gives how long that took.
    pub(crate) async fn terminate(&mut self, node: usize) -> Duration {
        let server = self.nodes[node].take().expect("it runs");
        let (begun, log) = (Instant::now(), server.log_kept());
        let status = aside(|| server.terminate()).await;
        assert!(status.success(), "node {node}: {status}: {}", log.lock().unwrap());
        begun.elapsed()
    }

    /// Starts a node again where it was.
    pub(crate) async fn again(&mut self, node: usize) {
        let listen = self.places.of(node).to_string();
        self.begin(node, listen).await;
    }

    /// Starts a node again at another port.
    pub(crate) async fn elsewhere(&mut self, node: usize) {
        self.begin(node, ANYWHERE.to_owned()).await;
    }

    async fn begin(&mut self, node: usize, listen: String) {
        assert!(self.nodes[node].is_none(), "it runs");
        let server = self.starts[node].at(listen).await;
        self.places.0.lock().unwrap()[node] = server.address;
        self.nodes[node] = Some(server);
    }

    /// SIGTERM to all; each ends in order.
    pub(crate) async fn end(mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_some() {
                self.terminate(node).await;
            }
        }
    }
}
