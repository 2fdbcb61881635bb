-- What was different for queries while checkpoints and autovacuum were at work?
--
-- Executions are placed by their start. Slow means above the 95th percentile of all. The columns show what goes
-- together, not what caused what: the load may have been different as well.
--
-- Reads:
--   checkpoint, autovacuum, autoanalyze, statement
-- Columns:
--   at_work   VARCHAR  checkpoint, autovacuum, both or neither
--   calls     BIGINT   executions
--   mean_ms   DOUBLE   mean duration
--   p50_ms    DOUBLE   median duration
--   p95_ms    DOUBLE   95th percentile
--   p99_ms    DOUBLE   99th percentile
--   slow_pct  DOUBLE   share of them that are slower than the 95th percentile of all executions
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
checkpoints as (
    select
        server,
        started_at as checkpoint_started_at,
        max(completed_at) over (partition by server order by started_at asc) as checkpoint_ended_at
    from checkpoint
    where started_at is not null and completed_at is not null
),

runs as (
    select
        server,
        started_at,
        logged_at
    from autovacuum
    union all
    select
        server,
        started_at,
        logged_at
    from autoanalyze
),

vacuums as (
    select
        server,
        started_at as vacuum_started_at,
        max(logged_at) over (partition by server order by started_at asc) as vacuum_ended_at
    from runs
),

executions as (
    select
        server,
        started_at,
        duration_ms
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

slowness as (
    select quantile_cont(duration_ms, 0.95) as slow_ms
    from executions
),

placed as (
    select
        executions.duration_ms,
        coalesce(executions.started_at < checkpoints.checkpoint_ended_at, false) as in_checkpoint,
        coalesce(executions.started_at < vacuums.vacuum_ended_at, false) as in_vacuum
    from executions
    asof left join checkpoints
        on executions.server = checkpoints.server and executions.started_at >= checkpoints.checkpoint_started_at
    asof left join vacuums
        on executions.server = vacuums.server and executions.started_at >= vacuums.vacuum_started_at
),

compared as (
    select
        case
            when placed.in_checkpoint and placed.in_vacuum then 'both'
            when placed.in_checkpoint then 'checkpoint'
            when placed.in_vacuum then 'autovacuum'
            else 'neither'
        end as at_work,
        count(*) as calls,
        round(fsum(placed.duration_ms), 3) / count(placed.duration_ms) as mean_ms,
        quantile_cont(placed.duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        100.0 * count(*) filter (where placed.duration_ms > slowness.slow_ms) / count(*) as slow_pct
    from placed
    cross join slowness
    group by all
)

select
    at_work,
    calls,
    mean_ms,
    quantiles[1] as p50_ms,
    quantiles[2] as p95_ms,
    quantiles[3] as p99_ms,
    slow_pct
from compared
order by at_work asc
