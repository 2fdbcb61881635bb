-- Which tables did autovacuum work on, when, and how hard?
--
-- Reads:
--   autovacuum, autoanalyze
-- Columns:
--   server              VARCHAR                   server
--   kind                VARCHAR                   vacuum or analyze
--   relation            VARCHAR                   database.schema.table
--   started_at          TIMESTAMP WITH TIME ZONE  when it began (its end less the elapsed time, to 10 ms)
--   ended_at            TIMESTAMP WITH TIME ZONE  when it ended
--   elapsed_s           DOUBLE                    how long it took
--   is_wraparound       BOOLEAN                   whether it was to prevent transaction id wraparound
--   index_scans         BIGINT                    passes over the indexes
--   tuples_removed      BIGINT                    dead rows removed
--   dead_not_removable  BIGINT                    dead rows that someone may still see
--   buffer_reads        BIGINT                    buffers read
--   buffer_dirtied      BIGINT                    buffers dirtied
--   wal_bytes           BIGINT                    WAL written
--   cpu_s               DOUBLE                    CPU, user and system
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
runs as (
    select
        server,
        source_id,
        line_no,
        'vacuum' as kind,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        started_at,
        logged_at as ended_at,
        elapsed_s,
        is_wraparound,
        index_scans,
        tuples_removed,
        tuples_dead_not_removable as dead_not_removable,
        buffer_reads,
        buffer_dirtied,
        wal_bytes,
        cpu_user_s + cpu_system_s as cpu_s
    from autovacuum
    union all
    select
        server,
        source_id,
        line_no,
        'analyze' as kind,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        started_at,
        logged_at as ended_at,
        elapsed_s,
        false as is_wraparound,
        null as index_scans,
        null as tuples_removed,
        null as dead_not_removable,
        buffer_reads,
        buffer_dirtied,
        wal_bytes,
        cpu_user_s + cpu_system_s as cpu_s
    from autoanalyze
)

select
    server,
    kind,
    relation,
    started_at,
    ended_at,
    elapsed_s,
    is_wraparound,
    index_scans,
    tuples_removed,
    dead_not_removable,
    buffer_reads,
    buffer_dirtied,
    wal_bytes,
    cpu_s
from runs
where
    ($since is null or ended_at >= $since)
    and ($until is null or started_at < $until)
    and ($server is null or server = $server)
order by server asc, started_at asc, relation asc, kind asc, source_id asc, line_no asc
