-- How did latency and load change over time, in steps of a chosen length?
--
-- An execution counts in the step in which it started, with its whole duration; busy_s is the time that executions
-- spent within the step, whenever they started. Steps in which nothing started and nothing ran have no row.
--
-- Reads:
--   statement
-- Columns:
--   starting_at  TIMESTAMP WITH TIME ZONE  when the step begins
--   executions   BIGINT                    logged executions that started in it
--   p50_ms       DOUBLE                    their median duration
--   p95_ms       DOUBLE                    95th percentile
--   p99_ms       DOUBLE                    99th percentile
--   max_ms       DOUBLE                    longest duration
--   busy_s       DOUBLE                    seconds of execution within the step; by its length: sessions at work
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  executions that started from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  executions that started before this time
--   $server  VARCHAR                   null  only this server
--   $step_s  BIGINT                    60    length of a step in seconds
with
executions as (
    select
        duration_ms,
        epoch_us(started_at) as start_us,
        epoch_us(started_at) + cast(1000 * duration_ms as bigint) as end_us,
        1000000 * cast($step_s as bigint) as step_us,
        epoch_us(started_at) // (1000000 * cast($step_s as bigint)) as step
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

latency as (
    select
        step,
        count(*) as executions,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        max(duration_ms) as max_ms,
        sum(least(end_us, (step + 1) * step_us) - start_us) as busy_us
    from executions
    group by step
),

-- what ran on into later steps
later as (
    select
        end_us,
        step_us,
        unnest(range(step + 1, end_us // step_us + 1)) as step
    from executions
    where end_us >= (step + 1) * step_us
),

ran_on as (
    select
        step,
        sum(least(end_us, (step + 1) * step_us) - step * step_us) as busy_us
    from later
    group by step
)

select
    to_timestamp(coalesce(latency.step, ran_on.step) * cast($step_s as bigint)) as starting_at,
    coalesce(latency.executions, 0) as executions,
    latency.quantiles[1] as p50_ms,
    latency.quantiles[2] as p95_ms,
    latency.quantiles[3] as p99_ms,
    latency.max_ms,
    (coalesce(latency.busy_us, 0) + coalesce(ran_on.busy_us, 0)) / 1000000 as busy_s
from latency
full outer join ran_on on latency.step = ran_on.step
order by starting_at asc
