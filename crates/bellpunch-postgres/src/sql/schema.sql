-- Format 1. Times are nanoseconds since 1970, exact up to the year 9999: beyond a bigint.
create table {schema}.meta (
    one boolean primary key default true check (one),
    format integer not null,
    functions integer not null
);

-- A record has one of value and raw; a tombstone, whose version goes on, has neither.
-- No index has a column that changes with each write, so that a hot row stays on its page.
create table {schema}.records (
    partition text collate "C" not null,
    kind text collate "C" not null,
    id text collate "C" not null,
    version bigint not null,
    at numeric(39, 0) not null,
    sweep_at numeric(39, 0),
    sweep_hour bigint generated always as (div(sweep_at, 3600000000000)::bigint) stored,
    value jsonb,
    raw bytea,
    primary key (partition, kind, id)
) with (fillfactor = 70);

create index records_due on {schema}.records (partition, sweep_hour)
    with (fillfactor = 70) where sweep_hour is not null;

-- What absent records of a kind have at least: what purged ones had.
create table {schema}.floors (
    partition text collate "C" not null,
    kind text collate "C" not null,
    version bigint not null,
    at numeric(39, 0) not null,
    primary key (partition, kind)
) with (fillfactor = 70);

-- The commits of the last day, so that one sent again is known.
create table {schema}.commits (
    id uuid primary key,
    partition text collate "C" not null,
    at numeric(39, 0) not null
);

create index commits_at on {schema}.commits (at);
