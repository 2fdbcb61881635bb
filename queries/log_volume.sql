-- What fills the log: how many records of each kind, how large, how many an hour?
--
-- Sizes are those of the texts, and 60 bytes for what stands before each: an estimate that is a little low for csvlog
-- and jsonlog. The rate is over the time from the first to the last record of the server.
--
-- Reads:
--   record
-- Columns:
--   server            VARCHAR  server
--   kind              VARCHAR  the table that the records are read to; null: none
--   records           BIGINT   records
--   bytes             DOUBLE   their size
--   share_pct         DOUBLE   share of the size of all
--   bytes_per_record  DOUBLE   mean size
--   records_per_hour  DOUBLE   records an hour
--   mb_per_day        DOUBLE   MB a day at that rate
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
records as (
    select
        server,
        kind,
        count(*) as records,
        sum(
            60
            + coalesce(strlen(message), 0)
            + coalesce(strlen(detail), 0)
            + coalesce(strlen(hint), 0)
            + coalesce(strlen(context), 0)
            + coalesce(strlen(statement), 0)
        )::double as bytes,
        min(logged_at) as first_at,
        max(logged_at) as last_at
    from record
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server, kind
),

spans as (
    select
        server,
        sum(bytes) as bytes,
        greatest(epoch_us(max(last_at) - min(first_at)) / 3.6e9, 1 / 3600) as hours
    from records
    group by server
)

select
    records.server,
    records.kind,
    records.records,
    records.bytes,
    100 * records.bytes / spans.bytes as share_pct,
    records.bytes / records.records as bytes_per_record,
    records.records / spans.hours as records_per_hour,
    24 * records.bytes / spans.hours / 1048576 as mb_per_day
from records
inner join spans on records.server = spans.server
order by records.server asc, records.bytes desc, records.kind asc
