-- How many sessions were open and how many executions ran at once, and how fast do connections come and go?
--
-- Quantiles are over time: p95 is what was not exceeded for 95 % of it. Executions are those logged with a duration, on
-- average over a second, waits for locks among them. Sessions are known where log_connections and log_disconnections
-- are on; one whose end is not logged is open until the server ends.
--
-- Reads:
--   connection, activity, server_event
-- Columns:
--   server                VARCHAR  server
--   sessions              BIGINT   sessions that were let in, or that ended
--   refused               BIGINT   connections refused
--   refused_too_many      BIGINT   of them because there were too many
--   sessions_p50          DOUBLE   sessions open at once, median
--   sessions_p95          DOUBLE   95th percentile
--   sessions_max          DOUBLE   most
--   active_p50            DOUBLE   executions at once, median
--   active_p95            DOUBLE   95th percentile
--   active_max            DOUBLE   most, in any second
--   active_mean           DOUBLE   mean
--   idle_pct              DOUBLE   share of the sessions' time in which they ran nothing that is logged
--   connections_per_s     DOUBLE   connections let in per second
--   connections_peak      BIGINT   most in a second
--   session_p50_s         DOUBLE   median length of a session
--   short_sessions_pct    DOUBLE   share of the sessions that lasted less than a second
--   setup_p50_ms          DOUBLE   median time from the connection to the session
--   setup_p95_ms          DOUBLE   95th percentile
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
resets as (
    select
        server,
        logged_at as reset_at
    from server_event
    where event in ('terminating_others', 'shut_down', 'starting')
),

connections as (
    select
        server,
        received_at,
        refused_at,
        refusal,
        session_s,
        case when refused_at is null then authorized_at end as authorized_at,
        case
            when refused_at is null
                then coalesce(authorized_at, ended_at - to_microseconds(cast(session_s * 1e6 as bigint)))
        end as began_at,
        coalesce(ended_at, lost_at) as gone_at,
        ended_at is not null as is_end_logged,
        coalesce(setup_ms, epoch_us(authorized_at - received_at) / 1000) as setup_ms
    from connection
    where ($server is null or server = $server) and is_replication is not true
),

placed as (
    select
        connections.server,
        connections.received_at,
        connections.refused_at,
        connections.refusal,
        connections.session_s,
        connections.authorized_at,
        connections.began_at,
        connections.is_end_logged,
        connections.setup_ms,
        coalesce(connections.gone_at, resets.reset_at) as gone_at
    from connections
    asof left join resets
        on connections.server = resets.server and connections.began_at < resets.reset_at
),

counted as (
    select
        server,
        count(*) filter (
            began_at is not null
            and ($until is null or began_at < $until)
            and ($since is null or coalesce(gone_at, 'infinity') >= $since)
        ) as sessions,
        count(*) filter (
            refused_at is not null
            and ($since is null or refused_at >= $since)
            and ($until is null or refused_at < $until)
        ) as refused,
        count(*) filter (
            refusal in ('too many clients', 'role limit', 'database limit')
            and ($since is null or refused_at >= $since)
            and ($until is null or refused_at < $until)
        ) as refused_too_many,
        median(session_s) filter (gone_at is not null) as session_p50_s,
        100 * count(*) filter (session_s < 1) / nullif(count(session_s), 0) as short_sessions_pct,
        quantile_cont(setup_ms, 0.5) as setup_p50_ms,
        quantile_cont(setup_ms, 0.95) as setup_p95_ms,
        bool_or(is_end_logged) as are_ends_logged
    from placed
    where
        ($since is null or coalesce(gone_at, refused_at, began_at, received_at) >= $since)
        and ($until is null or coalesce(received_at, refused_at, began_at) < $until)
    group by server
),

session_events as (
    select
        server,
        greatest(began_at, coalesce($since, began_at)) as happened_at,
        1 as opened
    from placed
    where
        began_at is not null
        and ($since is null or coalesce(gone_at, 'infinity') >= $since)
        and ($until is null or began_at < $until)
    union all
    select
        server,
        gone_at as happened_at,
        -1 as opened
    from placed
    where
        began_at is not null
        and ($since is null or gone_at >= $since)
        and ($until is null or gone_at < $until)
),

session_levels as (
    select
        server,
        sum(opened) over in_order as level,
        epoch_us(lead(happened_at) over in_order) - epoch_us(happened_at) as weight
    from session_events
    window in_order as (partition by server order by happened_at asc, opened asc)
),

session_weights as (
    select
        server,
        level,
        sum(weight) as weight
    from session_levels
    where weight > 0
    group by server, level
),

session_shares as (
    select
        server,
        level,
        weight,
        sum(weight) over (partition by server order by level) / sum(weight) over (partition by server) as up_to
    from session_weights
),

session_quantiles as (
    select
        server,
        cast(min(level) filter (up_to >= 0.5) as double) as sessions_p50,
        cast(min(level) filter (up_to >= 0.95) as double) as sessions_p95,
        cast(max(level) as double) as sessions_max,
        sum(level * weight) / 1e6 as session_time_s
    from session_shares
    group by server
),

-- the level after a second lasts until the next one in which something starts or ends
active_seconds as (
    select
        server,
        second,
        in_flight,
        sum(started - ended) over (partition by server order by second) as level_after,
        date_diff('second', second, lead(second) over (partition by server order by second)) - 1 as gap_s
    from activity
    where
        ($server is null or server = $server)
        and ($since is null or second >= $since)
        and ($until is null or second < $until)
),

active_weights as (
    select
        server,
        in_flight as level,
        1 as weight
    from active_seconds
    union all
    select
        server,
        greatest(level_after, 0) as level,
        gap_s as weight
    from active_seconds
    where gap_s > 0
),

active_shares as (
    select
        server,
        level,
        weight,
        sum(weight) over (partition by server order by level) / sum(weight) over (partition by server) as up_to
    from active_weights
),

active_quantiles as (
    select
        server,
        min(level) filter (up_to >= 0.5) as active_p50,
        min(level) filter (up_to >= 0.95) as active_p95,
        max(level) as active_max,
        round(fsum(level * weight), 6) / sum(weight) as active_mean,
        round(fsum(level * weight), 6) as active_time_s
    from active_shares
    group by server
),

seconds as (
    select
        server,
        date_trunc('second', authorized_at) as second,
        count(*) as connections
    from placed
    where
        authorized_at is not null
        and ($since is null or authorized_at >= $since)
        and ($until is null or authorized_at < $until)
    group by server, date_trunc('second', authorized_at)
),

rates as (
    select
        server,
        cast(sum(connections) as double) / (1 + date_diff('second', min(second), max(second))) as connections_per_s,
        max(connections) as connections_peak
    from seconds
    group by server
),

servers as (
    select server
    from counted
    union
    select server
    from active_quantiles
)

select
    servers.server,
    coalesce(counted.sessions, 0) as sessions,
    coalesce(counted.refused, 0) as refused,
    coalesce(counted.refused_too_many, 0) as refused_too_many,
    case when counted.are_ends_logged then session_quantiles.sessions_p50 end as sessions_p50,
    case when counted.are_ends_logged then session_quantiles.sessions_p95 end as sessions_p95,
    case when counted.are_ends_logged then session_quantiles.sessions_max end as sessions_max,
    active_quantiles.active_p50,
    active_quantiles.active_p95,
    active_quantiles.active_max,
    active_quantiles.active_mean,
    case
        when counted.are_ends_logged
            then 100 * greatest(0, 1 - active_quantiles.active_time_s / nullif(session_quantiles.session_time_s, 0))
    end as idle_pct,
    rates.connections_per_s,
    rates.connections_peak,
    counted.session_p50_s,
    counted.short_sessions_pct,
    counted.setup_p50_ms,
    counted.setup_p95_ms
from servers
left join counted on servers.server = counted.server
left join session_quantiles on servers.server = session_quantiles.server
left join active_quantiles on servers.server = active_quantiles.server
left join rates on servers.server = rates.server
order by servers.server asc
