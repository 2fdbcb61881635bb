-- Which queries took the most time?
--
-- Executions of one shape (constants aside) together. Parsing and binding are not executions. A row without text
-- sums up durations whose statement was not logged.
--
-- Reads:
--   statement, query
-- Columns:
--   query_text   VARCHAR                   the SQL with $n in place of constants
--   calls        BIGINT                    logged executions
--   total_ms     DOUBLE                    sum of their durations
--   total_pct    DOUBLE                    share of all logged time
--   mean_ms      DOUBLE                    mean duration
--   p50_ms       DOUBLE                    median duration
--   p95_ms       DOUBLE                    95th percentile
--   p99_ms       DOUBLE                    99th percentile
--   max_ms       DOUBLE                    longest duration
--   first_at     TIMESTAMP WITH TIME ZONE  start of the first execution
--   last_at      TIMESTAMP WITH TIME ZONE  start of the last execution
--   fingerprint  VARCHAR                   the shape, for joining with other tables
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    rows to show
with
executions as (
    select
        fingerprint,
        duration_ms,
        started_at
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

by_shape as (
    select
        fingerprint,
        count(*) as calls,
        round(fsum(duration_ms), 3) as total_ms,
        round(fsum(duration_ms), 3) / count(duration_ms) as mean_ms,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        max(duration_ms) as max_ms,
        min(started_at) as first_at,
        max(started_at) as last_at
    from executions
    group by fingerprint
)

select
    query.query_text,
    by_shape.calls,
    by_shape.total_ms,
    100 * by_shape.total_ms / round(fsum(by_shape.total_ms) over (), 3) as total_pct,
    by_shape.mean_ms,
    by_shape.quantiles[1] as p50_ms,
    by_shape.quantiles[2] as p95_ms,
    by_shape.quantiles[3] as p99_ms,
    by_shape.max_ms,
    by_shape.first_at,
    by_shape.last_at,
    by_shape.fingerprint
from by_shape
left join query on by_shape.fingerprint = query.fingerprint
order by by_shape.total_ms desc, by_shape.fingerprint asc
limit $top
