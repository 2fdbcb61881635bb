-- Which messages do the typed tables read, and which are the most common that they do not?
--
-- Reads:
--   record
-- Columns:
--   kind       VARCHAR                   the table that reads such messages, null where none does
--   severity   VARCHAR                   level of the messages
--   message    VARCHAR                   where no table reads it: its first line, with N for numbers and … in quotes
--   processes  VARCHAR[]                 backend types that wrote it, from version 13
--   records    BIGINT                    how many
--   share_pct  DOUBLE                    share of all records
--   first_at   TIMESTAMP WITH TIME ZONE  the first
--   last_at    TIMESTAMP WITH TIME ZONE  the last
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $most    BIGINT                    20    how many of the messages that no table reads
with
records_in_span as (
    select
        kind,
        severity,
        message,
        backend_type,
        logged_at
    from record
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

shaped as (
    select
        kind,
        severity,
        backend_type,
        logged_at,
        case
            when kind is null
                then regexp_replace(
                    regexp_replace(split_part(message, chr(10), 1), '"[^"]*"', '"…"', 'g'),
                    '[0-9A-F]+/[0-9A-F]+|[0-9]+([.][0-9]+)?',
                    'N',
                    'g'
                )
        end as shape
    from records_in_span
),

counted as (
    select
        kind,
        severity,
        shape,
        list_sort(list(distinct backend_type) filter (backend_type is not null)) as processes,
        count(*) as records,
        100.0 * count(*) / sum(count(*)) over () as share_pct,
        min(logged_at) as first_at,
        max(logged_at) as last_at
    from shaped
    group by kind, severity, shape
),

ranked as (
    select
        *,
        row_number() over (partition by kind is null order by records desc, severity asc, shape asc) as place
    from counted
)

select
    kind,
    severity,
    shape as message,
    processes,
    records,
    share_pct,
    first_at,
    last_at
from ranked
where kind is not null or place <= $most
order by kind is null asc, records desc, kind asc, severity asc, message asc
