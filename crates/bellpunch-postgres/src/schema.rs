//! What is in the database: made, brought up to date, and looked at before it is used.
//!
//! Invariant: many nodes may start at once on an empty database, and one of them makes the schema;
//! a node that finds it up to date needs no right to change it. A newer format is refused; newer
//! functions of the same format are left as they are, since a release that changes what a function
//! takes or answers gives it another name.

use std::fmt;

use tokio_postgres::Row;

use crate::call::hash;
use crate::config::{ConnectError, ConnectErrorKind, PostgresConfig};
use crate::failure::Trouble;
use crate::link::Link;

/// The layout of the tables.
const FORMAT: i32 = 1;
/// The functions' and views' text: raised with each change of it.
const FUNCTIONS: i32 = 2;

const SCHEMA: &str = include_str!("sql/schema.sql");
const FUNCTIONS_TEXT: &str = include_str!("sql/functions.sql");

/// What was done so that a store can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Migration {
    /// There was none: it was made.
    Created,
    /// Its functions and views were replaced.
    Updated,
    /// Nothing: it was up to date.
    UpToDate,
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::UpToDate => "up to date",
        })
    }
}

/// SQL with the schema's name in its place. The name is checked: it needs no escapes.
pub(crate) fn named(sql: &str, schema: &str) -> String {
    sql.replace("{schema}", &format!("\"{schema}\""))
}

/// The even number by which the locks of a schema are named; the next one names those of records.
pub(crate) fn lock_class(schema: &str) -> i32 {
    hash(["bellpunch", schema]) & !1
}

fn error(kind: ConnectErrorKind, message: impl Into<String>) -> ConnectError {
    ConnectError::new(kind, message)
}

/// What stands in the way of connecting or migrating.
pub(crate) fn refused(trouble: Trouble) -> ConnectError {
    let kind = match trouble {
        Trouble::Elsewhere(_) => ConnectErrorKind::Unsafe,
        Trouble::Again(_) | Trouble::Failed(_) | Trouble::Unknown(_) => {
            ConnectErrorKind::Unreachable
        }
    };
    error(kind, trouble.into_failure().to_string())
}

/// What a schema says of itself.
struct Found {
    format: i32,
    functions: i32,
}

/// Whether there is a store at all.
pub(crate) async fn exists(link: &Link, schema: &str) -> Result<bool, ConnectError> {
    let rows = link
        .rows(
            "select to_regclass($1::text) is not null as there",
            &[&named("{schema}.meta", schema)],
        )
        .await
        .map_err(refused)?;
    Ok(rows.first().is_some_and(|row| row.try_get("there").unwrap_or(false)))
}

async fn find(link: &Link, schema: &str) -> Result<Option<Found>, ConnectError> {
    if !exists(link, schema).await? {
        return Ok(None);
    }
    let sql = named("select format, functions from {schema}.meta", schema);
    let damaged = |what: String| error(ConnectErrorKind::Damaged, what);
    let rows = match link.rows(&sql, &[]).await {
        Ok(rows) => rows,
        Err(Trouble::Failed(failure)) => {
            return Err(damaged(format!("the schema {schema} is no store of ours: {failure}")));
        }
        Err(other) => return Err(refused(other)),
    };
    let number = |row: &Row, name| {
        row.try_get::<_, i32>(name)
            .map_err(|cause| damaged(format!("{schema}.meta has no {name}: {cause}")))
    };
    let Some(row) = rows.first() else {
        return Err(damaged(format!("{schema}.meta is empty: restore it from a backup")));
    };
    let found = Found { format: number(row, "format")?, functions: number(row, "functions")? };
    if FORMAT < found.format {
        return Err(error(
            ConnectErrorKind::Newer,
            format!(
                "the schema {schema} has format {}, this release knows up to {FORMAT}: upgrade \
                 first",
                found.format
            ),
        ));
    }
    Ok(Some(found))
}

const fn is_current(found: &Found) -> bool {
    FUNCTIONS <= found.functions
}

/// What [`migrate`] would do.
pub(crate) async fn planned(link: &Link, schema: &str) -> Result<Migration, ConnectError> {
    Ok(match find(link, schema).await? {
        None => Migration::Created,
        Some(found) if is_current(&found) => Migration::UpToDate,
        Some(_) => Migration::Updated,
    })
}

/// Makes the schema, or brings it up to date.
pub(crate) async fn migrate(
    link: &Link,
    config: &PostgresConfig,
) -> Result<Migration, ConnectError> {
    let schema = &config.schema;
    if find(link, schema).await?.is_some_and(|found| is_current(&found)) {
        return Ok(Migration::UpToDate);
    }
    // One statement of several: the server takes it as one transaction. Who waited for the lock
    // finds the schema made, which `make` asks for once it has it.
    let make = named(MAKE, schema)
        .replace("{class}", &lock_class(schema).to_string())
        .replace("{create}", &named(SCHEMA, schema))
        .replace("{functions_text}", &named(FUNCTIONS_TEXT, schema))
        .replace("{format}", &FORMAT.to_string())
        .replace("{functions}", &FUNCTIONS.to_string());
    let before = find(link, schema).await?;
    let connection = link.connection().await.map_err(refused)?;
    connection.batch_execute(&make).await.map_err(|cause| {
        let trouble = Trouble::of(&cause);
        let denied = cause.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
        if denied {
            let message = format!(
                "the schema {schema} is not there or not up to date, and this role may not change \
                 that: run `bellpunch migrate` as one that may ({})",
                trouble.into_failure()
            );
            return error(ConnectErrorKind::Config, message);
        }
        refused(trouble)
    })?;
    // There may be no other connection than this one.
    drop(connection);
    find(link, schema).await?;
    Ok(if before.is_none() { Migration::Created } else { Migration::Updated })
}

/// Makes what is missing, alone.
const MAKE: &str = "
do $make$
declare
    known integer;
begin
    perform pg_advisory_xact_lock({class}, 2);
    if to_regclass('{schema}.meta') is null then
        if to_regnamespace('{schema}') is null then
            create schema {schema};
        end if;
        {create}
        insert into {schema}.meta (format, functions) values ({format}, 0);
    end if;
    select functions into known from {schema}.meta;
    if known < {functions} then
        {functions_text}
        update {schema}.meta set functions = {functions};
    end if;
end
$make$";
