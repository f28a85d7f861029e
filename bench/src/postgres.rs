//! Bellpunch on PostgreSQL, beside what people write in SQL, run by `pgbench`.
//!
//! The table of the peers is as one who knows PostgreSQL makes it: no index but the primary key, so
//! that updates are heap-only (HOT), and half of each page left free for them.

use std::sync::Arc;
use std::time::Duration;

use bellpunch::limits::Retention;
use bellpunch::{Engine, EngineConfig, SystemClock};
use bellpunch_postgres::{PostgresConfig, PostgresStore};
use bellpunch_servers::Postgres;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Effort;
use crate::callers::{
    BOUND_CALLS, BOUND_HOT_UNITS, BOUND_MANY, BOUND_UNITS, Bellpunch, CALLERS, CROWD, FREE, Keys,
    MANY, Spread,
};
use crate::figures::{Contender, Contest, Figure, excess};

/// Checkpoints are as rare as on a server that has room for its log.
const SETTINGS: &str = "
max_wal_size = 8GB
checkpoint_timeout = 30min
max_connections = 300
";
/// Of so many transactions one is logged, for its latency.
const SAMPLED: &str = "0.2";

const CONDITIONAL: &str = "\
update quota set used = used + 1 where id = :id and used + 1 <= ceiling returning ceiling - used";
const LOCKED: &str = "\
begin;
select used, ceiling from quota where id = :id for update \\gset
\\if :used < :ceiling
update quota set used = used + 1 where id = :id;
\\endif
commit;
";
const NAIVE: &str = "\
select used, ceiling from quota where id = :id \\gset
\\if :used < :ceiling
update quota set used = used + 1 where id = :id;
\\endif
";
/// The same, and whoever is told yes writes it down: for runs whose limits bind.
const CONDITIONAL_TOLD: &str = " as told \\aset
\\if :told <> -1
insert into told values (:id);
\\endif
";
const TOLD: &str = "insert into told values (:id);\n";

#[derive(Clone, Copy, Debug)]
enum Idiom {
    Conditional,
    Locked,
    Naive,
}

impl Idiom {
    const fn name(self) -> &'static str {
        match self {
            Self::Conditional => "conditional `UPDATE … WHERE used + 1 <= limit RETURNING`",
            Self::Locked => "row lock: `BEGIN; SELECT … FOR UPDATE; UPDATE; COMMIT`",
            Self::Naive => "naive: `SELECT`, then `UPDATE` (wrong)",
        }
    }

    fn script(self) -> String {
        match self {
            Self::Conditional => format!("{CONDITIONAL};\n"),
            Self::Locked => LOCKED.to_owned(),
            Self::Naive => NAIVE.to_owned(),
        }
    }

    /// Whoever is told yes writes it down after it is durable.
    fn told(self) -> String {
        match self {
            Self::Conditional => format!("\\set told -1\n{CONDITIONAL}{CONDITIONAL_TOLD}"),
            Self::Locked => {
                format!("{}\\if :used < :ceiling\n{TOLD}\\endif\n", self.script())
            }
            Self::Naive => self.script().replace("\\endif", &format!("{TOLD}\\endif")),
        }
    }
}

/// `pgbench` with one of the idioms.
struct Peer {
    server: Arc<Postgres>,
    idiom: Idiom,
    quotas: usize,
    clients: usize,
    database: String,
    folder: TempDir,
}

impl Peer {
    fn boxed(
        server: &Arc<Postgres>,
        idiom: Idiom,
        (quotas, clients): (usize, usize),
    ) -> Box<dyn Contender> {
        let database = format!("peer_{idiom:?}_{quotas}_{clients}").to_lowercase();
        let _ = server.database(&database);
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let peer = Self { server: Arc::clone(server), idiom, quotas, clients, database, folder };
        peer.make(quotas, FREE);
        Box::new(peer)
    }

    fn make(&self, quotas: usize, ceiling: u64) {
        let sql = format!(
            "drop table if exists quota, told;
             create table quota (id int primary key, used bigint not null, ceiling bigint not null)
                 with (fillfactor = 50);
             create unlogged table told (id int not null);
             insert into quota select id, 0, {ceiling} from generate_series(1, {quotas}) id;
             vacuum analyze quota"
        );
        // VACUUM is not allowed in the one transaction of a list.
        for statement in sql.split(';') {
            let _ = self.server.sql(&self.database, statement);
        }
    }

    fn pgbench(&self, quotas: usize, script: &str, length: &[&str]) -> String {
        let file = self.folder.path().join("script.sql");
        let script = format!("\\set id random(1, {quotas})\n{script}");
        std::fs::write(&file, script).expect("it can be written");
        let url = self.server.url(&self.database);
        let mut command = self.server.program("pgbench");
        command.args(["-n", "-M", "prepared", "-j", "2", "-c", &self.clients.to_string(), "-f"]);
        command.arg(&file).args(length).arg(url).current_dir(self.folder.path());
        let output = command.output().expect("pgbench is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("aborted"), "{said}{complaint}");
        said
    }

    /// The waits that were logged, in microseconds; the logs are removed.
    fn waits(&self) -> Vec<u64> {
        let mut waits = Vec::new();
        for entry in self.folder.path().read_dir().expect("it is there").flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "sql") {
                continue;
            }
            let log = std::fs::read_to_string(entry.path()).expect("logs are text");
            let wait = |line: &str| line.split(' ').nth(2)?.parse::<u64>().ok();
            waits.extend(log.lines().filter_map(wait));
            std::fs::remove_file(entry.path()).expect("it is ours");
        }
        waits
    }
}

impl Contender for Peer {
    fn name(&self) -> String {
        self.idiom.name().to_owned()
    }

    fn round(&mut self, span: Duration) -> Figure {
        let seconds = span.as_secs().max(1).to_string();
        let length = ["-T", seconds.as_str(), "-l", "--sampling-rate", SAMPLED];
        let said = self.pgbench(self.quotas, &self.idiom.script(), &length);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split(['.', ' ']).next()?.parse().ok());
        let per_second = rate.unwrap_or_else(|| panic!("pgbench says no rate: {said}"));
        let waits = Figure::of(0, span, &mut self.waits());
        Figure { per_second, ..waits }
    }

    fn excess(&mut self) -> Option<i64> {
        let hot = self.quotas == 1;
        let (quotas, units) = if hot { (1, BOUND_HOT_UNITS) } else { (BOUND_MANY, BOUND_UNITS) };
        self.make(quotas, units);
        let calls = units * u64::try_from(quotas).expect("a few") * BOUND_CALLS;
        let each = calls.div_ceil(u64::try_from(self.clients).expect("a few")).to_string();
        self.pgbench(quotas, &self.idiom.told(), &["-t", &each]);
        let counted = "select (select count(*) from told t where t.id = q.id) - ceiling, \
                       used - (select count(*) from told t where t.id = q.id) from quota q";
        let over = self.server.sql(&self.database, counted);
        let over = over.lines().map(|line| {
            let (over, untold) = line.split_once('|').expect("there are two columns");
            assert_eq!(untold, "0", "what is recorded is what the callers were told");
            over.parse::<i64>().expect("it is a number")
        });
        Some(excess(over))
    }
}

/// An engine with a pool of connections of its own.
fn engine(runtime: &Runtime, server: &Postgres) -> Engine {
    let config = PostgresConfig::new(server.url("bellpunch"));
    runtime.block_on(async {
        let store = PostgresStore::connect(&config).await.expect("the store is well");
        let clock = Arc::new(SystemClock::new());
        Engine::start(Arc::new(store), clock, EngineConfig::default())
    })
}

/// Measures all of it on one server.
pub(crate) fn measure(effort: &Effort) -> Vec<Contest> {
    let server = Arc::new(Postgres::start_with(SETTINGS));
    let url = server.database("bellpunch");
    let runtime = Arc::new(Runtime::new().expect("there are threads"));
    let config = PostgresConfig::new(url);
    let migrated = runtime.block_on(PostgresStore::migrate(&config));
    migrated.expect("an empty database can be migrated");
    let one = engine(&runtime, &server);
    let bellpunch = |name: &str, label: &str, spread: Spread, keys: Keys| {
        let engines = vec![one.clone()];
        Bellpunch::new((name, label), (&runtime, engines), (spread, keys))
    };
    let boxed = |callers: Bellpunch| Box::new(callers) as Box<dyn Contender>;
    let charged = Spread { charges: Retention::default(), ..Spread::HOT };
    let hot = vec![
        Peer::boxed(&server, Idiom::Conditional, (1, CALLERS)),
        Peer::boxed(&server, Idiom::Locked, (1, CALLERS)),
        Peer::boxed(&server, Idiom::Naive, (1, CALLERS)),
        boxed(bellpunch("**Bellpunch**", "hot", Spread::HOT, Keys::None)),
        boxed(bellpunch("**Bellpunch**, idempotency keys", "hot-keys", Spread::HOT, Keys::Each)),
        boxed(bellpunch(
            "**Bellpunch**, a charge kept of each use",
            "hot-charges",
            charged,
            Keys::None,
        )),
    ];
    let hot = Contest::run("One hot quota", hot, effort);
    let many = vec![
        Peer::boxed(&server, Idiom::Conditional, (MANY, CALLERS)),
        Peer::boxed(&server, Idiom::Locked, (MANY, CALLERS)),
        Peer::boxed(&server, Idiom::Naive, (MANY, CALLERS)),
        boxed(bellpunch("**Bellpunch**, in one partition", "many", Spread::MANY, Keys::None)),
        boxed(bellpunch("**Bellpunch**, in 100 partitions", "apart", Spread::APART, Keys::None)),
    ];
    let many = Contest::run("10,000 quotas, drawn evenly", many, effort);
    let crowd = bellpunch("**Bellpunch**, in one partition", "crowd", Spread::MANY, Keys::None);
    let crowd = vec![
        Peer::boxed(&server, Idiom::Conditional, (MANY, CROWD)),
        boxed(crowd.with_callers(CROWD)),
    ];
    let crowd = Contest::run("10,000 quotas, drawn evenly by 256 callers", crowd, effort);
    let nodes: Vec<Engine> = (0..4).map(|_| engine(&runtime, &server)).collect();
    let contending = |each: usize, label: &str| {
        let name = format!("{} engines, {each} callers each", nodes.len());
        let on = (&runtime, nodes.clone());
        let callers = Bellpunch::new((&name, label), on, (Spread::HOT, Keys::None));
        Box::new(callers.with_callers(each)) as Box<dyn Contender>
    };
    let contended = vec![
        boxed(bellpunch("1 engine, 64 callers", "node", Spread::HOT, Keys::None)),
        contending(CALLERS, "nodes"),
        contending(CALLERS / nodes.len(), "nodes-few"),
    ];
    let contended = Contest::run("Engines that contend for one hot quota", contended, effort);
    runtime.block_on(one.drain());
    vec![hot, many, crowd, contended]
}
