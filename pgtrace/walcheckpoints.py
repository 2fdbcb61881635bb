"""Checkpoints as WAL tells of them, with their times from the log.

From version 16 the log says the position of a checkpoint's record. Before, the n-th record is that of the n-th
completion, where the times that lie around the record allow it.
"""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import ORIGIN, Column, Table
from pgtrace.units import Lsn

#: where recovery would begin, from the description of a checkpoint
REDO_LSN = "lsn_parse(nullif(regexp_extract(description, '^redo ([0-9A-F]+/[0-9A-F]+)', 1), ''))"

#: commit times step back a little, and a log may have whole seconds; a completion that is later than that behind the
#: next commit, or a start that is behind it at all, is another checkpoint's
_LOG_TOLERANCE, _LONGEST_END = "interval 1 second", "interval 1 minute"

VIEW = f"""
with
checkpoints as (
    select
        *, record_type = 'CHECKPOINT_SHUTDOWN' as is_shutdown, {REDO_LSN} as redo_lsn
    from wal_record
    where resource_manager = 'XLOG' and record_type in ('CHECKPOINT_ONLINE', 'CHECKPOINT_SHUTDOWN')
),
completions as (
    select
        server, lsn, started_at, completed_at,
        coalesce(list_has_any(reasons, ['shutdown', 'end-of-recovery']), false) as is_shutdown
    from checkpoint
    where process_kind = 'checkpoint' and completed_at is not null
    -- once, where the log is there in several formats
    qualify lsn is null or row_number() over (partition by server, lsn order by completed_at, started_at) = 1
),
-- until version 15 by order: records and completions take turns; where there are several, the last ones belong
-- together, unless it could be other ones
steps as (
    select
        server, is_shutdown, time_after as happened_at, lsn, time_before,
        cast(null as timestamptz) as started_at, cast(null as timestamptz) as completed_at
    from checkpoints
    where time_after is not null
    union all
    select server, is_shutdown, completed_at + {_LOG_TOLERANCE}, null, null, started_at, completed_at
    from completions
    where lsn is null
),
turns as (
    select *, lsn is not null and lag(lsn) over in_order is null as is_first
    from steps
    window in_order as (partition by server, is_shutdown order by happened_at, lsn nulls last, started_at)
),
rounds as (
    select
        *, count(*) filter (where is_first) over (
            partition by server, is_shutdown order by happened_at, lsn nulls last, started_at rows unbounded preceding
        ) as round_no
    from turns
),
places as (
    select
        *,
        count(lsn) over of_round as lsns, count(completed_at) over of_round as ends,
        row_number() over of_kind as place, lag(happened_at) over of_kind as before_at
    from rounds
    window
        of_round as (partition by server, is_shutdown, round_no),
        of_kind as (partition by server, is_shutdown, round_no, lsn is null order by happened_at, lsn, started_at)
),
certain as (
    select
        *,
        coalesce(bool_or(lsn is not null and place = lsns - ends + 1 and before_at = happened_at) over (
            partition by server, is_shutdown, round_no
        ), false) as is_doubtful
    from places
),
by_order as (
    select record.server, record.lsn, log.started_at, log.completed_at
    from certain as record
    inner join certain as log
        on
            record.server = log.server and record.is_shutdown = log.is_shutdown and record.round_no = log.round_no
            and record.place - greatest(record.lsns - record.ends, 0) = log.place
    where
        record.lsn is not null and log.lsn is null and not record.is_doubtful
        and (record.time_before is null or log.completed_at <= record.time_before + {_LONGEST_END})
        and coalesce(log.started_at <= record.time_before + {_LOG_TOLERANCE}, true)
)
select
    checkpoints.server, checkpoints.source_id, checkpoints.line_no, checkpoints.lsn, checkpoints.redo_lsn,
    checkpoints.is_shutdown,
    cast(nullif(regexp_extract(description, '; tli ([0-9]+);', 1), '') as bigint) as timeline,
    cast(nullif(regexp_extract(description, '; prev tli ([0-9]+);', 1), '') as bigint) as previous_timeline,
    regexp_extract(description, '; fpw (true|false);', 1) = 'true' as has_full_page_writes,
    nullif(regexp_extract(description, '; wal_level ([a-z]+);', 1), '') as wal_level,
    cast(nullif(regexp_extract(description, '; xid ([0-9]+)[:/][0-9]+;', 1), '') as bigint) as xid_epoch,
    cast(nullif(regexp_extract(description, '; xid [0-9]+[:/]([0-9]+);', 1), '') as bigint) as next_xid,
    cast(nullif(regexp_extract(description, '; oldest xid ([0-9]+) in DB', 1), '') as bigint) as oldest_xid,
    cast(nullif(regexp_extract(description, '; oldest xid [0-9]+ in DB ([0-9]+)', 1), '') as bigint)
        as oldest_xid_database_oid,
    cast(nullif(regexp_extract(description, '; oldest running xid ([0-9]+)', 1), '') as bigint) as oldest_running_xid,
    checkpoints.time_after, checkpoints.time_before,
    coalesce(by_lsn.started_at, by_order.started_at) as started_at,
    coalesce(by_lsn.completed_at, by_order.completed_at) as completed_at,
    case when by_lsn.lsn is not null then 'lsn' when by_order.lsn is not null then 'order' end as time_basis
from checkpoints
left join completions as by_lsn on checkpoints.server = by_lsn.server and checkpoints.lsn = by_lsn.lsn
left join by_order on checkpoints.server = by_order.server and checkpoints.lsn = by_order.lsn
"""

TABLE = Table(
    name="wal_checkpoint",
    one_row_per="record of a checkpoint in WAL",
    columns={
        **ORIGIN,
        "lsn": Column("position of the record", Lsn),
        "redo_lsn": Column("where recovery would begin: changes from there on write full page images", Lsn),
        "is_shutdown": Column("whether it is of a shutdown, or the end of recovery; others are online", bool),
        "timeline": Column("timeline", int),
        "previous_timeline": Column("the one before, where it begins one; else the same", int),
        "has_full_page_writes": Column("whether full_page_writes is on", bool),
        "wal_level": Column("wal_level, from version 17"),
        "xid_epoch": Column("how often transaction ids have begun anew", int),
        "next_xid": Column("next transaction id", int),
        "oldest_xid": Column("oldest transaction id that is not frozen (datfrozenxid)", int),
        "oldest_xid_database_oid": Column("database that has it", int),
        "oldest_running_xid": Column("oldest transaction that was running; 0 at a shutdown", int),
        "time_after": Column("the record was written at or after this time", datetime),
        "time_before": Column("it was written at or before this time", datetime),
        "started_at": Column("when the checkpoint began, from the log", datetime),
        "completed_at": Column("when it was done, from the log; a moment after the record", datetime),
        "time_basis": Column(
            "how the log's line was found: lsn, or order (to version 15); null: it was not, or several could be it"
        ),
    },
    time="time_after",
)
