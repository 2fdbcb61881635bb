-- How much was logged in all: executions and durations, checkpoints, vacuums, waits, files, errors, sessions, WAL?
--
-- One row, or none where there is nothing at all. A count of 0 may also mean that the server does not log such things.
--
-- Reads:
--   statement, checkpoint, autovacuum, autoanalyze, whole_lock_wait, temp_file, error, connection, wal_second
-- Columns:
--   executions   BIGINT  logged executions
--   queries      BIGINT  of how many shapes
--   busy_s       DOUBLE  sum of their durations
--   shortest_ms  DOUBLE  shortest duration: far above 0 where log_min_duration_statement leaves fast ones out
--   p50_ms       DOUBLE  median duration
--   p95_ms       DOUBLE  95th percentile
--   p99_ms       DOUBLE  99th percentile
--   max_ms       DOUBLE  longest duration
--   checkpoints  BIGINT  checkpoints and restartpoints that began
--   vacuums      BIGINT  vacuums by autovacuum that ended
--   analyzes     BIGINT  analyzes by autovacuum that ended
--   lock_waits   BIGINT  waits for locks
--   lock_wait_s  DOUBLE  time spent in them
--   temp_files   BIGINT  temporary files
--   temp_bytes   BIGINT  their size
--   errors       BIGINT  messages of level ERROR, FATAL or PANIC
--   sessions     BIGINT  sessions that came in
--   wal_bytes    BIGINT  WAL records that have a time
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
executions as (
    select
        count(*) as executions,
        count(distinct fingerprint) as queries,
        round(fsum(duration_ms), 3) / 1000 as busy_s,
        min(duration_ms) as shortest_ms,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        max(duration_ms) as max_ms
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

others as (
    select
        'checkpoint' as what,
        server,
        coalesce(started_at, completed_at) as happened_at,
        null as amount
    from checkpoint
    union all
    select
        'vacuum' as what,
        server,
        logged_at as happened_at,
        null as amount
    from autovacuum
    union all
    select
        'analyze' as what,
        server,
        logged_at as happened_at,
        null as amount
    from autoanalyze
    union all
    select
        'lock wait' as what,
        server,
        waiting_since as happened_at,
        waited_ms / 1000 as amount
    from whole_lock_wait
    union all
    select
        'temporary file' as what,
        server,
        logged_at as happened_at,
        size_bytes as amount
    from temp_file
    union all
    select
        'error' as what,
        server,
        logged_at as happened_at,
        null as amount
    from error
    where severity <> 'WARNING'
    union all
    select
        'session' as what,
        server,
        coalesce(received_at, authorized_at) as happened_at,
        null as amount
    from connection
    union all
    select
        'wal' as what,
        server,
        second as happened_at,
        bytes as amount
    from wal_second
),

counted as (
    select
        count(*) as anything,
        count(*) filter (where what = 'checkpoint') as checkpoints,
        count(*) filter (where what = 'vacuum') as vacuums,
        count(*) filter (where what = 'analyze') as analyzes,
        count(*) filter (where what = 'lock wait') as lock_waits,
        round(fsum(amount) filter (where what = 'lock wait'), 6) as lock_wait_s,
        count(*) filter (where what = 'temporary file') as temp_files,
        cast(sum(amount) filter (where what = 'temporary file') as bigint) as temp_bytes,
        count(*) filter (where what = 'error') as errors,
        count(*) filter (where what = 'session') as sessions,
        cast(sum(amount) filter (where what = 'wal') as bigint) as wal_bytes
    from others
    where
        happened_at is not null
        and ($since is null or happened_at >= $since)
        and ($until is null or happened_at < $until)
        and ($server is null or server = $server)
)

select
    executions.executions,
    executions.queries,
    executions.busy_s,
    executions.shortest_ms,
    executions.quantiles[1] as p50_ms,
    executions.quantiles[2] as p95_ms,
    executions.quantiles[3] as p99_ms,
    executions.max_ms,
    counted.checkpoints,
    counted.vacuums,
    counted.analyzes,
    counted.lock_waits,
    counted.lock_wait_s,
    counted.temp_files,
    counted.temp_bytes,
    counted.errors,
    counted.sessions,
    counted.wal_bytes
from executions
cross join counted
where executions.executions > 0 or counted.anything > 0
order by executions.executions asc
