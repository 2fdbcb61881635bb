-- Do queries run slower in seconds with much WAL, or with many full page images?
--
-- An execution is placed by the second that it started in. Only seconds from the first to the last commit in the WAL
-- read count. The classes show what goes together, not what caused what: busy seconds have more of everything.
--
-- Reads:
--   wal_second, statement
-- Columns:
--   wal_rate   VARCHAR  WAL in the second: none, below 100 kB, 100 kB - 1 MB, 1 MB - 10 MB, 10 MB - 100 MB, over 100 MB
--   fpi_share  VARCHAR  share of full page images in it: none, below 25 %, 25 - 50 %, 50 - 75 %, over 75 %
--   seconds    BIGINT   such seconds in which executions started
--   calls      BIGINT   executions
--   mean_ms    DOUBLE   mean duration
--   p50_ms     DOUBLE   median duration
--   p95_ms     DOUBLE   95th percentile
--   p99_ms     DOUBLE   99th percentile
--   max_ms     DOUBLE   longest duration
-- Parameters:
--   $since        TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until        TIMESTAMP WITH TIME ZONE  null  before this time
--   $server       VARCHAR                   null  only this server
--   $fingerprint  VARCHAR                   null  only executions of this shape
with
seconds as (
    select
        server,
        second,
        sum(bytes) as bytes,
        sum(fpi_bytes) / sum(bytes) as fpi_share
    from wal_second
    where $server is null or server = $server
    group by server, second
),

spans as (
    select
        server,
        min(second) as first_second,
        max(second) as last_second
    from seconds
    group by server
),

executions as (
    select
        server,
        date_trunc('second', started_at) as second,
        duration_ms
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
        and ($fingerprint is null or fingerprint = $fingerprint)
),

placed as (
    select
        executions.server,
        executions.second,
        executions.duration_ms,
        case
            when seconds.bytes is null then 0
            when seconds.bytes < 100000 then 1
            when seconds.bytes < 1000000 then 2
            when seconds.bytes < 10000000 then 3
            when seconds.bytes < 100000000 then 4
            else 5
        end as rate_class,
        case
            when coalesce(seconds.fpi_share, 0) = 0 then 0
            when seconds.fpi_share < 0.25 then 1
            when seconds.fpi_share < 0.5 then 2
            when seconds.fpi_share < 0.75 then 3
            else 4
        end as fpi_class
    from executions
    inner join spans
        on
            executions.server = spans.server
            and executions.second >= spans.first_second
            and executions.second <= spans.last_second
    left join seconds on executions.server = seconds.server and executions.second = seconds.second
),

compared as (
    select
        rate_class,
        fpi_class,
        count(distinct concat_ws('/', server, epoch(second))) as seconds,
        count(*) as calls,
        round(fsum(duration_ms), 3) / count(duration_ms) as mean_ms,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        max(duration_ms) as max_ms
    from placed
    group by rate_class, fpi_class
)

select
    case rate_class
        when 0 then 'none'
        when 1 then 'below 100 kB'
        when 2 then '100 kB - 1 MB'
        when 3 then '1 MB - 10 MB'
        when 4 then '10 MB - 100 MB'
        else 'over 100 MB'
    end as wal_rate,
    case fpi_class
        when 0 then 'none'
        when 1 then 'below 25 %'
        when 2 then '25 - 50 %'
        when 3 then '50 - 75 %'
        else 'over 75 %'
    end as fpi_share,
    seconds,
    calls,
    mean_ms,
    quantiles[1] as p50_ms,
    quantiles[2] as p95_ms,
    quantiles[3] as p99_ms,
    max_ms
from compared
order by rate_class asc, fpi_class asc
