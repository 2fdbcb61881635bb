"""Views over WAL: how much of it each second, by which process, and in bursts."""

from __future__ import annotations

from datetime import datetime

from pgtrace import walchanges, walcheckpoints
from pgtrace.schema import ORIGIN, Column, Table
from pgtrace.units import Lsn
from pgtrace.walcheckpoints import REDO_LSN

_WAL_SECOND = """
select
    server, date_trunc('second', time_after) as second, resource_manager,
    count(*) as records, cast(sum(total_bytes) as bigint) as bytes, cast(sum(fpi_bytes) as bigint) as fpi_bytes,
    cast(sum(fpi_count) as bigint) as fpi_count, count(*) filter (where is_commit) as commits,
    -- a transaction ends before the next one that is written behind it; what has none may be of any time later
    max(time_before) filter (where xid is not null) as written_until
from wal_record
where time_after is not null
group by all
"""

#: a record's type tells its process, or that it has no transaction: of the types listed last only vacuum's have none
_WAL_PROCESS = f"""
with
-- a checkpoint writes the running transactions last of all before its own record; the background writer does so, too
snapshots as (
    select
        server, lsn, record_type, lead(record_type) over next_record as next_type,
        lead({REDO_LSN}) over next_record as next_redo_lsn
    from wal_record
    where
        (resource_manager = 'Standby' and record_type = 'RUNNING_XACTS')
        or (resource_manager = 'XLOG' and record_type in ('CHECKPOINT_ONLINE', 'CHECKPOINT_SHUTDOWN'))
    window next_record as (partition by server order by lsn)
),
causes as (
    select
        *,
        case
            when resource_manager = 'XLOG' then case
                when record_type in ('CHECKPOINT_ONLINE', 'CHECKPOINT_SHUTDOWN', 'CHECKPOINT_REDO') then 'checkpoint'
                when record_type = 'FPI_FOR_HINT' then 'hint bits'
                when record_type = 'SWITCH' then 'segment switch'
                when record_type = 'RESTORE_POINT' then 'restore point'
                when record_type = 'BACKUP_END' then 'backup'
                when record_type = 'NEXTOID' then 'new ids'
                when record_type in ('PARAMETER_CHANGE', 'FPW_CHANGE') then 'settings'
                when record_type in ('END_OF_RECOVERY', 'OVERWRITE_CONTRECORD') then 'recovery'
                when xid is not null then 'transaction'
            end
            when record_type = 'RUNNING_XACTS' and resource_manager = 'Standby' then case
                when (server, lsn) in (
                    select (server, lsn)
                    from snapshots
                    where
                        record_type = 'RUNNING_XACTS' and next_type = 'CHECKPOINT_ONLINE' and lsn >= next_redo_lsn
                ) then 'checkpoint'
                else 'running transactions'
            end
            when resource_manager = 'Heap2' and record_type in ('PRUNE', 'PRUNE_ON_ACCESS', 'CLEAN') then 'pruning'
            when resource_manager = 'LogicalMessage' then 'logical message'
            when xid is not null or resource_manager = 'Transaction' then 'transaction'
            when resource_manager = 'Standby' and record_type = 'INVALIDATIONS' then 'cache invalidation'
            when
                resource_manager in ('Gin', 'BRIN')
                or (resource_manager || '/' || record_type) in (
                    'Heap2/VISIBLE', 'Heap2/VACUUM', 'Heap2/FREEZE_PAGE', 'Heap2/CLEANUP_INFO',
                    'Heap2/PRUNE_VACUUM_SCAN', 'Heap2/PRUNE_VACUUM_CLEANUP', 'Heap/INPLACE',
                    'Btree/VACUUM', 'Btree/UNLINK_PAGE', 'Btree/UNLINK_PAGE_META', 'Btree/MARK_PAGE_HALFDEAD',
                    'Btree/META_CLEANUP', 'Hash/DELETE', 'Hash/SQUEEZE_PAGE', 'Hash/MOVE_PAGE_CONTENTS',
                    'Hash/UPDATE_META_PAGE', 'Gist/PAGE_DELETE', 'Gist/PAGE_UPDATE', 'SPGist/VACUUM_LEAF',
                    'SPGist/VACUUM_ROOT', 'SPGist/VACUUM_REDIRECT', 'Storage/TRUNCATE', 'CLOG/TRUNCATE',
                    'CommitTs/TRUNCATE', 'MultiXact/TRUNCATE_ID'
                )
                then 'vacuum'
            when resource_manager in ('CLOG', 'CommitTs', 'MultiXact') then 'new ids'
        end as cause
    from wal_record
)
select
    server, source_id, line_no, lsn, xid, time_after, time_before, resource_manager, record_type,
    case
        when cause = 'checkpoint' or record_type = 'FPW_CHANGE' then 'checkpointer'
        when cause = 'running transactions' then 'background writer'
        when cause = 'vacuum' then 'vacuum'
        when cause in ('recovery', 'settings') then 'startup'
        when
            xid is not null
            or cause in ('transaction', 'logical message', 'restore point', 'backup', 'new ids')
            or record_type = 'PRUNE_ON_ACCESS'
            then 'backend'
    end as process,
    cause, record_bytes, fpi_bytes, total_bytes, fpi_count
from causes
"""

#: a second is busy that has more than this many times the median second's WAL, and more than this many bytes
_BUSY_TIMES, _BUSY_BYTES = 5, 1_048_576

_WAL_BURST = f"""
with
seconds as (
    select
        server, second, sum(bytes) as bytes, sum(fpi_bytes) as fpi_bytes, sum(commits) as commits,
        greatest(second + interval 1 second, max(written_until)) as ended_at,
        arg_max(resource_manager, (bytes, resource_manager)) as resource_manager
    from wal_second
    group by server, second
),
usual as (
    select server, cast(median(bytes) as double) as median_bytes
    from seconds
    group by server
),
busy as (
    select
        seconds.*, usual.median_bytes,
        max(ended_at) over (
            partition by server order by second rows between unbounded preceding and 1 preceding
        ) as before_ended_at
    from seconds
    inner join usual using (server)
    where seconds.bytes > greatest({_BUSY_TIMES} * usual.median_bytes, {_BUSY_BYTES})
),
numbered as (
    select
        *,
        count(*) filter (where before_ended_at is null or second > before_ended_at) over (
            partition by server order by second
        ) as burst_no
    from busy
)
select
    server, min(second) as started_at, max(ended_at) as ended_at, count(*) as busy_seconds,
    cast(sum(bytes) as bigint) as bytes, cast(sum(fpi_bytes) as bigint) as fpi_bytes,
    cast(sum(commits) as bigint) as commits, cast(max(bytes) as bigint) as peak_bytes,
    any_value(median_bytes) as median_bytes, arg_max(resource_manager, (bytes, second)) as resource_manager
from numbered
group by server, burst_no
"""

VIEWS = {
    "wal_second": _WAL_SECOND,
    "wal_process": _WAL_PROCESS,
    "wal_burst": _WAL_BURST,
    walcheckpoints.TABLE.name: walcheckpoints.VIEW,
    walchanges.TABLE.name: walchanges.VIEW,
}

#: bursts as rows of background_event
BURST_EVENTS = """
select
    server, cast(null as varchar), cast(null as bigint), cast(null as varchar), 'WAL burst',
    started_at, ended_at, cast(null as varchar), cast(bytes as double), 'bytes',
    format('{:.0f} % full page images, most of it {}', 100.0 * fpi_bytes / bytes, resource_manager)
from wal_burst
"""

VIEW_TABLES = {
    "wal_second": Table(
        name="wal_second",
        one_row_per="second and resource manager, of the WAL records that have a time_after",
        columns={
            "second": Column("second of time_after: of the last commit before a record, or its own", datetime),
            "resource_manager": Column("Heap, Btree, XLOG, Transaction, …"),
            "records": Column("records", int),
            "bytes": Column("their size, full page images included", int, "B"),
            "fpi_bytes": Column("size of the full page images", int, "B"),
            "fpi_count": Column("full page images", int),
            "commits": Column("commits", int),
            "written_until": Column(
                "records of transactions were written before this time: a large transaction goes on after the second "
                "that its records are counted in; null: not known",
                datetime,
            ),
        },
        time="second",
    ),
    "wal_process": Table(
        name="wal_process",
        one_row_per="WAL record",
        columns={
            **ORIGIN,
            "lsn": Column("position of the record", Lsn),
            "xid": Column("transaction that wrote it; null: none", int),
            "time_after": Column("it was written at or after this time", datetime),
            "time_before": Column("it was written at or before this time", datetime),
            "resource_manager": Column("resource manager"),
            "record_type": Column("what it does"),
            "process": Column(
                "checkpointer, background writer, startup, vacuum (autovacuum worker or VACUUM), backend (also an "
                "autovacuum worker in a transaction, as for ANALYZE); null: several kinds write such records"
            ),
            "cause": Column(
                "checkpoint, running transactions, vacuum, pruning, hint bits, transaction, logical message, new ids, "
                "cache invalidation, segment switch, restore point, backup, settings, recovery; null: none of these"
            ),
            "record_bytes": Column("size without full page images", int, "B"),
            "fpi_bytes": Column("size of its full page images", int, "B"),
            "total_bytes": Column("size", int, "B"),
            "fpi_count": Column("full page images", int),
        },
        time="time_after",
    ),
    "wal_burst": Table(
        name="wal_burst",
        one_row_per="run of seconds with five times the WAL of the server's median second, and over 1 MB",
        columns={
            "started_at": Column("when it began, to the second", datetime),
            "ended_at": Column(
                "when it ended: with its last second, or the last transaction that began in it", datetime
            ),
            "busy_seconds": Column("seconds that so much WAL is counted in", int),
            "bytes": Column("WAL written", int, "B"),
            "fpi_bytes": Column("of it full page images", int, "B"),
            "commits": Column("commits", int),
            "peak_bytes": Column("WAL of the largest second", int, "B"),
            "median_bytes": Column("WAL of the server's median second, of those that have any", float, "B"),
            "resource_manager": Column("the one that wrote most in the largest second"),
        },
        time="started_at",
    ),
    walcheckpoints.TABLE.name: walcheckpoints.TABLE,
    walchanges.TABLE.name: walchanges.TABLE,
}
