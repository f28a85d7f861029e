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

-- Applies commits of distinct partitions, each whole or not at all. An outcome is 0: applied,
-- 1: its preconditions hold (it writes nothing), 2: applied before, 3: conflict, 4: too late,
-- 5: ahead of the clock.
create or replace function {schema}.commit_v1(
    ids uuid[], partitions text[], nows numeric[], deadlines numeric[],
    reads_commit integer[], reads_kind text[], reads_id text[], reads_version bigint[],
    writes_commit integer[], writes_kind text[], writes_id text[], writes_version bigint[],
    writes_at numeric[], writes_sweep numeric[], writes_put boolean[],
    writes_value jsonb[], writes_raw bytea[],
    lock_class integer, locks integer[], lock_all boolean, skew numeric, strict boolean,
    out outcomes integer[], out store_time text, out applied text[],
    out c_commit integer[], out c_read bigint[], out c_version bigint[],
    out c_at text[], out c_sweep text[], out c_value text[], out c_raw bytea[]
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    writing constant boolean := 0 < cardinality(writes_commit);
    clock numeric;
    before numeric[];
    purges boolean := false;
    writes boolean := false;
    wanted bigint;
    done bigint;
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
            perform pg_advisory_xact_lock(lock_class + 1, l) from unnest(locks) as l;
        end if;
        purges := false = any (writes_put);
        if deadlines is not null then
            -- Others' SQL may hold what will be written, and must not hold it after the clock.
            lock table {schema}.records, {schema}.floors, {schema}.commits in row exclusive mode;
            perform 1 from (
                select distinct partitions[w.c] as p, w.k, w.i
                from unnest(writes_commit, writes_kind, writes_id) as w (c, k, i)
                order by 1, 2, 3
            ) w, lateral (
                select 1 from {schema}.records r
                where r.partition = w.p and r.kind = w.k and r.id = w.i
                for update
            ) held;
            if purges then
                perform 1 from (
                    select distinct partitions[w.c] as p, w.k
                    from unnest(writes_commit, writes_kind, writes_put) as w (c, k, put)
                    where not w.put order by 1, 2
                ) w, lateral (
                    select 1 from {schema}.floors f
                    where f.partition = w.p and f.kind = w.k
                    for update
                ) held;
            end if;
        end if;
        select array_agg(c.at order by i.n) into before
        from unnest(ids) with ordinality as i (id, n) left join {schema}.commits c on c.id = i.id;
    end if;

    select array_agg(f.c) filter (where f.differs),
        array_agg(f.n) filter (where f.differs),
        array_agg(f.seen) filter (where f.differs),
        array_agg(f.at::text) filter (where f.differs),
        array_agg(f.sweep_at::text) filter (where f.differs),
        array_agg(f.value::text) filter (where f.differs),
        array_agg(f.raw) filter (where f.differs)
    into c_commit, c_read, c_version, c_at, c_sweep, c_value, c_raw
    from (
        select p.c, p.n, v.seen, v.seen <> p.expected as differs, r.sweep_at, r.value, r.raw,
            case when r.value is not null or r.raw is not null then r.at
            else greatest(r.at, (
                select f.at from {schema}.floors f
                where f.partition = partitions[p.c] and f.kind = p.k
            ), 0) end as at
        from unnest(reads_commit, reads_kind, reads_id, reads_version) with ordinality
            as p (c, k, i, expected, n)
        left join {schema}.records r
            on r.partition = partitions[p.c] and r.kind = p.k and r.id = p.i
        cross join lateral (
            select case when r.value is not null or r.raw is not null then r.version
            else greatest(r.version, (
                select f.version from {schema}.floors f
                where f.partition = partitions[p.c] and f.kind = p.k
            ), 0) end as seen
        ) v
    ) f;

    -- All locks are held, and all that waits has been waited for: only now is it late or not.
    clock := {schema}.clock_ns();
    store_time := clock::text;

    for n in 1 .. cardinality(ids) loop
        if before[n] is not null then
            outcomes[n] := 2;
            applied[n] := before[n]::text;
        elsif n = any (c_commit) then
            outcomes[n] := 3;
        elsif deadlines[n] <= clock then
            outcomes[n] := 4;
        elsif clock + skew < nows[n] and not exists (
            select 1
            from unnest(reads_commit, reads_kind, reads_id) as p (c, k, i)
            left join {schema}.records r
                on r.partition = partitions[p.c] and r.kind = p.k and r.id = p.i
            left join {schema}.floors f on f.partition = partitions[p.c] and f.kind = p.k
            where p.c = n and nows[n] <= case
                when r.value is not null or r.raw is not null then r.at
                else greatest(r.at, f.at, 0) end
        ) then
            outcomes[n] := 5;
        elsif n = any (writes_commit) then
            outcomes[n] := 0;
            writes := true;
        else
            outcomes[n] := 1;
        end if;
    end loop;

    if writes then
        insert into {schema}.records as r
            (partition, kind, id, version, at, sweep_at, value, raw)
        select partitions[w.c], w.k, w.i, w.version, w.at, w.sweep, w.value, w.raw
        from unnest(writes_commit, writes_kind, writes_id, writes_version, writes_at, writes_sweep,
            writes_put, writes_value, writes_raw)
            as w (c, k, i, version, at, sweep, put, value, raw)
        where w.put and outcomes[w.c] = 0
        on conflict (partition, kind, id) do update set
            version = excluded.version, at = excluded.at, sweep_at = excluded.sweep_at,
            value = excluded.value, raw = excluded.raw
        where r.version < excluded.version;
        get diagnostics done = row_count;
        if done <> cardinality(writes_put) then
            select count(*) into wanted from unnest(writes_commit, writes_put) as w (c, put)
            where w.put and outcomes[w.c] = 0;
            if done <> wanted then
                -- Somebody's own SQL changed a record between the comparison and here.
                raise exception 'a record was changed by other SQL at the same time'
                    using errcode = 'serialization_failure';
            end if;
        end if;
        if purges then
            delete from {schema}.records r
            using unnest(writes_commit, writes_kind, writes_id, writes_put) as w (c, k, i, put)
            where not w.put and outcomes[w.c] = 0
                and r.partition = partitions[w.c] and r.kind = w.k and r.id = w.i;
            insert into {schema}.floors as f (partition, kind, version, at)
            select partitions[w.c], w.k, max(w.version), max(w.at)
            from unnest(writes_commit, writes_kind, writes_version, writes_at, writes_put)
                as w (c, k, version, at, put)
            where not w.put and outcomes[w.c] = 0
            group by 1, 2 order by 1, 2
            on conflict (partition, kind) do update set
                version = greatest(f.version, excluded.version),
                at = greatest(f.at, excluded.at);
        end if;
        insert into {schema}.commits (id, partition, at)
        select ids[o.n], partitions[o.n], clock
        from unnest(outcomes) with ordinality as o (outcome, n) where o.outcome = 0;
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
    left join {schema}.records r on r.partition = of_partition and r.kind = p.k and r.id = p.i
    left join {schema}.floors f on f.partition = of_partition and f.kind = p.k
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
