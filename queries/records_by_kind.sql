-- What kinds of messages are in the logs, and which has no table?
--
-- Reads:
--   record
-- Columns:
--   kind       VARCHAR                   the table that reads such messages, null where none does
--   severity   VARCHAR                   level of the messages
--   records    BIGINT                    how many
--   share_pct  DOUBLE                    share of all
--   first_at   TIMESTAMP WITH TIME ZONE  the first
--   last_at    TIMESTAMP WITH TIME ZONE  the last
--   example    VARCHAR                   first line of one of them, where there is no table
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
select
    kind,
    severity,
    count(*) as records,
    100.0 * count(*) / sum(count(*)) over () as share_pct,
    min(logged_at) as first_at,
    max(logged_at) as last_at,
    split_part(min(message) filter (where kind is null), chr(10), 1) as example
from record
where
    ($since is null or logged_at >= $since)
    and ($until is null or logged_at < $until)
    and ($server is null or server = $server)
group by kind, severity
order by records desc, kind asc, severity asc
