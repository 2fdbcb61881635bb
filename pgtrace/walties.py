"""Times of WAL records that no commit lies near, from lines of the log and from snapshots that name a position.

The log says positions with a checkpoint (from version 16), a restore point, and redo; a snapshot of ``pg_class`` says
``pg_current_wal_lsn()``. Such a point in time divides WAL: what is before its position was written before it. The log's
line is written some milliseconds behind the record, and a checkpoint's behind its fsync, so these times are as exact as
that.
"""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import Column, Table
from pgtrace.units import Lsn

_LSN_TIME = """
select server, redo_lsn as lsn, started_at as reached_at, 'checkpoint started' as basis
from checkpoint
where process_kind = 'checkpoint' and redo_lsn is not null and started_at is not null
union all
select server, lsn, completed_at, 'checkpoint complete'
from checkpoint
where process_kind = 'checkpoint' and lsn is not null and completed_at is not null
union all
select server, lsn, logged_at, 'restore point'
from server_event
where event = 'restore_point' and lsn is not null
union all
select server, lsn, logged_at, 'redo done'
from server_event
where event = 'redo_done' and lsn is not null
union all
select server, seen_from_lsn, seen_from_at, 'snapshot of relations'
from relation
where seen_from_lsn is not null and seen_from_at is not null
union all
select server, lsn, committed_at, 'commit'
from wal_record
where committed_at is not null and lsn is not null
"""

#: a record's own bracket where it has one, else the nearest points on either side
_WAL_RECORD_TIME = """
with
untimed as (
    select server, source_id, line_no, lsn
    from wal_record
    where time_after is null or time_before is null
),
points as (
    select server, lsn, min(reached_at) as earliest, max(reached_at) as latest
    from lsn_time
    where basis <> 'commit'
    group by server, lsn
),
behind as (
    select untimed.server, untimed.source_id, untimed.line_no, points.latest as after_point
    from untimed
    asof left join points on untimed.server = points.server and untimed.lsn >= points.lsn
),
ahead as (
    select untimed.server, untimed.source_id, untimed.line_no, points.earliest as before_point
    from untimed
    asof left join points on untimed.server = points.server and untimed.lsn < points.lsn
)
select
    wal_record.server, wal_record.source_id, wal_record.line_no, wal_record.lsn, wal_record.xid,
    wal_record.resource_manager, wal_record.record_type, wal_record.total_bytes,
    coalesce(wal_record.time_after, behind.after_point) as time_after,
    coalesce(wal_record.time_before, ahead.before_point) as time_before,
    case
        when wal_record.time_after is null and behind.after_point is not null
            or wal_record.time_before is null and ahead.before_point is not null
            then concat_ws(' and ', wal_record.time_basis, 'log')
        else wal_record.time_basis
    end as time_basis
from wal_record
left join behind
    on wal_record.server = behind.server and wal_record.source_id = behind.source_id
        and wal_record.line_no = behind.line_no
left join ahead
    on wal_record.server = ahead.server and wal_record.source_id = ahead.source_id
        and wal_record.line_no = ahead.line_no
"""

VIEWS = {"lsn_time": _LSN_TIME, "wal_record_time": _WAL_RECORD_TIME}

VIEW_TABLES = {
    "lsn_time": Table(
        name="lsn_time",
        one_row_per="position in the WAL of which a time is known",
        columns={
            "lsn": Column("the position", Lsn),
            "reached_at": Column("when it was reached", datetime),
            "basis": Column(
                "who says so: commit (the WAL itself); checkpoint started, checkpoint complete, restore point, "
                "redo done (the log); snapshot of relations"
            ),
        },
        time="reached_at",
    ),
    "wal_record_time": Table(
        name="wal_record_time",
        one_row_per="WAL record, with the times that log and snapshots add",
        columns={
            "source_id": Column("the file the record was read from (see table source)"),
            "line_no": Column("the line of that file on which the record begins", int),
            "lsn": Column("position of the record", Lsn),
            "xid": Column("transaction that wrote it", int),
            "resource_manager": Column("resource manager"),
            "record_type": Column("what it does"),
            "total_bytes": Column("size", int, "B"),
            "time_after": Column("it was written at or after this time", datetime),
            "time_before": Column("it was written at or before this time", datetime),
            "time_basis": Column("as in wal_record, with 'log' where a line of the log or a snapshot gave a time"),
        },
        time="time_after",
    ),
}
