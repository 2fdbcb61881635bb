"""One row per wait for a lock: the server writes several messages about it (ProcSleep in proc.c)."""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import Column, Table

#: times may be whole seconds (%t), so what began within one second is one wait
_VIEW = """
with
messages as (
    select *,
        coalesce(waiting_since, logged_at) as began_at,
        lag(outcome) over wait as outcome_before,
        lag(waiting_since) over wait as since_before
    from lock_wait
    window wait as (partition by server, waiter_pid, mode, object order by logged_at, source_id, line_no)
),
numbered as (
    select *,
        count(*) filter (
            outcome_before is null
            or outcome_before not in ('waiting', 'deadlock avoided')
            or abs(date_diff('millisecond', since_before, began_at)) > 1000
        ) over (partition by server, waiter_pid, mode, object order by logged_at, source_id, line_no) as nth
    from messages
)
select server, waiter_pid, mode, object,
    min(began_at) as waiting_since,
    max(logged_at) as heard_at,
    max(waited_ms) as waited_ms,
    last(outcome order by logged_at, source_id, line_no) as outcome,
    max(application_name) as application_name,
    max(fingerprint) as fingerprint,
    first(holder_pids order by len(holder_pids) desc, logged_at, source_id, line_no) as holder_pids,
    first(queue_pids order by len(queue_pids) desc, logged_at, source_id, line_no) as queue_pids
from numbered
group by server, waiter_pid, mode, object, nth
"""

VIEWS = {"whole_lock_wait": _VIEW}

VIEW_TABLES = {
    "whole_lock_wait": Table(
        name="whole_lock_wait",
        one_row_per="wait for a lock, of all the messages about it",
        columns={
            "waiter_pid": Column("process that waited", int),
            "mode": Column("lock mode, such as ShareLock"),
            "object": Column("what was locked, as printed"),
            "waiting_since": Column("when it began; of the first message, where none says it", datetime),
            "heard_at": Column("last message about it", datetime),
            "waited_ms": Column("how long it had waited by then", float, "ms"),
            "outcome": Column("how it ended: acquired, deadlock, deadlock avoided, failed; waiting: it is not said"),
            "application_name": Column("application_name of the session that waited"),
            "fingerprint": Column("shape of the SQL that waited (see table query)"),
            "holder_pids": Column("processes that held the lock, where most were named", list[int]),
            "queue_pids": Column("processes in the queue, where most were named", list[int]),
        },
        time="waiting_since",
    )
}
