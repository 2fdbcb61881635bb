-- Which applications, users, databases or client hosts ran statements, how many, and how long did they take?
--
-- Reads:
--   statement
-- Columns:
--   value        VARCHAR                   the application (user, database, client host)
--   calls        BIGINT                    logged executions
--   queries      BIGINT                    of how many shapes
--   total_ms     DOUBLE                    sum of their durations
--   total_pct    DOUBLE                    share of all logged time
--   mean_ms      DOUBLE                    mean duration
--   p95_ms       DOUBLE                    95th percentile
--   max_ms       DOUBLE                    longest duration
--   first_at     TIMESTAMP WITH TIME ZONE  start of the first execution
--   last_at      TIMESTAMP WITH TIME ZONE  start of the last execution
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null              from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null              before this time
--   $server  VARCHAR                   null              only this server
--   $by      VARCHAR                   application_name  or user_name, database_name, client_host
--   $top     BIGINT                    50                rows to show
with
executions as (
    select
        duration_ms,
        started_at,
        fingerprint,
        case $by
            when 'application_name' then application_name
            when 'user_name' then user_name
            when 'database_name' then database_name
            when 'client_host' then client_host
            else error('by is application_name, user_name, database_name or client_host')
        end as value
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

by_value as (
    select
        value,
        count(*) as calls,
        count(distinct fingerprint) as queries,
        round(fsum(duration_ms), 3) as total_ms,
        round(fsum(duration_ms), 3) / count(duration_ms) as mean_ms,
        quantile_cont(duration_ms, 0.95) as p95_ms,
        max(duration_ms) as max_ms,
        min(started_at) as first_at,
        max(started_at) as last_at
    from executions
    group by value
)

select
    value,
    calls,
    queries,
    total_ms,
    100 * total_ms / round(fsum(total_ms) over (), 3) as total_pct,
    mean_ms,
    p95_ms,
    max_ms,
    first_at,
    last_at
from by_value
order by total_ms desc, value asc
limit $top
