//! The store: the trait's calls as statements, and what is remembered between them.
//!
//! Invariant: a commit is sent again here only if the server said that it took it back. Each call
//! runs as a task of the runtime that the store was opened on, so that a caller who goes away stops
//! nothing half-way, and may wait on any thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bellpunch_store::{
    BoxFuture, Commit, CommitId, CommitResult, Failure, FailureKind, Floor, Guarantee, Kind, Page,
    Partition, PartitionPage, Properties, RecordId, RecordKey, Resolution, Risk, Scan, Sharing,
    Show, Store, StoreClock, Survives, Version, Versioned,
};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::binary::Numeric;
use crate::call::{
    Answer, BYTES_MAX, COMMIT, Call, RECORDS_MAX, RECORDS_MIN, Setting, Stored, check, column,
    commit_bytes, damaged, name, time,
};
use crate::config::{ConnectError, ConnectErrorKind, PostgresConfig};
use crate::failure::Trouble;
use crate::link::Link;
use crate::schema::{self, Migration, lock_class, named, refused};
use crate::text::{end_of_prefix, escape, just_after};

/// Commits in one call.
const COMMITS_MAX: usize = 128;
/// How often a call that somebody was in the way of is sent.
const ATTEMPTS_MAX: u32 = 4;
/// How long is waited before the second attempt, at most.
const PAUSE: Duration = Duration::from_millis(8);
/// How long the ids of commits are kept.
const KEEP: Duration = Duration::from_secs(86_400);
/// How often those kept longer are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How many of them are forgotten in one statement, and in how many statements.
const FORGET_MAX: i32 = 1_000;
const FORGET_STEPS_MAX: u32 = 256;
/// How many commits without a known result are remembered.
const UNKNOWN_MAX: usize = 4_096;
/// Records that one page of a scan looks at.
const VISITS_MAX: usize = 4_096;
/// Above all kinds' names.
const LAST: &str = "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}";

const READ: &str = "select * from {schema}.read_v1($1, $2, $3)";
const SCAN: &str = "select * from {schema}.scan_v1(
    $1, $2, $3, $4, $5, $6, $7::text::numeric, $8, $9, $10, $11)";
const FLOORS: &str = "select kind, version, at::text as at from {schema}.floors
    where partition = $1 and ($2::text is null or kind = $2) order by kind";
const RESOLVE: &str = "select pg_is_in_recovery() as standby,
    exists (select from {schema}.commits where id = $1::text::uuid) as applied";
const PARTITIONS: &str = "select * from {schema}.partitions_v1($1, $2) as name";
const FORGET: &str = "select {schema}.forget_v1($1::text::numeric, $2) as done";
const SERVER: &str = "select current_setting('server_version_num')::integer as version,
    pg_is_in_recovery() as standby, getdatabaseencoding()::text as encoding,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('synchronous_standby_names') <> '' as replicated,
    current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes";

/// The oldest server whose SQL this is.
const SERVER_VERSION_MIN: i32 = 130_000;

/// The statements, with the schema's name.
#[derive(Debug)]
struct Statements {
    commit: String,
    read: String,
    scan: String,
    floors: String,
    resolve: String,
    partitions: String,
    forget: String,
}

/// What this process knows of commits whose answers were lost.
#[derive(Debug, Default)]
struct Lost {
    sent: BTreeMap<CommitId, Instant>,
    order: VecDeque<CommitId>,
    /// Some were dropped from memory.
    more: bool,
}

struct Inner {
    link: Link,
    statements: Statements,
    setting: Setting,
    properties: Properties,
    lost: Mutex<Lost>,
    forgot: Mutex<Instant>,
    runtime: Handle,
}

/// A store in a PostgreSQL database, which any number of nodes may use at once.
///
/// ```no_run
/// # async fn connect() -> Result<(), bellpunch_postgres::ConnectError> {
/// use bellpunch_postgres::{PostgresConfig, PostgresStore};
/// use bellpunch_store::{Sharing, Store};
/// let store = PostgresStore::connect(&PostgresConfig::new("postgres://127.0.0.1/app")).await?;
/// assert_eq!(store.properties().sharing, Sharing::Shared);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("link", &self.inner.link).finish_non_exhaustive()
    }
}

/// What a server is asked before it is trusted.
struct Server {
    risk: Option<Risk>,
    replicated: bool,
    strict: bool,
}

async fn examine(link: &Link, accepted: Option<Risk>) -> Result<Server, ConnectError> {
    let rows = link.rows(SERVER, &[]).await.map_err(refused)?;
    let row = rows.first().ok_or_else(|| {
        ConnectError::new(ConnectErrorKind::Unreachable, "the server says nothing of itself")
    })?;
    let said =
        |failure: Failure| ConnectError::new(ConnectErrorKind::Unreachable, failure.to_string());
    let text = |name| column::<String>(row, name).map_err(said);
    let flag = |name| column::<bool>(row, name).map_err(said);
    let refuse = |kind, message: String| Err(ConnectError::new(kind, message));
    let version: i32 = column(row, "version").map_err(said)?;
    if version < SERVER_VERSION_MIN {
        let message = format!("PostgreSQL 13 or newer is needed, this one is {version}");
        return refuse(ConnectErrorKind::Config, message);
    }
    let encoding = text("encoding")?;
    if encoding != "UTF8" {
        let message = format!("the database's encoding is {encoding}: make one with UTF8");
        return refuse(ConnectErrorKind::Config, message);
    }
    if flag("standby")? {
        let message = "the server is a standby: name the one that can be written, or all of them";
        return refuse(ConnectErrorKind::Unsafe, message.to_owned());
    }
    let (commit, replicated) = (text("synchronous_commit")?, flag("replicated")?);
    let mut risks = Vec::new();
    if commit == "off" || (commit == "local" && replicated) {
        risks.push(format!("synchronous_commit = {commit}"));
    }
    for name in ["fsync", "full_page_writes"] {
        if text(name)? != "on" {
            risks.push(format!("{name} = off"));
        }
    }
    let accepts = accepted == Some(Risk::LostOnCrash);
    if !risks.is_empty() && !accepts {
        let message = format!(
            "the server loses acknowledged commits in a crash ({}): change that, or accept the \
             risk {}",
            risks.join(", "),
            Risk::LostOnCrash.name()
        );
        return refuse(ConnectErrorKind::Unsafe, message);
    }
    let risk = (!risks.is_empty()).then_some(Risk::LostOnCrash);
    Ok(Server { risk, replicated, strict: !accepts })
}

impl PostgresStore {
    /// Connects, makes the schema if it is not there, and refuses a server that would lose commits.
    /// Its tasks run on the runtime that this is called on.
    ///
    /// # Errors
    /// If the server cannot be reached, trusted or understood.
    pub async fn connect(config: &PostgresConfig) -> Result<Self, ConnectError> {
        let link = Link::new(config)?;
        let server = examine(&link, config.accept_risk).await?;
        schema::migrate(&link, config).await?;
        let named = |sql| named(sql, &config.schema);
        let statements = Statements {
            commit: named(COMMIT),
            read: named(READ),
            scan: named(SCAN),
            floors: named(FLOORS),
            resolve: named(RESOLVE),
            partitions: named(PARTITIONS),
            forget: named(FORGET),
        };
        let setting = Setting {
            lock_class: lock_class(&config.schema),
            skew: Numeric(config.clock_skew_max_ns.into()),
            strict: server.strict,
        };
        let properties = Properties {
            name: "postgres",
            sharing: Sharing::Shared,
            guarantee: Guarantee::Atomic,
            survives: if server.replicated { Survives::Failover } else { Survives::Machine },
            risk: server.risk,
            clock: StoreClock::AtExclusivity,
            records_max: RECORDS_MAX,
            records_min: RECORDS_MIN,
            bytes_max: BYTES_MAX,
        };
        let inner = Inner {
            link,
            statements,
            setting,
            properties,
            lost: Mutex::default(),
            forgot: Mutex::new(Instant::now()),
            runtime: Handle::current(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes the schema, or brings it up to date: what [`connect`](Self::connect) does too, for a
    /// role that may, before nodes connect as one that may not.
    ///
    /// # Errors
    /// If the server cannot be reached or understood, or the role may not.
    pub async fn migrate(config: &PostgresConfig) -> Result<Migration, ConnectError> {
        let link = Link::new(config)?;
        examine(&link, Some(Risk::LostOnCrash)).await?;
        let migration = schema::migrate(&link, config).await;
        link.close();
        migration
    }

    /// What [`migrate`](Self::migrate) would do. Does nothing.
    ///
    /// # Errors
    /// If the server cannot be reached, or what is there is damaged or newer.
    pub async fn planned(config: &PostgresConfig) -> Result<Migration, ConnectError> {
        let link = Link::new(config)?;
        let planned = schema::planned(&link, &config.schema).await;
        link.close();
        planned
    }

    /// Whether a store is there. Makes none.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn exists(config: &PostgresConfig) -> Result<bool, ConnectError> {
        let link = Link::new(config)?;
        let exists = schema::exists(&link, &config.schema).await;
        link.close();
        exists
    }

    /// Closes the connections. What is sent later is answered as unavailable.
    pub async fn close(&self) {
        self.inner.link.close();
    }

    /// Runs work on the store's runtime.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.inner.runtime.spawn(work).await;
        done.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::Unavailable, "the store's runtime has ended"))
        })
    }
}

impl Lost {
    fn remember(&mut self, id: CommitId) {
        if self.sent.contains_key(&id) {
            return;
        }
        if UNKNOWN_MAX <= self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent.remove(&oldest);
            self.more = true;
        }
        self.sent.insert(id, Instant::now());
        self.order.push_back(id);
    }

    /// Whether a commit that is not found may have been forgotten.
    fn is_forgotten(&self, id: CommitId) -> bool {
        self.sent.get(&id).map_or(self.more, |sent| KEEP <= sent.elapsed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}

/// A pause that differs from commit to commit, so that two in each other's way do not meet again.
fn pause(commits: &[Arc<Commit>], attempt: u32) -> Duration {
    let [byte, ..] = commits.first().map_or(0, |commit| commit.id.bits()).to_le_bytes();
    let most = PAUSE.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(1));
    most.saturating_mul(u32::from(byte).saturating_add(1)).checked_div(256).unwrap_or(most)
}

impl Inner {
    /// Commits in waves, so that each call has one commit of a partition.
    async fn commit_all(self: &Arc<Self>, commits: Vec<Arc<Commit>>) -> Vec<CommitResult> {
        let mut results: Vec<Option<CommitResult>> = Vec::new();
        let mut open = VecDeque::new();
        for (index, commit) in commits.iter().enumerate() {
            let refused = check(commit).err().map(CommitResult::Failed);
            if refused.is_none() {
                open.push_back(index);
            }
            results.push(refused);
        }
        while !open.is_empty() {
            let wave = take_wave(&commits, &mut open);
            let sent: Vec<_> =
                wave.iter().filter_map(|index| commits.get(*index).cloned()).collect();
            let answers = self.call(&sent).await;
            for (index, answer) in wave.into_iter().zip(answers) {
                if let Some(result) = results.get_mut(index) {
                    *result = Some(answer);
                }
            }
        }
        self.forget_some();
        results.into_iter().map(|result| result.unwrap_or(CommitResult::Unknown)).collect()
    }

    /// One call; each commit for itself if all together fail.
    async fn call(&self, commits: &[Arc<Commit>]) -> Vec<CommitResult> {
        let trouble = match self.attempt(commits).await {
            Ok(results) => return results,
            Err(trouble) => trouble,
        };
        if let Trouble::Again(_) | Trouble::Failed(_) = trouble
            && 1 < commits.len()
        {
            let mut results = Vec::new();
            for commit in commits {
                results.push(self.alone(commit).await);
            }
            return results;
        }
        match (trouble, commits) {
            (Trouble::Again(_), [commit]) => vec![self.alone(commit).await],
            (trouble, _) => vec![self.failed(commits, trouble); commits.len()],
        }
    }

    /// One commit, sent again while it is taken back because somebody else is in the way.
    async fn alone(&self, commit: &Arc<Commit>) -> CommitResult {
        let commits = std::slice::from_ref(commit);
        for attempt in 1..ATTEMPTS_MAX {
            match self.attempt(commits).await {
                Ok(mut results) => return results.pop().unwrap_or(CommitResult::Unknown),
                Err(Trouble::Again(_)) if attempt.saturating_add(1) < ATTEMPTS_MAX => {
                    tokio::time::sleep(pause(commits, attempt)).await;
                }
                Err(trouble) => return self.failed(commits, trouble),
            }
        }
        CommitResult::Unknown
    }

    fn failed(&self, commits: &[Arc<Commit>], trouble: Trouble) -> CommitResult {
        match trouble {
            Trouble::Unknown(_) => {
                let mut lost = lock(&self.lost);
                commits.iter().for_each(|commit| lost.remember(commit.id));
                CommitResult::Unknown
            }
            Trouble::Again(failure) | Trouble::Failed(failure) | Trouble::Elsewhere(failure) => {
                CommitResult::Failed(failure)
            }
        }
    }

    /// Sends commits of distinct partitions once.
    async fn attempt(&self, commits: &[Arc<Commit>]) -> Result<Vec<CommitResult>, Trouble> {
        let call = Call::new(commits);
        let sql = &self.statements.commit;
        let rows = self.link.rows(sql, &call.parameters(&self.setting)).await?;
        let row = rows.first().ok_or_else(|| Trouble::Unknown(damaged("an empty answer")))?;
        // It was answered, so it was applied, or not: what cannot be read is known to nobody.
        let answer = Answer::of(row).map_err(Trouble::Unknown)?;
        Ok(answer.results(commits, &call))
    }

    /// Now and then, forgets old commits, beside everything else.
    fn forget_some(self: &Arc<Self>) {
        let mut forgot = lock(&self.forgot);
        if forgot.elapsed() < FORGET_EVERY {
            return;
        }
        *forgot = Instant::now();
        drop(forgot);
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            for _ in 0..FORGET_STEPS_MAX {
                let age = KEEP.as_nanos().to_string();
                let rows = inner.link.rows(&inner.statements.forget, &[&age, &FORGET_MAX]).await;
                let done = rows.ok().and_then(|rows| rows.first()?.try_get("done").ok());
                if done.unwrap_or(0_i64) < i64::from(FORGET_MAX) {
                    break;
                }
            }
        });
    }

    async fn read(
        &self,
        partition: &Partition,
        keys: &[RecordKey],
    ) -> Result<Vec<Versioned>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let kinds: Vec<_> = keys.iter().map(|key| escape(key.kind.name())).collect();
        let ids: Vec<_> = keys.iter().map(|key| escape(key.id.as_str())).collect();
        let partition = escape(partition.as_str());
        let rows = self.link.rows(&self.statements.read, &[&partition, &kinds, &ids]).await;
        let rows = rows.map_err(Trouble::into_failure)?;
        rows.iter().map(|row| Stored::of(row)?.versioned()).collect()
    }

    async fn floors(&self, partition: &str, scan: &Scan) -> Result<Vec<(Kind, Floor)>, Failure> {
        if scan.show != Show::All || scan.after.is_some() {
            return Ok(Vec::new());
        }
        let kind = scan.kind.as_ref().map(|kind| escape(kind.name()));
        let rows = self.link.rows(&self.statements.floors, &[&partition, &kind]).await;
        let floor = |row: &Row| {
            let kind = Kind::named(name(column(row, "kind")?)?);
            let version = u64::try_from(column::<i64>(row, "version")?);
            let version = Version::new(version.map_err(|_| damaged("a floor's version"))?);
            Ok((kind, Floor { version, at: time(column(row, "at")?)? }))
        };
        rows.map_err(Trouble::into_failure)?.iter().map(floor).collect()
    }

    async fn scan(&self, partition: &Partition, scan: &Scan) -> Result<Page, Failure> {
        let partition = escape(partition.as_str());
        let mut page = Page { floors: self.floors(&partition, scan).await?, ..Page::default() };
        let start = scan.start();
        let (from_kind, mut from_id) = (escape(start.kind.name()), escape(start.id.as_str()));
        if scan.after.as_ref() == Some(&start) {
            from_id = just_after(&from_id).into();
        }
        let prefix = escape(&scan.prefix);
        let (to_kind, to_id) = match (&scan.kind, end_of_prefix(&prefix)) {
            (Some(_), Some(end)) => (from_kind.clone(), end),
            (Some(_), None) => (just_after(&from_kind).into(), String::new()),
            (None, _) => (LAST.into(), String::new()),
        };
        // One more than wanted tells whether there are more.
        let filtered = scan.due_by.is_some() || (scan.kind.is_none() && !scan.prefix.is_empty());
        let visits = scan.limit.saturating_mul(2).saturating_add(16).min(VISITS_MAX);
        let visits = if filtered { VISITS_MAX } else { visits };
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let (visits, most) = (number(visits), number(scan.limit.saturating_add(1)));
        let due_by = scan.due_by.map(|due_by| due_by.nanos().to_string());
        let (all_kinds, all_shown) = (scan.kind.is_none(), scan.show == Show::All);
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &partition, &prefix, &from_kind, &from_id, &to_kind, &to_id, &due_by, &all_kinds,
            &all_shown, &visits, &most,
        ];
        let rows = self.link.rows(&self.statements.scan, &parameters).await;
        for row in &rows.map_err(Trouble::into_failure)? {
            let kind = match &scan.kind {
                Some(kind) => kind.clone(),
                None => Kind::named(name(column(row, "kind")?)?),
            };
            let key = RecordKey { kind, id: RecordId::stored(&name(column(row, "id")?)?) };
            if page.records.len() == scan.limit {
                page.resume = page.records.last().map(|(last, _)| last.clone());
                break;
            }
            if column(row, "wanted")? {
                page.records.push((key, Stored::of(row)?.versioned()?));
            } else {
                page.resume = Some(key);
            }
        }
        Ok(page)
    }

    async fn resolve(&self, id: CommitId) -> Result<Resolution, Failure> {
        let rows = self.link.rows(&self.statements.resolve, &[&id.to_string()]).await;
        let rows = rows.map_err(Trouble::into_failure)?;
        let row = rows.first().ok_or_else(|| damaged("an empty answer"))?;
        if column(row, "standby")? {
            let message = "this server is a standby: what it shows may be old";
            return Err(Failure::new(FailureKind::Unavailable, message));
        }
        Ok(if column(row, "applied")? {
            Resolution::Applied
        } else if lock(&self.lost).is_forgotten(id) {
            Resolution::NotKnown
        } else {
            Resolution::NotApplied
        })
    }

    async fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<PartitionPage, Failure> {
        let after = after.map_or_else(|| "".into(), |after| escape(after.as_str()));
        let most = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
        let rows = self.link.rows(&self.statements.partitions, &[&after, &most]).await;
        let rows = rows.map_err(Trouble::into_failure)?;
        let mut page = PartitionPage { more: limit < rows.len(), ..PartitionPage::default() };
        for row in rows.iter().take(limit) {
            let stored = name(column(row, "name")?)?;
            let partition = Partition::new(&stored);
            page.partitions.push(partition.map_err(|_| damaged("the name of a partition"))?);
        }
        Ok(page)
    }
}

/// Takes the next commits of distinct partitions, as many as one call has.
fn take_wave(commits: &[Arc<Commit>], open: &mut VecDeque<usize>) -> Vec<usize> {
    let (mut wave, mut later) = (Vec::new(), VecDeque::new());
    let (mut partitions, mut bytes, mut records) = (BTreeSet::new(), 0_usize, 0_usize);
    for index in open.drain(..) {
        let Some(commit) = commits.get(index) else { continue };
        let (more_bytes, more) = (commit_bytes(commit), commit.preconditions.len());
        let fits = wave.is_empty()
            || (wave.len() < COMMITS_MAX
                && bytes.saturating_add(more_bytes) <= BYTES_MAX
                && records.saturating_add(more) <= RECORDS_MAX);
        // Those of one partition keep their order: what waits makes the rest of it wait.
        if partitions.insert(&commit.partition) && fits {
            wave.push(index);
            bytes = bytes.saturating_add(more_bytes);
            records = records.saturating_add(more);
        } else {
            later.push_back(index);
        }
    }
    *open = later;
    wave
}

impl Store for PostgresStore {
    fn properties(&self) -> Properties {
        self.inner.properties.clone()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, Failure>> {
        let (inner, partition, keys) = (Arc::clone(&self.inner), partition.clone(), keys.to_vec());
        Box::pin(self.run(async move { inner.read(&partition, &keys).await }))
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        let (inner, count) = (Arc::clone(&self.inner), commits.len());
        Box::pin(async move {
            if count == 0 {
                return Vec::new();
            }
            let runtime = inner.runtime.clone();
            let done = runtime.spawn(async move { inner.commit_all(commits).await }).await;
            done.unwrap_or_else(|_| vec![CommitResult::Unknown; count])
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        let (inner, partition, scan) = (Arc::clone(&self.inner), partition.clone(), scan.clone());
        Box::pin(self.run(async move { inner.scan(&partition, &scan).await }))
    }

    fn resolve<'a>(
        &'a self,
        _: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, Failure>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(self.run(async move { inner.resolve(id).await }))
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, Failure>> {
        let (inner, after) = (Arc::clone(&self.inner), after.cloned());
        Box::pin(self.run(async move { inner.partitions(after.as_ref(), limit).await }))
    }
}
