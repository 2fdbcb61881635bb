-- Which sessions deadlocked, over what, and which statements met?
--
-- One row per wait of a deadlock: the cycle is read from waiter to blocker. deadlock_timeout decides how long the
-- sessions had waited by then. The server names statements with their constants; what a waiter ran without them is
-- known of the cancelled session, and of the others where a logged wait or a logged duration covers that time.
--
-- Reads:
--   deadlock, lock_wait, statement, query
-- Columns:
--   logged_at           TIMESTAMP WITH TIME ZONE  when the server found it
--   server              VARCHAR                   the server
--   database_name       VARCHAR                   database of the session that was cancelled
--   victim_pid          BIGINT                    the session that was cancelled
--   waiter_pid          BIGINT                    who waits; null: the log is terse and does not say
--   blocker_pid         BIGINT                    for whom
--   mode                VARCHAR                   lock mode that it wants
--   object              VARCHAR                   what it wants to lock
--   waiter_query        VARCHAR                   the SQL of the waiter with $n in place of constants
--   waiter_statement    VARCHAR                   the same as the server printed it, constants and all; only with $raw
--   victim_query        VARCHAR                   the SQL of the cancelled session with $n in place of constants
--   victim_application  VARCHAR                   its application
--   victim_context      VARCHAR                   what that session was doing
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null   from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null   before this time
--   $server  VARCHAR                   null   only this server
--   $raw     BOOLEAN                   false  show statements with their constants
with
waits as (
    select
        logged_at,
        server,
        database_name,
        victim_pid,
        application_name,
        context,
        fingerprint,
        statement_pids,
        statements,
        source_id,
        line_no,
        unnest(case when len(waiter_pids) > 0 then waiter_pids else [null] end) as waiter_pid,
        unnest(blocker_pids) as blocker_pid,
        unnest(modes) as mode,
        unnest(objects) as object,
        unnest(range(1, greatest(coalesce(len(waiter_pids), 0), 1) + 1)) as place
    from deadlock
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

waiters as (
    select
        server,
        waiter_pid as pid
    from waits
    where waiter_pid is not null
    group by server, waiter_pid
),

runs as (
    select
        server,
        waiter_pid as pid,
        waiting_since as run_started_at,
        logged_at as run_ended_at,
        fingerprint,
        true as is_wait
    from lock_wait
    semi join waiters on lock_wait.server = waiters.server and lock_wait.waiter_pid = waiters.pid
    where fingerprint is not null and waiting_since is not null
    union all
    select
        server,
        pid,
        started_at as run_started_at,
        logged_at as run_ended_at,
        fingerprint,
        false as is_wait
    from statement
    semi join waiters on statement.server = waiters.server and statement.pid = waiters.pid
    where fingerprint is not null and phase not in ('parse', 'bind')
),

-- what waited or ran at that time; of statements within each other the one that began last
waiter_runs as (
    select
        waits.server,
        waits.source_id,
        waits.line_no,
        waits.place,
        arg_max(runs.fingerprint, (runs.is_wait, runs.run_started_at, runs.fingerprint)) as fingerprint
    from waits
    inner join runs
        on
            waits.server = runs.server
            and waits.waiter_pid = runs.pid
            and waits.logged_at >= runs.run_started_at
            and waits.logged_at <= runs.run_ended_at
    group by waits.server, waits.source_id, waits.line_no, waits.place
)

select
    waits.logged_at,
    waits.server,
    waits.database_name,
    waits.victim_pid,
    waits.waiter_pid,
    waits.blocker_pid,
    waits.mode,
    waits.object,
    waiter_query.query_text as waiter_query,
    case when $raw then waits.statements[list_position(waits.statement_pids, waits.waiter_pid)] end as waiter_statement,
    victim_query.query_text as victim_query,
    waits.application_name as victim_application,
    waits.context as victim_context
from waits
left join waiter_runs
    on
        waits.server = waiter_runs.server
        and waits.source_id = waiter_runs.source_id
        and waits.line_no = waiter_runs.line_no
        and waits.place = waiter_runs.place
left join query as victim_query on waits.fingerprint = victim_query.fingerprint
left join query as waiter_query
    on
        case when waits.waiter_pid = waits.victim_pid then waits.fingerprint else waiter_runs.fingerprint end
        = waiter_query.fingerprint
order by waits.logged_at asc, waits.server asc, waits.source_id asc, waits.line_no asc, waits.place asc
