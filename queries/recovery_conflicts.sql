-- Which queries on a standby were cancelled for recovery or held it up, why, for how long, and over which WAL record?
--
-- One row per wait of recovery and session in its way, and per cancelled session. Waits are logged from version 14
-- with log_recovery_conflict_waits, once they last deadlock_timeout. The query of a session that was not cancelled is
-- known if it was logged with its duration.
--
-- Reads:
--   replication, statement, query
-- Columns:
--   server            VARCHAR                   the standby
--   conflict          VARCHAR                   what it is about: snapshot, lock, buffer pin, tablespace, database …
--   waiting_since     TIMESTAMP WITH TIME ZONE  when recovery began to wait; null: its wait is not logged
--   waited_ms         DOUBLE                    how long it waited, or had waited when it was last heard of
--   outcome           VARCHAR                   over, or still waiting
--   redo_record       VARCHAR                   WAL record that recovery replays: resource manager and type
--   lsn               UBIGINT                   its position in the WAL (lsn_text shows it)
--   pid               BIGINT                    session in the way; null: not said
--   action            VARCHAR                   statement cancelled, or connection terminated; null: neither is logged
--   acted_at          TIMESTAMP WITH TIME ZONE  when
--   query_text        VARCHAR                   what it was running, with $n in place of constants
--   user_name         VARCHAR                   its role
--   database_name     VARCHAR                   its database
--   application_name  VARCHAR                   its application
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
messages as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        event,
        conflict,
        waited_ms,
        waiting_since,
        conflicting_pids,
        redo_resource_manager,
        redo_record_type,
        lsn,
        lag(event) over of_conflict as event_before,
        lag(waiting_since) over of_conflict as since_before
    from replication
    where
        event in ('recovery_waiting', 'recovery_wait_ended')
        and ($server is null or server = $server)
    window of_conflict as (partition by server, conflict order by logged_at asc, source_id asc, line_no asc)
),

-- a wait writes a message when it has lasted deadlock_timeout and one when it ends
numbered as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        event,
        conflict,
        waited_ms,
        waiting_since,
        conflicting_pids,
        redo_resource_manager,
        redo_record_type,
        lsn,
        count(*) filter (
            event_before is null
            or event_before = 'recovery_wait_ended'
            or abs(date_diff('millisecond', since_before, waiting_since)) > 1000
        ) over (partition by server, conflict order by logged_at asc, source_id asc, line_no asc) as nth
    from messages
),

waits as (
    select
        server,
        conflict,
        nth,
        min(waiting_since) as waiting_since,
        max(logged_at) as logged_at,
        max(waited_ms) as waited_ms,
        bool_or(event = 'recovery_wait_ended') as is_over,
        max(redo_resource_manager || '/' || redo_record_type) as redo_record,
        max(lsn) as lsn,
        first(conflicting_pids order by logged_at asc, source_id asc, line_no asc) filter (
            len(conflicting_pids) > 0
        ) as conflicting_pids
    from numbered
    group by server, conflict, nth
),

in_the_way as (
    select
        server,
        conflict,
        nth,
        waiting_since,
        logged_at,
        waited_ms,
        is_over,
        redo_record,
        lsn,
        unnest(case when len(conflicting_pids) > 0 then conflicting_pids else [null] end) as pid
    from waits
),

cancelled as (
    select
        server,
        source_id,
        line_no,
        logged_at as acted_at,
        pid,
        conflict,
        fingerprint,
        user_name,
        database_name,
        application_name,
        case event when 'statement_canceled' then 'statement cancelled' else 'connection terminated' end as action
    from replication
    where
        event in ('statement_canceled', 'connection_terminated')
        and ($server is null or server = $server)
),

-- a second of grace: the session is cancelled while recovery waits, but either may be logged first; a wait for a
-- buffer pin names no process
met as (
    select
        in_the_way.server,
        in_the_way.conflict,
        in_the_way.nth,
        in_the_way.waiting_since,
        in_the_way.waited_ms,
        in_the_way.is_over,
        in_the_way.redo_record,
        in_the_way.lsn,
        coalesce(in_the_way.pid, cancelled.pid) as pid,
        cancelled.source_id,
        cancelled.line_no,
        cancelled.action,
        cancelled.acted_at,
        cancelled.fingerprint,
        cancelled.user_name,
        cancelled.database_name,
        cancelled.application_name
    from in_the_way
    left join cancelled
        on
            in_the_way.server = cancelled.server
            and (
                in_the_way.pid = cancelled.pid
                or (in_the_way.pid is null and in_the_way.conflict = cancelled.conflict)
            )
            and in_the_way.waiting_since <= cancelled.acted_at + interval 1 second
            and in_the_way.logged_at >= cancelled.acted_at - interval 1 second
),

conflicts as (
    select
        server,
        conflict,
        nth,
        waiting_since,
        waited_ms,
        is_over,
        redo_record,
        lsn,
        pid,
        source_id,
        line_no,
        action,
        acted_at,
        fingerprint,
        user_name,
        database_name,
        application_name
    from met
    union all
    select
        cancelled.server,
        cancelled.conflict,
        null as nth,
        null as waiting_since,
        null as waited_ms,
        null as is_over,
        null as redo_record,
        null as lsn,
        cancelled.pid,
        cancelled.source_id,
        cancelled.line_no,
        cancelled.action,
        cancelled.acted_at,
        cancelled.fingerprint,
        cancelled.user_name,
        cancelled.database_name,
        cancelled.application_name
    from cancelled
    anti join met
        on
            cancelled.server = met.server
            and cancelled.source_id = met.source_id
            and cancelled.line_no = met.line_no
),

suspects as (
    select
        server,
        pid,
        waiting_since
    from conflicts
    where action is null and pid is not null
    group by server, pid, waiting_since
),

-- what the others ran when the wait began
runs as (
    select
        suspects.server,
        suspects.pid,
        suspects.waiting_since,
        arg_max(statement.fingerprint, (statement.started_at, statement.fingerprint)) as fingerprint,
        max(statement.user_name) as user_name,
        max(statement.database_name) as database_name,
        max(statement.application_name) as application_name
    from statement
    inner join suspects
        on
            statement.server = suspects.server
            and statement.pid = suspects.pid
            and statement.started_at <= suspects.waiting_since
            and statement.logged_at >= suspects.waiting_since
    where statement.phase not in ('parse', 'bind')
    group by suspects.server, suspects.pid, suspects.waiting_since
)

select
    conflicts.server,
    conflicts.conflict,
    conflicts.waiting_since,
    conflicts.waited_ms,
    case
        when conflicts.is_over then 'over'
        when conflicts.waiting_since is not null then 'still waiting'
    end as outcome,
    conflicts.redo_record,
    conflicts.lsn,
    conflicts.pid,
    conflicts.action,
    conflicts.acted_at,
    query.query_text,
    coalesce(conflicts.user_name, runs.user_name) as user_name,
    coalesce(conflicts.database_name, runs.database_name) as database_name,
    coalesce(conflicts.application_name, runs.application_name) as application_name
from conflicts
left join runs
    on
        conflicts.server = runs.server
        and conflicts.pid = runs.pid
        and conflicts.waiting_since = runs.waiting_since
        and conflicts.action is null
left join query on coalesce(conflicts.fingerprint, runs.fingerprint) = query.fingerprint
where
    ($since is null or coalesce(conflicts.waiting_since, conflicts.acted_at) >= $since)
    and ($until is null or coalesce(conflicts.waiting_since, conflicts.acted_at) < $until)
order by
    coalesce(conflicts.waiting_since, conflicts.acted_at) asc,
    conflicts.server asc,
    conflicts.conflict asc,
    conflicts.nth asc,
    conflicts.pid asc,
    conflicts.source_id asc,
    conflicts.line_no asc
