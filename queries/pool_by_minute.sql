-- How many connections did each application and client host have, minute by minute, and how large a pool would do?
--
-- Needs log_connections and log_disconnections; replication connections are left out. Many new sessions for each one
-- that was open (churn), or many open at once of which few run anything, is what a pooler is for. The suggested pool is
-- the most statements of the application and host that ran at the same time in any minute shown: a session needs a
-- server connection only then. It is a lower bound where log_min_duration_statement leaves statements out, and for
-- pools that keep a connection for a whole transaction (or session), whose pauses no log shows. A crash or a stop of
-- the server ends its sessions. A minute in which nothing came, went, began or ended has no row.
--
-- Reads:
--   connection, server_event, statement
-- Columns:
--   minute               TIMESTAMP WITH TIME ZONE  the minute
--   server               VARCHAR                   server
--   application_name     VARCHAR                   application; null: not known (a connection that was refused)
--   client_host          VARCHAR                   client address, or [local]
--   received             BIGINT                    connections that came in; null: the server does not log them
--   authorized           BIGINT                    new sessions; null: not logged
--   ended                BIGINT                    sessions that ended; null: not logged
--   refused              BIGINT                    connections that were refused
--   sessions_at_once     BIGINT                    most sessions open at the same time; null: their ends are not logged
--   churn                DOUBLE                    new sessions for each of these
--   mean_session_s       DOUBLE                    mean length of the sessions that ended
--   statements_at_once   BIGINT                    most statements running at the same time; null: none is logged
--   suggested_pool_size  BIGINT                    the most of these in any minute shown
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from the minute of this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  minutes that begin before this time
--   $server  VARCHAR                   null  only this server
with
logged as (
    select
        server,
        count(received_at) > 0 as logs_receipt,
        count(authorized_at) > 0 as logs_start,
        count(ended_at) > 0 as logs_end
    from connection
    where ($server is null or server = $server)
    group by server
),

resets as (
    select
        server,
        logged_at as reset_at
    from server_event
    where event in ('terminating_others', 'shut_down', 'starting')
),

-- one number for server, application and host: names make sorting millions of rows slow
connections as (
    select
        server,
        received_at,
        refused_at,
        ended_at,
        session_s,
        hash(server, application_name, client_host) as client,
        case when refused_at is null then authorized_at end as authorized_at,
        -- of a session that was there before the log begins, its end tells its start
        case
            when refused_at is null
                then coalesce(authorized_at, ended_at - to_microseconds(cast(session_s * 1e6 as bigint)))
        end as began_at,
        coalesce(ended_at, lost_at) as gone_at
    from connection
    where ($server is null or server = $server) and is_replication is not true
),

sessions as (
    select
        connections.client,
        connections.began_at,
        coalesce(connections.gone_at, resets.reset_at) as gone_at
    from connections
    asof left join resets
        on connections.server = resets.server and connections.began_at < resets.reset_at
    where connections.began_at is not null
),

session_events as (
    select
        client,
        received_at as happened_at,
        0 as opened,
        'received' as event,
        cast(null as double) as session_s
    from connections
    where received_at is not null
    union all
    select
        client,
        authorized_at as happened_at,
        0 as opened,
        'authorized' as event,
        null as session_s
    from connections
    where authorized_at is not null
    union all
    select
        client,
        ended_at as happened_at,
        0 as opened,
        'ended' as event,
        session_s
    from connections
    where ended_at is not null
    union all
    select
        client,
        refused_at as happened_at,
        0 as opened,
        'refused' as event,
        null as session_s
    from connections
    where refused_at is not null
    union all
    select
        client,
        began_at as happened_at,
        1 as opened,
        null as event,
        null as session_s
    from sessions
    union all
    select
        client,
        gone_at as happened_at,
        -1 as opened,
        null as event,
        null as session_s
    from sessions
    where gone_at is not null
),

session_levels as (
    select
        client,
        happened_at,
        opened,
        event,
        session_s,
        sum(opened) over (
            partition by client order by happened_at asc, opened asc rows between unbounded preceding and current row
        ) as open_sessions
    from session_events
),

-- what was open when the minute began counts as well
session_minutes as (
    select
        client,
        date_trunc('minute', happened_at) as minute,
        count(*) filter (event = 'received') as received,
        count(*) filter (event = 'authorized') as authorized,
        count(*) filter (event = 'ended') as ended,
        count(*) filter (event = 'refused') as refused,
        round(fsum(session_s), 6) / count(session_s) as mean_session_s,
        cast(max(greatest(open_sessions, open_sessions - opened)) as bigint) as at_once,
        cast(sum(opened) as bigint) as opened
    from session_levels
    group by client, date_trunc('minute', happened_at)
),

-- a process runs one statement at a time: what auto_explain logs of nested ones, and what seems to overlap since times
-- are cut to milliseconds or seconds, is no second one
statements as (
    select
        hash(server, application_name, client_host) as client,
        started_at,
        logged_at,
        max(logged_at) over (
            partition by hash(server, pid)
            order by started_at asc, logged_at desc, hash(server, application_name, client_host) asc
            rows between unbounded preceding and 1 preceding
        ) as busy_until
    from statement
    where
        ($server is null or server = $server)
        and ($since is null or logged_at >= date_trunc('minute', $since::timestamp with time zone))
        and ($until is null or started_at < date_trunc('minute', $until::timestamp with time zone) + interval 1 minute)
),

statement_events as (
    select
        client,
        greatest(started_at, busy_until) as happened_at,
        1 as began
    from statements
    where busy_until is null or logged_at > busy_until
    union all
    select
        client,
        logged_at as happened_at,
        -1 as began
    from statements
    where busy_until is null or logged_at > busy_until
),

statement_levels as (
    select
        client,
        happened_at,
        began,
        sum(began) over (
            partition by client order by happened_at asc, began asc rows between unbounded preceding and current row
        ) as running
    from statement_events
),

statement_minutes as (
    select
        client,
        date_trunc('minute', happened_at) as minute,
        cast(max(greatest(running, running - began, 1)) as bigint) as at_once,
        cast(sum(began) as bigint) as began
    from statement_levels
    group by client, date_trunc('minute', happened_at)
),

session_ends as (
    select
        client,
        minute,
        received,
        authorized,
        ended,
        refused,
        mean_session_s,
        at_once,
        cast(sum(opened) over (partition by client order by minute asc) as bigint) as at_end
    from session_minutes
),

statement_ends as (
    select
        client,
        minute,
        at_once,
        cast(sum(began) over (partition by client order by minute asc) as bigint) as at_end
    from statement_minutes
),

minutes as (
    select
        client,
        minute
    from session_minutes
    union
    select
        client,
        minute
    from statement_minutes
),

-- in a minute that has events of one kind only, what was there of the other kind is what the last one left
by_minute as (
    select
        minutes.client,
        minutes.minute,
        coalesce(session_ends.minute = minutes.minute, false) as has_events,
        session_ends.received,
        session_ends.authorized,
        session_ends.ended,
        session_ends.refused,
        session_ends.mean_session_s,
        case
            when session_ends.minute = minutes.minute then session_ends.at_once
            else session_ends.at_end
        end as sessions_at_once,
        case
            when statement_ends.minute = minutes.minute then statement_ends.at_once
            else nullif(statement_ends.at_end, 0)
        end as statements_at_once
    from minutes
    asof left join session_ends
        on minutes.client = session_ends.client and minutes.minute >= session_ends.minute
    asof left join statement_ends
        on minutes.client = statement_ends.client and minutes.minute >= statement_ends.minute
    where
        ($since is null or minutes.minute >= date_trunc('minute', $since::timestamp with time zone))
        and ($until is null or minutes.minute < $until)
),

clients as (
    select
        hash(server, application_name, client_host) as client,
        server,
        application_name,
        client_host
    from connection
    where ($server is null or server = $server)
    union
    select
        hash(server, application_name, client_host) as client,
        server,
        application_name,
        client_host
    from statement
    where ($server is null or server = $server)
),

shown as (
    select
        by_minute.minute,
        clients.server,
        clients.application_name,
        clients.client_host,
        by_minute.statements_at_once,
        case when logged.logs_receipt then if(by_minute.has_events, by_minute.received, 0) end as received,
        case when logged.logs_start then if(by_minute.has_events, by_minute.authorized, 0) end as authorized,
        case when logged.logs_end then if(by_minute.has_events, by_minute.ended, 0) end as ended,
        if(by_minute.has_events, by_minute.refused, 0) as refused,
        case when logged.logs_end then coalesce(by_minute.sessions_at_once, 0) end as sessions_at_once,
        case when by_minute.has_events then by_minute.mean_session_s end as mean_session_s
    from by_minute
    inner join clients on by_minute.client = clients.client
    left join logged on clients.server = logged.server
)

select
    minute,
    server,
    application_name,
    client_host,
    received,
    authorized,
    ended,
    refused,
    sessions_at_once,
    authorized / nullif(sessions_at_once, 0) as churn,
    mean_session_s,
    statements_at_once,
    max(statements_at_once) over (partition by server, application_name, client_host) as suggested_pool_size
from shown
order by minute asc, server asc, application_name asc, client_host asc
