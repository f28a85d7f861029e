//! What a server's settings promise, as it says itself.
//!
//! Invariant: what a server does not say is taken for the worst that it could be. Why a pure
//! function of its answers: managed servers hide some, and each combination has its test.

use std::collections::BTreeMap;

use bellpunch_store::{Risk, Survives};

/// The oldest that is served: the first that replicates what a script did, and says its eviction.
const VERSION_MIN: (u32, u32) = (6, 2);
/// The settings that matter.
pub(crate) const SETTINGS: [&str; 4] =
    ["appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"];

/// What a server said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// `INFO`, line by line.
    pub(crate) info: BTreeMap<String, String>,
    /// Of [`SETTINGS`] those that `CONFIG GET` told.
    pub(crate) settings: BTreeMap<String, String>,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Whatever answers at an address.
    Address,
    /// Something may put another server in its place.
    Failover,
}

/// What it promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Promise {
    pub(crate) survives: Survives,
    pub(crate) risk: Option<Risk>,
}

/// Why it cannot be used at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// As it is set, it may drop or change what it acknowledged.
    Unsafe(String),
    /// It is not ready.
    NotReady(String),
}

impl Answers {
    /// Takes `INFO` apart.
    pub(crate) fn info(text: &str) -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.trim().split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn line(&self, name: &str) -> Option<&str> {
        self.info.get(name).map(String::as_str)
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Its version. Valkey says in `redis_version` which Redis it is compatible with.
    fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.line("redis_version")?.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// What its settings promise.
    pub(crate) fn promise(&self, way: Way) -> Result<Promise, Refusal> {
        let unsafe_for = |what: String| Err(Refusal::Unsafe(what));
        let version = self.version();
        if version.is_none_or(|version| version < VERSION_MIN) {
            let found = self.line("redis_version").unwrap_or("a server that does not say");
            return unsafe_for(format!("Redis 6.2 or Valkey is needed, found {found}: upgrade it"));
        }
        if self.line("loading").is_some_and(|loading| loading != "0") {
            return Err(Refusal::NotReady("the server is loading its data; try again".to_owned()));
        }
        if self.line("role") != Some("master") {
            return unsafe_for(
                "the server is a replica, or does not say what it is: name its primary".to_owned(),
            );
        }
        let policy = self.setting("maxmemory-policy").or_else(|| self.line("maxmemory_policy"));
        if policy != Some("noeviction") {
            let found = policy.unwrap_or("not told");
            return unsafe_for(format!(
                "maxmemory-policy is {found}: the server may drop records; set it to noeviction"
            ));
        }
        let appended = match self.setting("appendonly") {
            Some(appendonly) => appendonly == "yes",
            None => self.line("aof_enabled") == Some("1"),
        };
        let synced = self.setting("appendfsync") == Some("always")
            && self.setting("no-appendfsync-on-rewrite") == Some("no");
        let replicas = self.line("connected_slaves") != Some("0");
        let clustered = self.line("cluster_enabled") != Some("0");
        let failover = way == Way::Failover || replicas || clustered;
        Ok(Promise {
            survives: match (appended, synced) {
                (true, true) => Survives::Machine,
                (true, false) => Survives::Process,
                (false, _) => Survives::Nothing,
            },
            risk: match (appended && synced, failover) {
                (false, _) => Some(Risk::LostOnCrash),
                (true, true) => Some(Risk::LostOnFailover),
                (true, false) => None,
            },
        })
    }
}

/// How much a risk is. Whoever accepts that a crash loses commits accepts that a failover does: a
/// crash is what brings it about.
fn rank(risk: Option<Risk>) -> u8 {
    match risk {
        None => 0,
        Some(Risk::LostOnFailover) => 1,
        Some(Risk::LostOnCrash | _) => 2,
    }
}

impl Promise {
    /// The least that several servers, or a server now and then, promise.
    pub(crate) fn and(self, other: Self) -> Self {
        let risk = if rank(self.risk) < rank(other.risk) { other.risk } else { self.risk };
        Self { survives: self.survives.min(other.survives), risk }
    }

    /// With the risk that the operator has accepted.
    pub(crate) fn accepting(self, accepted: Option<Risk>) -> Self {
        let survives = match accepted {
            Some(Risk::LostOnCrash) => self.survives.min(Survives::Process),
            Some(Risk::LostOnFailover | _) | None => self.survives,
        };
        self.and(Self { survives, risk: accepted })
    }

    /// Whether it holds what was promised before.
    pub(crate) fn holds(self, promised: Self) -> bool {
        rank(self.risk) <= rank(promised.risk) && promised.survives <= self.survives
    }
}

#[cfg(test)]
mod tests;
