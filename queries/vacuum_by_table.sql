-- Which tables kept autovacuum busy, and with what?
--
-- Runs are logged from log_autovacuum_min_duration on. WAL of analyze is logged from version 18.
--
-- Reads:
--   autovacuum, autoanalyze
-- Columns:
--   server            VARCHAR                   server
--   relation          VARCHAR                   database, schema and table
--   vacuums           BIGINT                    vacuums that ended
--   analyzes          BIGINT                    analyzes that ended
--   elapsed_s         DOUBLE                    time they took together
--   longest_s         DOUBLE                    longest run
--   tuples_removed    BIGINT                    dead rows removed
--   not_removable     BIGINT                    dead rows that the last vacuum had to leave
--   most_index_scans  BIGINT                    most passes over the indexes in one run
--   buffer_reads      BIGINT                    buffers read
--   buffer_dirtied    BIGINT                    buffers dirtied
--   wal_bytes         BIGINT                    WAL written
--   cpu_s             DOUBLE                    CPU, user and system
--   last_ended_at     TIMESTAMP WITH TIME ZONE  when the last run ended
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  runs that ended at this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  runs that ended before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    tables to show, those with the most time first
with
runs as (
    select
        server,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        true as is_vacuum,
        logged_at,
        elapsed_s,
        tuples_removed,
        tuples_dead_not_removable,
        index_scans,
        buffer_reads,
        buffer_dirtied,
        wal_bytes,
        cpu_user_s + cpu_system_s as cpu_s
    from autovacuum
    union all by name
    select
        server,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        false as is_vacuum,
        logged_at,
        elapsed_s,
        buffer_reads,
        buffer_dirtied,
        wal_bytes,
        cpu_user_s + cpu_system_s as cpu_s
    from autoanalyze
)

select
    server,
    relation,
    count(*) filter (where is_vacuum) as vacuums,
    count(*) filter (where not is_vacuum) as analyzes,
    round(fsum(elapsed_s), 6) as elapsed_s,
    max(elapsed_s) as longest_s,
    cast(sum(tuples_removed) as bigint) as tuples_removed,
    arg_max(tuples_dead_not_removable, (logged_at, tuples_dead_not_removable)) as not_removable,
    max(index_scans) as most_index_scans,
    cast(sum(buffer_reads) as bigint) as buffer_reads,
    cast(sum(buffer_dirtied) as bigint) as buffer_dirtied,
    cast(sum(wal_bytes) as bigint) as wal_bytes,
    round(fsum(cpu_s), 6) as cpu_s,
    max(logged_at) as last_ended_at
from runs
where
    ($since is null or logged_at >= $since)
    and ($until is null or logged_at < $until)
    and ($server is null or server = $server)
group by server, relation
order by elapsed_s desc, server asc, relation asc
limit $top
