-- What happened to the server itself: starts, stops, crashes, recovery, reloads?
--
-- Reads:
--   server_event
-- Columns:
--   logged_at  TIMESTAMP WITH TIME ZONE  when
--   server     VARCHAR                   the server
--   event      VARCHAR                   what it was, see table server_event
--   severity   VARCHAR                   level of the message
--   message    VARCHAR                   first line of what the server said
--   pid        BIGINT                    the process that said it
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $event   VARCHAR                   null  only this event
select
    logged_at,
    server,
    event,
    severity,
    split_part(message, chr(10), 1) as message,
    pid
from server_event
where
    ($since is null or logged_at >= $since)
    and ($until is null or logged_at < $until)
    and ($server is null or server = $server)
    and ($event is null or event = $event)
order by logged_at asc, server asc, source_id asc, line_no asc
