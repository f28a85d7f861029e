//! The conformance kit, on a server whose clock the kit sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellpunch_postgres::{PostgresConfig, PostgresStore};
use bellpunch_servers::Postgres;
use bellpunch_store::Store;
use bellpunch_store::kit::{self, Able, Backend, KitClock, Place};

use crate::session::Session;
use crate::{SETTABLE, execute, fresh, wait};

#[derive(Debug)]
struct Server(Arc<Postgres>);

/// One schema of one server.
#[derive(Debug)]
struct Schema {
    server: Arc<Postgres>,
    config: PostgresConfig,
    clock: Arc<KitClock>,
    session: Arc<Session>,
    followed: AtomicBool,
}

impl Backend for Server {
    fn place(&self, clock: Arc<KitClock>) -> Box<dyn Place> {
        let mut config = PostgresConfig::new(self.0.url("kit"));
        config.schema = fresh("place");
        let session = Session::new(self.0.url("kit"));
        Box::new(Schema {
            server: Arc::clone(&self.0),
            config,
            clock,
            session: Arc::new(session),
            followed: AtomicBool::new(false),
        })
    }
}

impl Place for Schema {
    fn open(&self) -> Result<Arc<dyn Store>, String> {
        let store = wait(PostgresStore::connect(&self.config));
        let store = store.map_err(|error| error.to_string())?;
        if !self.followed.swap(true, Ordering::SeqCst) {
            let schema = self.config.schema.clone();
            self.session.run(&SETTABLE.replace("{schema}", &schema));
            let session = Arc::clone(&self.session);
            self.clock.follow(move |now| {
                let nanos = now.nanos();
                session.run(&format!("update {schema}.test_clock set nanos = {nanos}"));
            });
        }
        Ok(Arc::new(store))
    }

    fn crash(&self) -> Able {
        self.server.kill();
        self.server.restart();
        Able::Yes
    }

    fn keeps(&self) -> Able {
        Able::Yes
    }

    fn damage(&self) -> Able {
        // A record has its content once: as JSON, or as bytes.
        let schema = &self.config.schema;
        self.session.run(&format!("update {schema}.records set value = '{{}}', raw = 'x'"));
        Able::Yes
    }

    fn newer(&self) -> Able {
        let schema = &self.config.schema;
        self.session.run(&format!("update {schema}.meta set format = format + 1"));
        Able::Yes
    }

    fn fail_at(&self, step: u64) -> Able {
        // A step is a row that is touched. Some fail with an error, some end the session.
        let end = if step.is_multiple_of(2) {
            "raise exception 'a step fails'"
        } else {
            "perform pg_terminate_backend(pg_backend_pid())"
        };
        let sql = format!(
            "create sequence {{schema}}.test_steps minvalue 0 start 0;
             create function {{schema}}.test_fail() returns trigger language plpgsql as $$
             begin
                 if nextval('{{schema}}.test_steps') = {step} then {end}; end if;
                 return coalesce(new, old);
             end $$;"
        );
        let trigger = ["records", "floors", "commits"].map(|table| {
            format!(
                "create trigger test_fail before insert or update or delete
                 on {{schema}}.{table} for each row execute function {{schema}}.test_fail();"
            )
        });
        let sql = format!("{sql}{}", trigger.concat());
        self.session.run(&sql.replace("{schema}", &self.config.schema));
        Able::Yes
    }

    fn holds(&self) -> Able {
        Able::No("its clock is in the server: the expiry trap is shown by its own tests")
    }
}

fn check(isolation: &str) {
    let server = Postgres::start();
    let _ = server.database("kit");
    let alter = format!("alter database kit set default_transaction_isolation = '{isolation}'");
    execute(&server, "postgres", &alter);
    let report = kit::check(&Server(Arc::new(server)));
    let skipped: Vec<_> = report.skipped.iter().map(|(name, _)| *name).collect();
    assert_eq!(skipped, ["kit.deadline.exclusivity"], "{report}");
    assert_eq!(report.passed.len(), 27, "{report}");
}

#[test]
fn passes_where_sessions_are_read_committed() {
    check("read committed");
}

#[test]
fn passes_where_sessions_are_serializable_by_default() {
    check("serializable");
}

#[test]
fn passes_where_sessions_are_repeatable_read_by_default() {
    check("repeatable read");
}
