"""Views over several tables: one shape for what happened beside the queries."""

from __future__ import annotations

from datetime import datetime

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
"""

VIEWS = {"background_event": _BACKGROUND_EVENT}

VIEW_TABLES = {
    "background_event": Table(
        name="background_event",
        one_row_per="thing that went on beside the queries",
        columns={
            **ORIGIN,
            "process": Column("the process: checkpointer, autovacuum worker, backend"),
            "kind": Column("checkpoint, restartpoint, vacuum, analyze, lock wait, temporary file"),
            "started_at": Column("when it began; null: the log does not say", datetime),
            "ended_at": Column("when it ended; null: it had not, or the log does not say", datetime),
            "relation": Column("what it worked on: database.schema.relation, a locked object, a file"),
            "magnitude": Column("how large it was", float),
            "unit": Column("unit of the magnitude"),
            "detail": Column("reasons of a checkpoint, outcome of a wait"),
        },
        time="started_at",
    )
}
