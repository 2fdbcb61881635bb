-- How did latency change from minute to minute?
--
-- Reads:
--   statement
-- Columns:
--   minute     TIMESTAMP WITH TIME ZONE  the minute in which the executions started
--   calls      BIGINT                    logged executions
--   total_ms   DOUBLE                    sum of their durations
--   mean_ms    DOUBLE                    mean duration
--   p50_ms     DOUBLE                    median duration
--   p95_ms     DOUBLE                    95th percentile
--   p99_ms     DOUBLE                    99th percentile
--   max_ms     DOUBLE                    longest duration
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
by_minute as (
    select
        date_trunc('minute', started_at) as minute,
        count(*) as calls,
        round(fsum(duration_ms), 3) as total_ms,
        round(fsum(duration_ms), 3) / count(duration_ms) as mean_ms,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        max(duration_ms) as max_ms
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
    group by date_trunc('minute', started_at)
)

select
    minute,
    calls,
    total_ms,
    mean_ms,
    quantiles[1] as p50_ms,
    quantiles[2] as p95_ms,
    quantiles[3] as p99_ms,
    max_ms
from by_minute
order by minute asc
