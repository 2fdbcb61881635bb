-- How exactly is the time of WAL records known, and from what?
--
-- Only ends of transactions say their time. Other records lie between two of them; where there is none, lines of the
-- log that name a position (checkpoints from version 16, restore points, redo) and snapshots of relations help.
--
-- Reads:
--   wal_record_time
-- Columns:
--   server         VARCHAR                   server
--   time_basis     VARCHAR                   where the times are from; null: no time is known
--   records        BIGINT                    WAL records
--   share_pct      DOUBLE                    their share
--   total_bytes    BIGINT                    their size
--   between_pct    DOUBLE                    of them with a time on both sides
--   p50_width_ms   DOUBLE                    median of the time between the two sides
--   p95_width_ms   DOUBLE                    95th percentile of it
--   most_width_ms  DOUBLE                    longest
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  written from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
records as (
    select
        server,
        time_basis,
        total_bytes,
        cast(date_diff('microsecond', time_after, time_before) as double) / 1000 as width_ms
    from wal_record_time
    where
        ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
)

select
    server,
    time_basis,
    count(*) as records,
    100.0 * count(*) / sum(count(*)) over (partition by server) as share_pct,
    cast(sum(total_bytes) as bigint) as total_bytes,
    100.0 * count(width_ms) / count(*) as between_pct,
    quantile_cont(width_ms, 0.5) as p50_width_ms,
    quantile_cont(width_ms, 0.95) as p95_width_ms,
    max(width_ms) as most_width_ms
from records
group by server, time_basis
order by server asc, records desc, time_basis asc
