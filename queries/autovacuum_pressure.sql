-- Which tables give autovacuum more than it can do: memory, dead rows it may not remove, cancelled and skipped runs?
--
-- More than one index scan in a run means that autovacuum_work_mem (maintenance_work_mem) was too small for its dead
-- rows. Dead rows that may not be removed are held by an old transaction, a replication slot or a standby. A run that
-- was skipped is logged without schema and database: it is counted with the one table of that name.
--
-- Reads:
--   autovacuum, vacuum_event
-- Columns:
--   server               VARCHAR  server
--   relation             VARCHAR  database, schema and table
--   runs                 BIGINT   vacuums that ended
--   elapsed_s            DOUBLE   time they took together
--   share_of_span_pct    DOUBLE   of the time between the first start and the last end of any table's run
--   several_index_scans  BIGINT   runs with more than one pass over the indexes
--   most_index_scans     BIGINT   most passes
--   not_removable        BIGINT   dead rows not removable at the end of the last run
--   most_not_removable   BIGINT   most dead rows not removable at the end of a run
--   missed_dead_tuples   BIGINT   dead rows missed because others used the page, from version 15
--   wraparound_runs      BIGINT   runs to prevent wraparound
--   failsafe_runs        BIGINT   runs that bypassed the indexes as a failsafe
--   canceled             BIGINT   runs cancelled for a lock
--   skipped              BIGINT   runs skipped because the lock was not free
--   removed_per_s        DOUBLE   dead rows removed per second of work
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  runs that ended at this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  runs that ended before this time
--   $server  VARCHAR                   null  only this server
with
runs as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        started_at,
        relation_name,
        elapsed_s,
        index_scans,
        index_scan,
        is_wraparound,
        tuples_removed,
        tuples_dead_not_removable,
        missed_dead_tuples,
        concat_ws('.', database_name, schema_name, relation_name) as relation
    from autovacuum
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

spans as (
    select
        server,
        cast(date_diff('millisecond', min(started_at), max(logged_at)) as double) / 1000 as span_s
    from runs
    group by server
),

by_table as (
    select
        server,
        relation,
        min(relation_name) as relation_name,
        count(*) as runs,
        round(fsum(elapsed_s), 6) as elapsed_s,
        count(*) filter (index_scans > 1) as several_index_scans,
        max(index_scans) as most_index_scans,
        last(tuples_dead_not_removable order by logged_at asc, source_id asc, line_no asc) filter (
            tuples_dead_not_removable is not null
        ) as not_removable,
        max(tuples_dead_not_removable) as most_not_removable,
        cast(sum(missed_dead_tuples) as bigint) as missed_dead_tuples,
        count(*) filter (is_wraparound) as wraparound_runs,
        count(*) filter (index_scan = 'bypassed by failsafe') as failsafe_runs,
        sum(tuples_removed) / nullif(round(fsum(elapsed_s), 6), 0) as removed_per_s
    from runs
    group by server, relation
),

-- autovacuum says at level LOG that it skipped a table, a session by WARNING
events as (
    select
        server,
        event,
        relation_name,
        case
            when schema_name is not null then concat_ws('.', database_name, schema_name, relation_name)
        end as relation
    from vacuum_event
    where
        relation_name is not null
        and (
            (event = 'canceled' and coalesce(operation, 'vacuum') = 'vacuum')
            or (event = 'skipped' and coalesce(operation, 'vacuum') = 'vacuum' and severity = 'LOG')
            or event = 'failsafe'
        )
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

sole_names as (
    select
        server,
        relation_name,
        any_value(relation) as relation
    from by_table
    group by server, relation_name
    having count(*) = 1
),

troubles as (
    select
        events.server,
        coalesce(events.relation, sole_names.relation, events.relation_name) as relation,
        count(*) filter (events.event = 'canceled') as canceled,
        count(*) filter (events.event = 'skipped') as skipped,
        count(*) filter (events.event = 'failsafe') as failsafes
    from events
    left join sole_names on events.server = sole_names.server and events.relation_name = sole_names.relation_name
    group by events.server, coalesce(events.relation, sole_names.relation, events.relation_name)
)

select
    coalesce(by_table.server, troubles.server) as server,
    coalesce(by_table.relation, troubles.relation) as relation,
    coalesce(by_table.runs, 0) as runs,
    by_table.elapsed_s,
    100 * by_table.elapsed_s / nullif(spans.span_s, 0) as share_of_span_pct,
    coalesce(by_table.several_index_scans, 0) as several_index_scans,
    by_table.most_index_scans,
    by_table.not_removable,
    by_table.most_not_removable,
    by_table.missed_dead_tuples,
    coalesce(by_table.wraparound_runs, 0) as wraparound_runs,
    greatest(coalesce(by_table.failsafe_runs, 0), coalesce(troubles.failsafes, 0)) as failsafe_runs,
    coalesce(troubles.canceled, 0) as canceled,
    coalesce(troubles.skipped, 0) as skipped,
    by_table.removed_per_s
from by_table
full join troubles on by_table.server = troubles.server and by_table.relation = troubles.relation
left join spans on by_table.server = spans.server
order by
    several_index_scans desc,
    canceled desc,
    skipped desc,
    by_table.most_not_removable desc nulls last,
    by_table.elapsed_s desc nulls last,
    server asc,
    relation asc
