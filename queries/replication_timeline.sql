-- What happened in replication, in order: what streamed for how long, with what gaps, and why?
--
-- A stream of the receiving side begins when the receiver or worker says so; one of the sending side with the command
-- START_REPLICATION (log_replication_commands), and it ends with its error, or the end of its connection
-- (log_disconnections). What a crash or a stop of the server ended, ends with that. A gap is the time between two
-- streams of one process and subject. Other messages about replication stand between them; conflicts with queries are
-- in recovery_conflicts.
--
-- Reads:
--   replication, connection, server_event
-- Columns:
--   started_at  TIMESTAMP WITH TIME ZONE  when it began, or was said
--   ended_at    TIMESTAMP WITH TIME ZONE  when it ended; null: the log does not say, or it was just said
--   seconds     DOUBLE                    how long it took
--   server      VARCHAR                   server whose log says it
--   what        VARCHAR                   streaming, start failed, gap, or the event (see table replication)
--   process     VARCHAR                   walsender, walreceiver, apply worker … where it is known
--   subject     VARCHAR                   standby or client of a walsender, subscription, slot or table
--   slot_name   VARCHAR                   replication slot
--   reason      VARCHAR                   how the stream (before the gap) ended, or what was said of the event
--   lsn         UBIGINT                   position in the WAL that is named (lsn_text shows it)
--   timeline    BIGINT                    timeline
--   pid         BIGINT                    process
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null   from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null   before this time
--   $server  VARCHAR                   null   only this server
--   $steps   BOOLEAN                   false  also commands, slots taken and released, and steps of logical decoding
with
messages as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        pid,
        event,
        severity,
        slot_name,
        lsn,
        timeline,
        case when event like '%\_error' escape '\' then coalesce(reason, message) else reason end as reason,
        case
            when event in ('streaming_started', 'streaming_restarted') then 'walreceiver'
            when command_verb = 'START_REPLICATION' then 'walsender'
            else coalesce(process, backend_type)
        end as process,
        case
            when event in ('streaming_started', 'streaming_restarted') then null
            else coalesce(nullif(concat_ws(' ', subscription, relation), ''), standby, application_name, slot_name)
        end as subject,
        event in ('streaming_started', 'streaming_restarted', 'worker_started')
        or (event = 'command_received' and command_verb = 'START_REPLICATION') as is_start,
        severity in ('ERROR', 'FATAL')
        or event in (
            'sender_timeout', 'sender_stopped', 'standby_connection_lost', 'streaming_ended', 'receiver_timeout',
            'receiver_stopped', 'worker_finished', 'worker_stopped', 'worker_stopping', 'worker_restarting',
            'worker_timeout', 'worker_failed', 'subscription_disabled'
        ) as is_stop
    from replication
    where
        event not in ('recovery_waiting', 'recovery_wait_ended', 'statement_canceled', 'connection_terminated')
        and ($server is null or server = $server)
),

senders as (
    select
        server,
        pid
    from messages
    where is_start and process = 'walsender'
    group by server, pid
),

marks as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        pid,
        event,
        reason,
        is_start,
        false as is_session_end
    from messages
    where is_start or is_stop
    union all
    select
        server,
        source_id,
        line_no,
        ended_at as logged_at,
        pid,
        'disconnected' as event,
        lost_because as reason,
        false as is_start,
        true as is_session_end
    from connection
    semi join senders on connection.server = senders.server and connection.pid = senders.pid
    where ended_at is not null and is_replication
),

-- a stream of a process is what it says from one start to the next
numbered as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        pid,
        event,
        reason,
        is_start,
        is_session_end,
        count(*) filter (is_start) over (
            partition by server, pid order by logged_at asc, is_session_end asc, source_id asc, line_no asc
        ) as nth
    from marks
),

stops as (
    select
        server,
        pid,
        nth,
        min(logged_at) as stopped_at,
        first(event order by logged_at asc, is_session_end asc, source_id asc, line_no asc) as stop_event,
        first(reason order by logged_at asc, is_session_end asc, source_id asc, line_no asc) as stop_reason,
        first(source_id order by logged_at asc, is_session_end asc, source_id asc, line_no asc) as stop_source_id,
        first(line_no order by logged_at asc, is_session_end asc, source_id asc, line_no asc) as stop_line_no
    from numbered
    where not is_start and nth > 0
    group by server, pid, nth
),

resets as (
    select
        server,
        logged_at as reset_at,
        min(event) as reset_event
    from server_event
    where event in ('terminating_others', 'shut_down', 'starting')
    group by server, logged_at
),

streams as (
    select
        messages.server,
        messages.source_id,
        messages.line_no,
        messages.logged_at as started_at,
        messages.pid,
        messages.process,
        messages.subject,
        messages.slot_name,
        messages.lsn,
        messages.timeline,
        stops.stop_source_id,
        stops.stop_line_no,
        least(stops.stopped_at, resets.reset_at) as ended_at,
        case
            when stops.stopped_at <= coalesce(resets.reset_at, stops.stopped_at)
                then concat_ws(': ', stops.stop_event, stops.stop_reason)
            else resets.reset_event
        end as reason,
        coalesce(
            stops.stop_event in ('slot_active', 'slot_missing', 'slot_unusable', 'start_refused')
            or (
                stops.stop_event = 'wal_removed'
                and stops.stopped_at < messages.logged_at + interval 1 second
            ),
            false
        ) as is_failed
    from messages
    inner join numbered
        on
            messages.server = numbered.server
            and messages.source_id = numbered.source_id
            and messages.line_no = numbered.line_no
            and numbered.is_start
    left join stops
        on numbered.server = stops.server and numbered.pid = stops.pid and numbered.nth = stops.nth
    asof left join resets
        on messages.server = resets.server and messages.logged_at < resets.reset_at
    where messages.is_start
),

-- one that has not ended, as far as the log says, leaves no gap
befores as (
    select
        server,
        source_id,
        line_no,
        started_at,
        process,
        subject,
        slot_name,
        lag(reason) over in_order as reason_before,
        max(coalesce(ended_at, 'infinity')) over (
            partition by server, process, subject
            order by started_at asc, source_id asc, line_no asc
            rows between unbounded preceding and 1 preceding
        ) as ended_before
    from streams
    where not is_failed
    window in_order as (
        partition by server, process, subject order by started_at asc, source_id asc, line_no asc
    )
),

timeline_rows as (
    select
        server,
        source_id,
        line_no,
        started_at,
        ended_at,
        case when is_failed then 'start failed' else 'streaming' end as what,
        process,
        subject,
        slot_name,
        reason,
        lsn,
        timeline,
        pid
    from streams
    union all
    select
        server,
        source_id,
        line_no,
        ended_before as started_at,
        started_at as ended_at,
        'gap' as what,
        process,
        subject,
        slot_name,
        reason_before as reason,
        null as lsn,
        null as timeline,
        null as pid
    from befores
    where started_at > ended_before
    union all
    select
        messages.server,
        messages.source_id,
        messages.line_no,
        messages.logged_at as started_at,
        null as ended_at,
        messages.event as what,
        messages.process,
        messages.subject,
        messages.slot_name,
        messages.reason,
        messages.lsn,
        messages.timeline,
        messages.pid
    from messages
    anti join streams
        on
            messages.server = streams.server
            and messages.source_id = streams.stop_source_id
            and messages.line_no = streams.stop_line_no
    where
        not messages.is_start
        and (
            $steps
            or messages.event not in (
                'command_received', 'waiting_for_wal', 'slot_acquired', 'slot_released', 'decoding_started',
                'decoding_starting_point', 'decoding_initial_consistent_point', 'decoding_consistent_point',
                'decoding_forwarded'
            )
        )
)

select
    started_at,
    ended_at,
    cast(date_diff('millisecond', started_at, ended_at) as double) / 1000 as seconds,
    server,
    what,
    process,
    subject,
    slot_name,
    reason,
    lsn,
    timeline,
    pid
from timeline_rows
where
    ($since is null or coalesce(ended_at, started_at) >= $since)
    and ($until is null or started_at < $until)
order by started_at asc, server asc, source_id asc, line_no asc, what asc
