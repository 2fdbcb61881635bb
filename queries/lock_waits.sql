-- Who waited for whom, how long, and what were both doing?
--
-- One row per wait and holder. The server writes a message when a wait has lasted deadlock_timeout and another when
-- it ends; both are one wait here. A holder's query is the one it was running when the wait began, or else the last
-- one it had logged before in the same session (it may hold the lock since an earlier statement of its transaction).
-- A statement is only known if it was logged: with its duration, with an error, or because it waited for a lock itself.
--
-- Reads:
--   whole_lock_wait, lock_wait, statement, error, connection, record, query
-- Columns:
--   server              VARCHAR                   server
--   waiting_since       TIMESTAMP WITH TIME ZONE  when the wait began
--   waited_ms           DOUBLE                    how long it lasted, or had lasted when it was last heard of
--   outcome             VARCHAR                   acquired, deadlock, deadlock avoided, failed, or still waiting
--   mode                VARCHAR                   lock mode that was asked for
--   object              VARCHAR                   what is locked
--   waiter_pid          BIGINT                    process that waited
--   waiter_application  VARCHAR                   its application
--   waiter_query        VARCHAR                   what it wanted to run
--   holder_pid          BIGINT                    process that held the lock
--   holder_process      VARCHAR                   kind of process, such as autovacuum worker (%b)
--   holder_application  VARCHAR                   its application, as of that query
--   holder_query        VARCHAR                   what it was running, or had run last
--   holder_basis        VARCHAR                   running then or logged before: how holder_query is known
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show, the longest waits first
with
pairs as (
    select
        server,
        waiter_pid,
        mode,
        object,
        waiting_since,
        waited_ms,
        outcome as last_outcome,
        application_name as waiter_application,
        fingerprint,
        unnest(case when len(holder_pids) > 0 then holder_pids else [null] end) as holder_pid
    from whole_lock_wait
    where
        ($server is null or server = $server)
        and ($since is null or waiting_since >= $since)
        and ($until is null or waiting_since < $until)
),

moments as (
    select
        server,
        holder_pid as pid,
        waiting_since
    from pairs
    where holder_pid is not null
    group by server, holder_pid, waiting_since
),

holders as (
    select
        server,
        pid
    from moments
    group by server, pid
),

sessions as (
    select
        server,
        pid,
        logged_at as session_began_at,
        max(application_name) as application_name
    from connection
    semi join holders on connection.server = holders.server and connection.pid = holders.pid
    group by server, pid, logged_at
),

runs as (
    select
        server,
        pid,
        started_at as run_started_at,
        logged_at as run_ended_at,
        application_name,
        fingerprint
    from statement
    semi join holders on statement.server = holders.server and statement.pid = holders.pid
    where phase not in ('parse', 'bind') and fingerprint is not null
    union all
    select
        server,
        pid,
        waiting_since as run_started_at,
        logged_at as run_ended_at,
        application_name,
        fingerprint
    from lock_wait
    semi join holders on lock_wait.server = holders.server and lock_wait.pid = holders.pid
    where fingerprint is not null and waiting_since is not null
    union all
    select
        server,
        pid,
        logged_at as run_started_at,
        logged_at as run_ended_at,
        application_name,
        fingerprint
    from error
    semi join holders on error.server = holders.server and error.pid = holders.pid
    where fingerprint is not null
),

-- what the process calls itself the next time it writes; its own kind is in no message about the wait
introductions as (
    select
        server,
        pid,
        logged_at as introduced_at,
        min(backend_type) as backend_type
    from record
    semi join holders on record.server = holders.server and record.pid = holders.pid
    where backend_type is not null
    group by server, pid, logged_at
),

last_start as (
    select
        moments.server,
        moments.pid,
        moments.waiting_since,
        runs.run_started_at
    from moments
    asof inner join runs
        on
            moments.server = runs.server
            and moments.pid = runs.pid
            and moments.waiting_since >= runs.run_started_at
),

-- of the runs that began at one time, the one that went on longest
last_run as (
    select
        last_start.server,
        last_start.pid,
        last_start.waiting_since,
        last_start.run_started_at,
        max(runs.run_ended_at) as run_ended_at,
        arg_max(
            runs.application_name, (runs.run_ended_at, runs.fingerprint, runs.application_name)
        ) as application_name,
        arg_max(runs.fingerprint, (runs.run_ended_at, runs.fingerprint)) as fingerprint
    from last_start
    inner join runs
        on
            last_start.server = runs.server
            and last_start.pid = runs.pid
            and last_start.run_started_at = runs.run_started_at
    group by last_start.server, last_start.pid, last_start.waiting_since, last_start.run_started_at
),

held as (
    select
        pairs.server,
        pairs.waiter_pid,
        pairs.mode,
        pairs.object,
        pairs.waiting_since,
        pairs.waited_ms,
        pairs.last_outcome,
        pairs.waiter_application,
        pairs.fingerprint,
        pairs.holder_pid,
        introductions.backend_type as holder_process,
        sessions.application_name as session_application,
        last_run.application_name as run_application,
        last_run.fingerprint as holder_fingerprint,
        last_run.run_ended_at,
        -- process ids come round again: what was logged before the session began is another's
        coalesce(last_run.run_started_at >= sessions.session_began_at, true) as is_same_session
    from pairs
    asof left join sessions
        on
            pairs.server = sessions.server
            and pairs.holder_pid = sessions.pid
            and pairs.waiting_since >= sessions.session_began_at
    asof left join introductions
        on
            pairs.server = introductions.server
            and pairs.holder_pid = introductions.pid
            and pairs.waiting_since <= introductions.introduced_at
    left join last_run
        on
            pairs.server = last_run.server
            and pairs.holder_pid = last_run.pid
            and pairs.waiting_since = last_run.waiting_since
)

select
    held.server,
    held.waiting_since,
    held.waited_ms,
    case when held.last_outcome = 'waiting' then 'still waiting' else held.last_outcome end as outcome,
    held.mode,
    held.object,
    held.waiter_pid,
    held.waiter_application,
    waiter_query.query_text as waiter_query,
    held.holder_pid,
    held.holder_process,
    coalesce(
        case when held.is_same_session then held.run_application end, held.session_application
    ) as holder_application,
    holder_query.query_text as holder_query,
    case
        when not held.is_same_session then null
        when held.run_ended_at >= held.waiting_since then 'running then'
        when held.run_ended_at is not null then 'logged before'
    end as holder_basis
from held
left join query as waiter_query on held.fingerprint = waiter_query.fingerprint
left join query as holder_query on held.holder_fingerprint = holder_query.fingerprint and held.is_same_session
order by
    held.waited_ms desc nulls last,
    held.waiting_since asc,
    held.server asc,
    held.waiter_pid asc,
    held.mode asc,
    held.object asc,
    held.holder_pid asc,
    held.last_outcome asc,
    held.waiter_application asc,
    held.fingerprint asc
limit $top
