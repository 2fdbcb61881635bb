-- Who was not let in, why, how often, and from where?
--
-- Null means that the log does not say: a server that is starting up does not look at who it is.
--
-- Reads:
--   connection
-- Columns:
--   refusal           VARCHAR                   why, see table connection
--   server            VARCHAR                   server
--   user_name         VARCHAR                   role that it asked for
--   database_name     VARCHAR                   database that it asked for
--   application_name  VARCHAR                   application, where it was known by then
--   client_host       VARCHAR                   client address, or [local]
--   hba_line          VARCHAR                   line of pg_hba.conf that it matched
--   refused           BIGINT                    how often
--   most_in_a_minute  BIGINT                    most within one minute
--   first_at          TIMESTAMP WITH TIME ZONE  the first
--   last_at           TIMESTAMP WITH TIME ZONE  the last
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show
with
by_minute as (
    select
        refusal,
        server,
        user_name,
        database_name,
        application_name,
        client_host,
        hba_line,
        date_trunc('minute', refused_at) as minute,
        count(*) as refused,
        min(refused_at) as first_at,
        max(refused_at) as last_at
    from connection
    where
        refused_at is not null
        and ($since is null or refused_at >= $since)
        and ($until is null or refused_at < $until)
        and ($server is null or server = $server)
    group by
        refusal, server, user_name, database_name, application_name, client_host, hba_line,
        date_trunc('minute', refused_at)
)

select
    refusal,
    server,
    user_name,
    database_name,
    application_name,
    client_host,
    hba_line,
    cast(sum(refused) as bigint) as refused,
    max(refused) as most_in_a_minute,
    min(first_at) as first_at,
    max(last_at) as last_at
from by_minute
group by refusal, server, user_name, database_name, application_name, client_host, hba_line
order by
    refused desc,
    refusal asc,
    server asc,
    user_name asc,
    database_name asc,
    application_name asc,
    client_host asc,
    hba_line asc
limit $top
