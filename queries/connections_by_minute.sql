-- How many connections came and went, and how many were open?
--
-- Needs log_connections and log_disconnections. Sessions that were open before the log begins are not counted as open.
--
-- Reads:
--   connection
-- Columns:
--   minute         TIMESTAMP WITH TIME ZONE  the minute
--   received       BIGINT                    connections that came in
--   authorized     BIGINT                    sessions that were let into a database
--   ended          BIGINT                    sessions that ended
--   failed         BIGINT                    connections that came in and were refused, or never authorized
--   open_sessions  BIGINT                    authorized and not ended at the end of the minute
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from the minute of this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  minutes that begin before this time
--   $server  VARCHAR                   null  only this server
with
sessions as (
    select
        received_at,
        -- "connection authorized" is written before the server looks for the database and a free slot
        case when refused_at is null then authorized_at end as authorized_at,
        ended_at,
        refused_at
    from connection
    where ($server is null or server = $server)
),

events as (
    select
        date_trunc('minute', received_at) as minute,
        1 as received,
        0 as authorized,
        0 as ended,
        case when refused_at is not null or (authorized_at is null and ended_at is null) then 1 else 0 end as failed,
        0 as opened
    from sessions
    where received_at is not null
    union all
    select
        date_trunc('minute', authorized_at) as minute,
        0 as received,
        1 as authorized,
        0 as ended,
        0 as failed,
        1 as opened
    from sessions
    where authorized_at is not null
    union all
    select
        date_trunc('minute', ended_at) as minute,
        0 as received,
        0 as authorized,
        1 as ended,
        0 as failed,
        case when authorized_at is not null then -1 else 0 end as opened
    from sessions
    where ended_at is not null
),

by_minute as (
    select
        minute,
        cast(sum(received) as bigint) as received,
        cast(sum(authorized) as bigint) as authorized,
        cast(sum(ended) as bigint) as ended,
        cast(sum(failed) as bigint) as failed,
        cast(sum(sum(opened)) over (order by minute asc) as bigint) as open_sessions
    from events
    group by minute
)

select
    minute,
    received,
    authorized,
    ended,
    failed,
    open_sessions
from by_minute
where
    ($since is null or minute >= date_trunc('minute', $since::timestamp with time zone))
    and ($until is null or minute < $until)
order by minute asc
