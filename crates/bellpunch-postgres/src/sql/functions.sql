-- Nanoseconds as a time to look at: it has microseconds.
create or replace function {schema}.instant(nanos numeric) returns timestamptz
language sql immutable strict parallel safe as $$
    select timestamptz '1970-01-01 00:00:00+00' + div(nanos, 1000)::double precision * interval '1 microsecond'
$$;

-- The clock that commits are compared with. A function of its own: tests put theirs in its place.
-- The epoch is asked for in whole seconds, since PostgreSQL 13 gives it as a double.
create or replace function {schema}.clock_ns() returns numeric
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    now timestamptz := clock_timestamp();
begin
    return (extract(epoch from date_trunc('second', now))::bigint * 1000000
        + extract(microseconds from now)::bigint % 1000000)::numeric * 1000;
end
$$;

-- Applies commits of distinct partitions, each whole or not at all. The arrays from commits on have
-- one element for each record that is compared or written; where none is null they may be null as a
-- whole: versions if nothing is written, sweeps, purged and raws if there is no such thing. An
-- outcome is 0: applied, 1: its preconditions hold (it writes nothing), 2: applied before,
-- 3: conflict, 4: too late, 5: ahead of the clock.
create or replace function {schema}.commit_v2(
    ids uuid[], partitions text[], nows numeric[], deadlines numeric[], puts integer[],
    commits integer[], kinds text[], names text[], expected bigint[], versions bigint[],
    times numeric[], sweeps numeric[], purged boolean[], texts text[], raws bytea[],
    lock_class integer, locks integer[], exclusive boolean[], lock_all boolean, skew numeric, strict boolean,
    out outcomes integer[], out store_time text, out applied text[],
    out c_commit integer[], out c_read integer[], out c_version bigint[],
    out c_at text[], out c_sweep text[], out c_value text[], out c_raw bytea[]
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    writing constant boolean := versions is not null;
    purges constant boolean := purged is not null;
    clock numeric;
    before numeric[];
    places tid[];
    others integer[];
    ahead boolean;
    writes boolean := false;
    wanted bigint := 0;
    done bigint;
    more bigint;
begin
    -- Each statement below has to see what was committed before it, not before the first.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'bellpunch needs the isolation level read committed'
            using errcode = 'invalid_transaction_state',
            hint = 'alter role ... set default_transaction_isolation = ''read committed''';
    end if;

    if pg_is_in_recovery() then
        raise exception 'this server is a standby'
            using errcode = 'read_only_sql_transaction';
    end if;

    if writing then
        if strict and current_setting('synchronous_commit') in ('off', 'local') then
            perform set_config('synchronous_commit', 'on', true);
        end if;
        -- The lock table is small: a large commit takes all records at once.
        if lock_all then
            perform pg_advisory_xact_lock(lock_class, 1);
        else
            perform pg_advisory_xact_lock_shared(lock_class, 1);
            -- What is only read, such as the end of a journal, others may read at the same time.
            perform case when k.exclusive then pg_advisory_xact_lock(lock_class + 1, k.lock)
                else pg_advisory_xact_lock_shared(lock_class + 1, k.lock) end
            from unnest(locks, exclusive) as k (lock, exclusive);
        end if;
        if deadlines is not null then
            -- Others' SQL may hold what will be written, and must not hold it after the clock.
            lock table {schema}.records, {schema}.floors, {schema}.commits in row exclusive mode;
            perform 1 from (
                select partitions[commits[n]] as p, kinds[n] as k, names[n] as i
                from generate_series(1, cardinality(commits)) as n
                where versions[n] is not null order by 1, 2, 3
            ) w, lateral (
                select 1 from {schema}.records r
                where r.partition = w.p and r.kind = w.k and r.id = w.i
                for update
            ) held;
            if purges then
                perform 1 from (
                    select distinct partitions[commits[n]] as p, kinds[n] as k
                    from generate_series(1, cardinality(commits)) as n
                    where purged[n] order by 1, 2
                ) w, lateral (
                    select 1 from {schema}.floors f
                    where f.partition = w.p and f.kind = w.k
                    for update
                ) held;
            end if;
        end if;
    end if;

    -- Mostly a record is there, and is as expected: then its place is all that is needed.
    select array_agg(r.ctid order by n), array_agg(n) filter (where r.ctid is null)
    into places, others
    from generate_series(1, cardinality(commits)) as n
    left join {schema}.records r
        on r.partition = partitions[commits[n]] and r.kind = kinds[n] and r.id = names[n]
        and r.version = expected[n] and (r.value is not null or r.raw is not null);

    if others is not null then
        select array_agg(commits[o.n]), array_agg(o.n), array_agg(v.seen),
            array_agg(v.at::text), array_agg(r.sweep_at::text), array_agg(r.value::text),
            array_agg(r.raw)
        into c_commit, c_read, c_version, c_at, c_sweep, c_value, c_raw
        from unnest(others) as o (n)
        left join {schema}.records r
            on r.partition = partitions[commits[o.n]] and r.kind = kinds[o.n]
            and r.id = names[o.n]
        left join {schema}.floors f
            on f.partition = partitions[commits[o.n]] and f.kind = kinds[o.n]
        cross join lateral (
            select case when r.value is not null or r.raw is not null then r.version
                else greatest(r.version, f.version, 0) end as seen,
                case when r.value is not null or r.raw is not null then r.at
                else greatest(r.at, f.at, 0) end as at
        ) v
        where v.seen <> expected[o.n];

        -- What was applied before has raised the versions that it names.
        if writing and (c_commit is not null or array_position(expected, null) is not null) then
            select array_agg(c.at order by i.n) into before
            from unnest(ids) with ordinality as i (id, n)
            left join {schema}.commits c on c.id = i.id;
        end if;
    end if;

    -- All locks are held, and all that waits has been waited for: only now is it late or not.
    clock := {schema}.clock_ns();
    store_time := clock::text;

    for n in 1 .. cardinality(ids) loop
        -- The question about the records is a statement of its own: asked only if it matters.
        ahead := clock + skew < nows[n];
        if ahead then
            ahead := not exists (
                select 1
                from generate_series(1, cardinality(commits)) as p
                left join {schema}.records r
                    on r.partition = partitions[n] and r.kind = kinds[p] and r.id = names[p]
                left join {schema}.floors f on f.partition = partitions[n] and f.kind = kinds[p]
                where commits[p] = n and expected[p] is not null and nows[n] <= case
                    when r.value is not null or r.raw is not null then r.at
                    else greatest(r.at, f.at, 0) end
            );
        end if;
        if before[n] is not null then
            outcomes[n] := 2;
            applied[n] := before[n]::text;
        elsif n = any (c_commit) then
            outcomes[n] := 3;
        elsif deadlines[n] <= clock then
            outcomes[n] := 4;
        elsif ahead then
            outcomes[n] := 5;
        elsif puts[n] is null then
            outcomes[n] := 1;
        else
            outcomes[n] := 0;
            writes := true;
            wanted := wanted + puts[n];
        end if;
    end loop;

    if writes then
        -- A row that others' SQL replaced in between is not at its place any more; one that they
        -- hold is compared again once they let go.
        update {schema}.records r set
            version = versions[n], at = times[n], sweep_at = sweeps[n],
            value = texts[n]::jsonb, raw = raws[n]
        from generate_series(1, cardinality(commits)) as n
        where r.ctid = places[n] and r.version = expected[n]
            and versions[n] is not null and purged[n] is not true and outcomes[commits[n]] = 0;
        get diagnostics done = row_count;
        if others is not null then
            insert into {schema}.records as r
                (partition, kind, id, version, at, sweep_at, value, raw)
            select partitions[commits[n]], kinds[n], names[n], versions[n], times[n], sweeps[n],
                texts[n]::jsonb, raws[n]
            from unnest(others) as n
            where versions[n] is not null and purged[n] is not true and outcomes[commits[n]] = 0
            on conflict (partition, kind, id) do update set
                version = excluded.version, at = excluded.at, sweep_at = excluded.sweep_at,
                value = excluded.value, raw = excluded.raw
            where r.version < excluded.version;
            get diagnostics more = row_count;
            done := done + more;
        end if;
        if done <> wanted then
            -- Somebody's own SQL changed a record between the comparison and here.
            raise exception 'a record was changed by other SQL at the same time'
                using errcode = 'serialization_failure';
        end if;
        if purges then
            delete from {schema}.records r
            using generate_series(1, cardinality(commits)) as n
            where purged[n] and outcomes[commits[n]] = 0
                and r.partition = partitions[commits[n]] and r.kind = kinds[n] and r.id = names[n];
            insert into {schema}.floors as f (partition, kind, version, at)
            select partitions[commits[n]], kinds[n], max(versions[n]), max(times[n])
            from generate_series(1, cardinality(commits)) as n
            where purged[n] and outcomes[commits[n]] = 0
            group by 1, 2 order by 1, 2
            on conflict (partition, kind) do update set
                version = greatest(f.version, excluded.version),
                at = greatest(f.at, excluded.at);
        end if;
        insert into {schema}.commits (id, partition, at)
        select ids[n], partitions[n], clock
        from generate_series(1, cardinality(ids)) as n where outcomes[n] = 0;
    end if;
end
$$;

-- Reads records at one instant, in the order asked.
create or replace function {schema}.read_v1(
    of_partition text, kinds text[], ids text[],
    out version bigint, out at text, out sweep_at text, out value text, out raw bytea
) returns setof record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off
as $$
begin
    if pg_is_in_recovery() then
        raise exception 'this server is a standby: what it shows may be old'
            using errcode = 'read_only_sql_transaction';
    end if;
    return query
    select case when r.value is not null or r.raw is not null then r.version
        else greatest(r.version, f.version, 0) end,
        case when r.value is not null or r.raw is not null then r.at
        else greatest(r.at, f.at, 0) end::text,
        r.sweep_at::text, r.value::text, r.raw
    from unnest(kinds, ids) with ordinality as p (k, i, n)
    -- Limits keep these from becoming joins: one look into the index for each record, whatever the
    -- planner thinks of how many a partition has.
    left join lateral (
        select * from {schema}.records r
        where r.partition = of_partition and r.kind = p.k and r.id = p.i limit 1
    ) r on true
    left join lateral (
        select * from {schema}.floors f
        where f.partition = of_partition and f.kind = p.k limit 1
    ) f on true
    order by p.n;
end
$$;

-- Gives the wanted ones of a bounded number of records from a key on, in order of kind and id;
-- last, and not wanted, the last one looked at, with how many were, if not all were.
create or replace function {schema}.scan_v1(
    of_partition text, prefix text, from_kind text, from_id text, to_kind text, to_id text,
    due_by numeric, all_kinds boolean, all_shown boolean, visits integer, wanted_max integer,
    out wanted boolean, out kind text, out id text,
    out version bigint, out at text, out sweep_at text, out value text, out raw bytea
) returns setof record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    due_hour constant bigint := div(due_by, 3600000000000)::bigint;
    due integer;
begin
    if pg_is_in_recovery() then
        raise exception 'this server is a standby: what it shows may be old'
            using errcode = 'read_only_sql_transaction';
    end if;
    -- Of all kinds, mostly few are due: then not all of the partition is looked at.
    if all_kinds and due_by is not null then
        select count(*) into due from (
            select 1 from {schema}.records r
            where r.partition = of_partition and r.sweep_hour <= due_hour and r.sweep_at <= due_by
            limit visits
        ) s;
        if due < visits then
            return query
            select true, s.kind::text, s.id::text, s.version, s.at::text, s.sweep_at::text,
                s.value::text, s.raw
            from (
                select r.* from {schema}.records r
                where r.partition = of_partition
                    and r.sweep_hour <= due_hour and r.sweep_at <= due_by
                offset 0
            ) s
            where (s.kind, s.id) >= (from_kind, from_id) and (s.kind, s.id) < (to_kind, to_id)
                and starts_with(s.id, prefix)
                and (all_shown or s.value is not null or s.raw is not null)
            order by s.kind, s.id limit wanted_max;
            return;
        end if;
    end if;
    return query
    with looked as materialized (
        select r.* from {schema}.records r
        where r.partition = of_partition
            and (r.kind, r.id) >= (from_kind, from_id) and (r.kind, r.id) < (to_kind, to_id)
        order by r.kind, r.id limit visits
    )
    (
        select true, l.kind::text, l.id::text,
            case when l.value is not null or l.raw is not null then l.version
            else greatest(l.version, f.version) end,
            case when l.value is not null or l.raw is not null then l.at
            else greatest(l.at, f.at) end::text,
            l.sweep_at::text, l.value::text, l.raw
        from looked l
        left join {schema}.floors f on f.partition = of_partition and f.kind = l.kind
        where starts_with(l.id, prefix) and (due_by is null or l.sweep_at <= due_by)
            and (all_shown or l.value is not null or l.raw is not null)
        order by l.kind, l.id limit wanted_max
    )
    union all
    (
        select false, l.kind::text, l.id::text, null::bigint,
            null::text, null::text, null::text, null::bytea
        from looked l
        where visits = (select count(*) from looked)
        order by l.kind desc, l.id desc limit 1
    );
end
$$;

-- Lists partitions that have records, or had some: one look into the index for each.
create or replace function {schema}.partitions_v1(after text, wanted_max integer)
returns setof text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    next text collate "C" := after;
begin
    if pg_is_in_recovery() then
        raise exception 'this server is a standby: what it shows may be old'
            using errcode = 'read_only_sql_transaction';
    end if;
    for n in 1 .. wanted_max loop
        next := least(
            (select r.partition from {schema}.records r
                where r.partition > next order by r.partition limit 1),
            (select f.partition from {schema}.floors f
                where f.partition > next order by f.partition limit 1)
        );
        exit when next is null;
        return next next;
    end loop;
end
$$;

-- Forgets commits older than this, so many at most.
create or replace function {schema}.forget_v1(age numeric, forget_max integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    before constant numeric := {schema}.clock_ns() - age;
    done bigint;
begin
    delete from {schema}.commits where ctid = any (array(
        select c.ctid from {schema}.commits c where c.at < before
        order by c.at limit forget_max for update skip locked
    ));
    get diagnostics done = row_count;
    return done;
end
$$;

-- What is stored, for the owner's own SQL. A record that JSON numbers of the database would change
-- is in raw, as it was written.
create or replace view {schema}.live as
select r.partition, r.kind, r.id, r.version, {schema}.instant(r.at) as at,
    {schema}.instant(r.sweep_at) as sweep_at, (r.value -> 'format')::integer as format,
    r.value -> 'record' as record, r.raw
from {schema}.records r where r.value is not null or r.raw is not null;
