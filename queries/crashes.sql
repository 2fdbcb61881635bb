-- When did the server crash or lose a process, what was it running, and how long did it take to come back?
--
-- A crash is a process that a signal ended, or that exited with a code other than 0 or 1: the postmaster then restarts
-- all others. A server that was killed as a whole shows only by its recovery at the next start; recovery after an
-- immediate shutdown is none. A crash that another followed before the server was ready ends with the same ready.
--
-- Reads:
--   server_event, query
-- Columns:
--   noticed_at      TIMESTAMP WITH TIME ZONE  when the server noticed: the end of a process, or the start of recovery
--   server          VARCHAR                   the server
--   noticed_by      VARCHAR                   end of a process, or recovery
--   process         VARCHAR                   the process that ended
--   process_pid     BIGINT                    its pid
--   signal          BIGINT                    the signal that ended it
--   signal_name     VARCHAR                   its name
--   exit_code       BIGINT                    or its exit code
--   query_text      VARCHAR                   the SQL it was running, with $n in place of constants
--   last_known_up   VARCHAR                   by recovery: when the server is last known to have run, as printed
--   redo_ended_at   TIMESTAMP WITH TIME ZONE  when recovery had replayed the WAL; null: it had none, or is not logged
--   redo_s          DOUBLE                    how long that took, from version 14
--   ready_at        TIMESTAMP WITH TIME ZONE  when connections were accepted again; null: the log does not say so
--   outage_s        DOUBLE                    seconds from noticed_at until then
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
-- a life of the server is what it logs until it is ready (again)
events as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        process,
        process_pid,
        signal,
        signal_name,
        exit_code,
        fingerprint,
        said_time,
        elapsed_s,
        case
            when event in ('ready', 'ready_read_only') then 'ready'
            when event = 'process_exited' and is_crash then 'crash'
            when event in ('crash_recovery', 'was_interrupted_in_recovery') then 'recovery'
            when event in ('was_interrupted', 'shutdown_was_interrupted') then 'interrupted'
            when event in ('redo_done', 'immediate_shutdown') then event
        end as step,
        count(*) filter (event in ('ready', 'ready_read_only')) over (
            partition by server
            order by logged_at asc, source_id asc, line_no asc
            rows between unbounded preceding and 1 preceding
        ) as life
    from server_event
    where
        event in (
            'ready', 'ready_read_only', 'process_exited', 'crash_recovery', 'was_interrupted',
            'was_interrupted_in_recovery', 'shutdown_was_interrupted', 'redo_done', 'immediate_shutdown'
        )
        and ($server is null or server = $server)
),

lives as (
    select
        server,
        life,
        min(logged_at) filter (step = 'ready') as ready_at,
        max(logged_at) filter (step = 'redo_done') as redo_ended_at,
        last(elapsed_s order by logged_at asc, source_id asc, line_no asc) filter (step = 'redo_done') as redo_s,
        last(said_time order by logged_at asc, source_id asc, line_no asc) filter (
            step in ('interrupted', 'recovery') and said_time is not null
        ) as last_known_up,
        count(*) filter (step in ('crash', 'immediate_shutdown')) as known_causes
    from events
    group by server, life
),

recoveries as (
    select
        server,
        life,
        first(source_id order by logged_at asc, source_id asc, line_no asc) as source_id,
        first(line_no order by logged_at asc, source_id asc, line_no asc) as line_no
    from events
    where step = 'recovery'
    group by server, life
),

crashes as (
    select
        events.logged_at as noticed_at,
        events.server,
        events.source_id,
        events.line_no,
        events.process,
        events.process_pid,
        events.signal,
        events.signal_name,
        events.exit_code,
        events.fingerprint,
        lives.ready_at,
        events.step = 'recovery' as is_by_recovery,
        case when events.step = 'recovery' then lives.last_known_up end as last_known_up,
        case when lives.redo_ended_at >= events.logged_at then lives.redo_ended_at end as redo_ended_at,
        case when lives.redo_ended_at >= events.logged_at then lives.redo_s end as redo_s
    from events
    inner join lives on events.server = lives.server and events.life = lives.life
    left join recoveries
        on
            events.server = recoveries.server
            and events.source_id = recoveries.source_id
            and events.line_no = recoveries.line_no
    where
        (events.step = 'crash' or (recoveries.life is not null and lives.known_causes = 0))
        and ($since is null or events.logged_at >= $since)
        and ($until is null or events.logged_at < $until)
)

select
    crashes.noticed_at,
    crashes.server,
    case when crashes.is_by_recovery then 'recovery' else 'end of a process' end as noticed_by,
    crashes.process,
    crashes.process_pid,
    crashes.signal,
    crashes.signal_name,
    crashes.exit_code,
    query.query_text,
    crashes.last_known_up,
    crashes.redo_ended_at,
    crashes.redo_s,
    crashes.ready_at,
    cast(date_diff('millisecond', crashes.noticed_at, crashes.ready_at) as double) / 1000 as outage_s
from crashes
left join query on crashes.fingerprint = query.fingerprint
order by crashes.noticed_at asc, crashes.server asc, crashes.source_id asc, crashes.line_no asc
