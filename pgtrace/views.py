"""Views over several tables: one shape for what happened beside the queries."""

from __future__ import annotations

from datetime import datetime

from pgtrace import activity, eventwindows, lockwaits, walties, walviews
from pgtrace.schema import ORIGIN, Column, Table

_BACKGROUND_EVENT = """
select
    server, source_id, line_no, 'checkpointer' as process, process_kind as kind,
    started_at, completed_at as ended_at, cast(null as varchar) as relation,
    cast(buffers_written as double) as magnitude, 'buffers written' as unit, array_to_string(reasons, ' ') as detail
from checkpoint
union all
select
    server, source_id, line_no, 'autovacuum worker', 'vacuum',
    started_at, logged_at, concat_ws('.', database_name, schema_name, relation_name),
    cast(buffer_dirtied as double), 'buffers dirtied',
    case when is_wraparound then 'to prevent wraparound' when is_aggressive then 'aggressive' end
from autovacuum
union all
select
    server, source_id, line_no, 'autovacuum worker', 'analyze',
    started_at, logged_at, concat_ws('.', database_name, schema_name, relation_name),
    cast(buffer_reads as double), 'buffers read', null
from autoanalyze
union all
select
    server, source_id, line_no, 'backend', 'lock wait',
    waiting_since, case when outcome <> 'waiting' then logged_at end, object, waited_ms, 'ms waited', outcome
from (
    select
        *,
        lead(waiting_since) over (
            partition by server, waiter_pid, mode, object order by logged_at, source_id, line_no
        ) as next_since
    from lock_wait
    where waiting_since is not null
)
-- a wait writes several messages, the last one says how it ended; times may be whole seconds
where
    next_since is null
    or next_since > waiting_since + interval 1 second
    or outcome not in ('waiting', 'deadlock avoided')
union all
select
    server, source_id, line_no, 'backend', 'temporary file',
    null, logged_at, path, cast(size_bytes as double), 'bytes', null
from temp_file
union all
select
    server, source_id, line_no, 'backend', 'deadlock',
    logged_at, logged_at, array_to_string(objects, ', '), cast(len(waiter_pids) as double), 'processes',
    array_to_string(modes, ', ')
from deadlock
union all
select
    server, source_id, line_no, case when severity = 'WARNING' then 'backend' else 'autovacuum worker' end,
    concat_ws(' ', coalesce(operation, 'vacuum'), event),
    logged_at, logged_at, nullif(concat_ws('.', database_name, schema_name, relation_name), ''), null, null,
    coalesce(phase, reason)
from vacuum_event
where event in ('canceled', 'skipped', 'failsafe')
union all
select
    server, source_id, line_no, case operation when 'archive' then 'archiver' when 'cleanup' then 'checkpointer'
        else 'startup' end, operation || ' failed',
    logged_at, logged_at, wal_file, null, null, split_part(message, chr(10), 1)
from archive
where outcome in ('failed', 'gave up')
union all
select
    server, source_id, line_no, 'startup', 'recovery conflict',
    waiting_since, case when event = 'recovery_wait_ended' then logged_at end,
    redo_resource_manager || '/' || redo_record_type, waited_ms, 'ms waited', conflict
from (
    select
        *,
        lead(waiting_since) over (
            partition by server, conflict order by logged_at, source_id, line_no
        ) as next_since
    from replication
    where event in ('recovery_waiting', 'recovery_wait_ended')
)
-- as of lock waits, the last message on a wait counts
where
    event = 'recovery_wait_ended'
    or next_since is null
    or next_since > waiting_since + interval 1 second
union all
select
    server, source_id, line_no, coalesce(process, backend_type, 'backend'), 'replication trouble',
    logged_at, logged_at, coalesce(relation, slot_name, subscription, standby, application_name), null, null,
    concat_ws(': ', event, reason)
from replication
where
    event in (
        'sender_timeout', 'receiver_timeout', 'worker_timeout', 'streaming_ended', 'streaming_failed',
        'streaming_not_started', 'connection_failed', 'primary_refused', 'standby_connection_lost', 'wal_removed',
        'slot_invalidated', 'apply_error', 'decoding_error', 'worker_failed', 'subscription_disabled'
    )
union all
-- a crash lasts until the server is ready, redo until it is done; each ends with the next message of that kind
select
    server, source_id, line_no, case event when 'redo_started' then 'startup' else 'postmaster' end,
    case event when 'process_exited' then 'crash' when 'redo_started' then 'recovery' else event end,
    logged_at,
    case
        when event = 'reload' then logged_at
        when event = 'process_exited' then ready_at
        when next_event = 'redo_done' then next_at
    end,
    process, case event when 'redo_started' then redo_s end, case event when 'redo_started' then 's of redo' end,
    case event when 'process_exited' then split_part(message, chr(10), 1) end
from (
    select
        *,
        lead(event) over of_kind as next_event,
        lead(logged_at) over of_kind as next_at,
        case when lead(event) over of_kind = 'redo_done' then lead(elapsed_s) over of_kind end as redo_s,
        min(case when event in ('ready', 'ready_read_only') then logged_at end) over (
            partition by server order by logged_at, source_id, line_no
            rows between 1 following and unbounded following
        ) as ready_at
    from server_event
    where event in ('process_exited', 'ready', 'ready_read_only', 'redo_started', 'redo_done', 'reload')
    window of_kind as (
        partition by server, event in ('redo_started', 'redo_done') order by logged_at, source_id, line_no
    )
)
where event in ('redo_started', 'reload') or (event = 'process_exited' and is_crash)
"""

VIEWS = {
    **walviews.VIEWS,
    **walties.VIEWS,
    **lockwaits.VIEWS,
    "background_event": f"{_BACKGROUND_EVENT}union all{walviews.BURST_EVENTS}",
    **eventwindows.VIEWS,
    **activity.VIEWS,
}

VIEW_TABLES = {
    **walviews.VIEW_TABLES,
    **walties.VIEW_TABLES,
    **lockwaits.VIEW_TABLES,
    "background_event": Table(
        name="background_event",
        one_row_per="thing that went on beside the queries",
        columns={
            **ORIGIN,
            "process": Column(
                "the process: checkpointer, autovacuum worker, backend, archiver, startup, postmaster, or one that "
                "replicates; null: several, as for a WAL burst"
            ),
            "kind": Column(
                "checkpoint, restartpoint, vacuum, analyze; vacuum or analyze canceled, skipped, failsafe; lock wait, "
                "deadlock, temporary file, recovery conflict; archive, restore, cleanup or recovery end failed; "
                "replication trouble, crash, recovery, reload; WAL burst"
            ),
            "started_at": Column("when it began; null: the log does not say", datetime),
            "ended_at": Column("when it ended; null: it had not, or the log does not say", datetime),
            "relation": Column(
                "what it worked on: database.schema.relation, a locked object, a file, a WAL record, a slot, a "
                "standby, the process that crashed"
            ),
            "magnitude": Column("how large it was", float),
            "unit": Column("unit of the magnitude"),
            "detail": Column(
                "reasons of a checkpoint, outcome of a wait, what a conflict is about, what was said of a failure"
            ),
        },
        time="started_at",
    ),
    **eventwindows.VIEW_TABLES,
    **activity.VIEW_TABLES,
}
