-- What did PgBouncer do minute by minute: clients, refusals, waits, server connections, transactions?
--
-- Counts are of log_connections, log_disconnections and log_pooler_errors, averages of its lines of statistics
-- (log_stats), each of which is about stats_period before it. A client is refused where its login fails or there is no
-- place for it. Null: there is no line that says it.
--
-- Reads:
--   pgbouncer
-- Columns:
--   minute                TIMESTAMP WITH TIME ZONE  the minute
--   server                VARCHAR                   server: the pooler, as named at ingest
--   logins                BIGINT                    logins of clients
--   refused               BIGINT                    clients that were refused
--   query_wait_timeouts   BIGINT                    clients cut off since they waited longer than query_wait_timeout
--   clients_closed        BIGINT                    connections of clients that ended
--   mean_client_s         DOUBLE                    mean length of these
--   server_opened         BIGINT                    connections to the server that were opened
--   server_closed         BIGINT                    connections to the server that were closed
--   server_login_failed   BIGINT                    logins at the server that failed
--   reasons               VARCHAR[]                 why clients were refused or cut off, without numbers and names
--   xacts_per_s           DOUBLE                    transactions per second
--   queries_per_s         DOUBLE                    queries per second, from version 1.8
--   xact_us               DOUBLE                    mean time in a transaction
--   query_us              DOUBLE                    mean time of a query
--   wait_us               DOUBLE                    mean time that clients waited for a server connection
--   most_wait_us          DOUBLE                    largest of these averages in the minute
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from the minute of this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  minutes that begin before this time
--   $server  VARCHAR                   null  only this server
with
messages as (
    select
        server,
        date_trunc('minute', logged_at) as minute,
        event,
        side,
        age_s,
        reason,
        xacts_per_s,
        queries_per_s,
        xact_us,
        query_us,
        wait_us,
        -- a client that is refused or cut off has a line for the error and one for its end
        concat_ws(' ', socket, host, port) as client,
        side = 'client' and (
            event = 'login failed'
            or (event = 'pooler error' and (database_name is null or user_name is null))
            or (
                event in ('pooler error', 'closed')
                and regexp_matches(
                    reason,
                    'max_client_conn|no more connections|no such (user|database)|auth|login|password|TLS|SSL'
                    || '|not allowed|disabled|unsupported|shutting down'
                )
            )
        ) as is_refusal,
        side = 'client' and event in ('pooler error', 'closed') and reason = 'query_wait_timeout' as is_wait_timeout
    from pgbouncer
    where
        ($server is null or server = $server)
        and ($since is null or logged_at >= date_trunc('minute', $since::timestamp with time zone))
        and ($until is null or date_trunc('minute', logged_at) < $until)
)

select
    minute,
    server,
    count(*) filter (event = 'login attempt') as logins,
    count(distinct client) filter (is_refusal) as refused,
    count(distinct client) filter (is_wait_timeout) as query_wait_timeouts,
    count(*) filter (event = 'closed' and side = 'client') as clients_closed,
    avg(age_s) filter (event = 'closed' and side = 'client') as mean_client_s,
    count(*) filter (event = 'server connected') as server_opened,
    count(*) filter (event = 'closed' and side = 'server') as server_closed,
    count(*) filter (event = 'server login failed') as server_login_failed,
    list_sort(
        list(distinct regexp_replace(regexp_replace(reason, '"[^"]*"', '"…"', 'g'), '[0-9]+', 'N', 'g')) filter (
            (is_refusal or is_wait_timeout) and reason is not null
        )
    ) as reasons,
    avg(xacts_per_s) as xacts_per_s,
    avg(queries_per_s) as queries_per_s,
    avg(xact_us) as xact_us,
    avg(query_us) as query_us,
    avg(wait_us) as wait_us,
    max(wait_us) as most_wait_us
from messages
group by minute, server
order by minute asc, server asc
