-- Who waited for whom, how long, and what were both doing?
--
-- One row per wait and holder. The server writes a message when a wait has lasted deadlock_timeout and another when
-- it ends; both are one wait here. A holder's query is the one it was running when the wait began, or else the last
-- one it had logged before (it may hold the lock since an earlier statement of its transaction).
--
-- Reads:
--   lock_wait, statement, query
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
--   holder_application  VARCHAR                   its application, as of that query
--   holder_query        VARCHAR                   what it was running, or had run last
--   holder_basis        VARCHAR                   running then or logged before: how holder_query is known
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show, the longest waits first
with
messages as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        coalesce(waiting_since, logged_at) as waiting_since,
        waited_ms,
        outcome,
        mode,
        object,
        waiter_pid,
        application_name,
        fingerprint,
        holder_pids,
        lag(outcome) over wait as outcome_before,
        lag(waiting_since) over wait as since_before
    from lock_wait
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    window wait as (
        partition by server, waiter_pid, mode, object order by logged_at asc, source_id asc, line_no asc
    )
),

numbered as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        waiting_since,
        waited_ms,
        outcome,
        mode,
        object,
        waiter_pid,
        application_name,
        fingerprint,
        holder_pids,
        count(*) filter (
            where
            outcome_before is null
            or outcome_before <> 'waiting'
            or abs(date_diff('millisecond', since_before, waiting_since)) > 1000
        ) over (
            partition by server, waiter_pid, mode, object order by logged_at asc, source_id asc, line_no asc
        ) as nth
    from messages
),

waits as (
    select
        server,
        waiter_pid,
        mode,
        object,
        min(waiting_since) as waiting_since,
        max(waited_ms) as waited_ms,
        last(outcome order by logged_at asc, line_no asc) as last_outcome,
        max(application_name) as waiter_application,
        max(fingerprint) as fingerprint,
        first(holder_pids order by len(holder_pids) desc, logged_at asc, line_no asc) as holder_pids
    from numbered
    group by server, waiter_pid, mode, object, nth
),

pairs as (
    select
        server,
        waiter_pid,
        mode,
        object,
        waiting_since,
        waited_ms,
        last_outcome,
        waiter_application,
        fingerprint,
        unnest(case when len(holder_pids) > 0 then holder_pids else [null] end) as holder_pid
    from waits
),

runs as (
    select
        server,
        pid,
        started_at as run_started_at,
        logged_at as run_ended_at,
        application_name as holder_application,
        fingerprint as holder_fingerprint
    from statement
    where phase not in ('parse', 'bind') and fingerprint is not null
)

select
    pairs.server,
    pairs.waiting_since,
    pairs.waited_ms,
    case when pairs.last_outcome = 'waiting' then 'still waiting' else pairs.last_outcome end as outcome,
    pairs.mode,
    pairs.object,
    pairs.waiter_pid,
    pairs.waiter_application,
    waiter_query.query_text as waiter_query,
    pairs.holder_pid,
    runs.holder_application,
    holder_query.query_text as holder_query,
    case
        when runs.run_ended_at >= pairs.waiting_since then 'running then'
        when runs.run_ended_at is not null then 'logged before'
    end as holder_basis
from pairs
asof left join runs
    on
        pairs.server = runs.server
        and pairs.holder_pid = runs.pid
        and pairs.waiting_since >= runs.run_started_at
left join query as waiter_query on pairs.fingerprint = waiter_query.fingerprint
left join query as holder_query on runs.holder_fingerprint = holder_query.fingerprint
order by
    pairs.waited_ms desc nulls last,
    pairs.waiting_since asc,
    pairs.server asc,
    pairs.waiter_pid asc,
    pairs.holder_pid asc
limit $top
