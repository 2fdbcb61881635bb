-- How did the queries that took the most time change over time?
--
-- Steps in which a query did not start have no row.
--
-- Reads:
--   statement
-- Columns:
--   fingerprint  VARCHAR                   the shape; null: executions whose statement was not logged
--   starting_at  TIMESTAMP WITH TIME ZONE  when the step begins
--   calls        BIGINT                    logged executions that started in it
--   total_ms     DOUBLE                    sum of their durations
--   p50_ms       DOUBLE                    median duration
--   p95_ms       DOUBLE                    95th percentile
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $step_s  BIGINT                    3600  length of a step in seconds
--   $top     BIGINT                    20    queries to show
with
executions as (
    select
        fingerprint,
        duration_ms,
        epoch_us(started_at) // (1000000 * cast($step_s as bigint)) as step
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

largest as (
    select fingerprint
    from executions
    group by fingerprint
    order by round(fsum(duration_ms), 3) desc, fingerprint asc
    limit $top
),

by_step as (
    select
        executions.fingerprint,
        executions.step,
        count(*) as calls,
        round(fsum(executions.duration_ms), 3) as total_ms,
        quantile_cont(executions.duration_ms, [0.5, 0.95]) as quantiles
    from executions
    inner join largest on executions.fingerprint is not distinct from largest.fingerprint
    group by executions.fingerprint, executions.step
)

select
    fingerprint,
    to_timestamp(step * cast($step_s as bigint)) as starting_at,
    calls,
    total_ms,
    quantiles[1] as p50_ms,
    quantiles[2] as p95_ms
from by_step
order by fingerprint asc nulls last, starting_at asc
