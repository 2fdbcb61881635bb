-- What was cancelled or cut off, why, and which queries was it?
--
-- Timeouts, cancel requests, conflicts on a standby, autovacuum that made way, shutdowns. Where nothing was running,
-- as in a session idle in its transaction, there is no query.
--
-- Reads:
--   error, query
-- Columns:
--   cancelled_by       VARCHAR                   why, see table error
--   is_session_ended   BOOLEAN                   whether the process ended with it, not just its statement
--   query_text         VARCHAR                   the SQL with $n in place of constants
--   relation_name      VARCHAR                   relation that it was at work on, where that is said
--   cancellations      BIGINT                    how often
--   processes          BIGINT                    in how many processes
--   application_names  VARCHAR[]                 their applications
--   user_names         VARCHAR[]                 their roles
--   first_at           TIMESTAMP WITH TIME ZONE  the first
--   last_at            TIMESTAMP WITH TIME ZONE  the last
--   fingerprint        VARCHAR                   the shape
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show
with
grouped as (
    select
        cancelled_by,
        severity in ('FATAL', 'PANIC')
        or cancelled_by in ('crash of another process', 'immediate shutdown', 'unexpected SIGQUIT') as is_session_ended,
        fingerprint,
        relation_name,
        count(*) as cancellations,
        count(distinct server || ' ' || pid) as processes,
        list_sort(list(distinct application_name) filter (application_name is not null)) as application_names,
        list_sort(list(distinct user_name) filter (user_name is not null)) as user_names,
        min(logged_at) as first_at,
        max(logged_at) as last_at
    from error
    where
        cancelled_by is not null
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by cancelled_by, is_session_ended, fingerprint, relation_name
)

select
    grouped.cancelled_by,
    grouped.is_session_ended,
    query.query_text,
    grouped.relation_name,
    grouped.cancellations,
    grouped.processes,
    grouped.application_names,
    grouped.user_names,
    grouped.first_at,
    grouped.last_at,
    grouped.fingerprint
from grouped
left join query on grouped.fingerprint = query.fingerprint
order by
    grouped.cancellations desc,
    grouped.cancelled_by asc,
    grouped.is_session_ended asc,
    grouped.fingerprint asc,
    grouped.relation_name asc
limit $top
