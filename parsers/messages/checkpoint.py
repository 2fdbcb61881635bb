"""Checkpoints and restartpoints (log_checkpoints; LogCheckpointStart and LogCheckpointEnd in xlog.c).

The server writes one message when it begins and one when it is done; the table has one row for both.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import PROCESS, Column
from pgtrace.units import Lsn

if TYPE_CHECKING:
    import polars as pl


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    is_start = pl.col("is_start")
    return {
        "started_at": pl.when(is_start).then("logged_at"),
        "completed_at": pl.when(~is_start).then("logged_at"),
        "reasons": pl.when(is_start).then("reasons"),
    }


_COMPLETION = {
    "buffers_written": Column("buffers written", int),
    "buffers_written_pct": Column("share of shared_buffers that was written", float, "%"),
    "slru_written": Column("SLRU buffers written, from version 18", int),
    "write_s": Column("time spent writing", float, "s"),
    "sync_s": Column("time spent in fsync", float, "s"),
    "total_s": Column("time from start to end", float, "s"),
    "wal_added": Column("WAL files added", int),
    "wal_removed": Column("WAL files removed", int),
    "wal_recycled": Column("WAL files recycled", int),
    "sync_files": Column("files synced", int),
    "longest_sync_s": Column("longest fsync", float, "s"),
    "average_sync_s": Column("average fsync", float, "s"),
    "distance_kb": Column("WAL since the checkpoint before", int, "kB"),
    "estimate_kb": Column("WAL expected until the next one", int, "kB"),
    "lsn": Column("position of the checkpoint record, from version 16", Lsn),
    "redo_lsn": Column("where recovery would begin, from version 16", Lsn),
}
_BOTH = {
    "process_kind": Column("checkpoint, or restartpoint on a standby"),
    "reasons": Column(
        "why: wal, time, immediate, force, wait, shutdown, end-of-recovery, flush-all", list[str], split=" "
    ),
    "started_at": Column("when it began", datetime),
    "completed_at": Column("when it was done; null: the log does not say that it was", datetime),
}

MESSAGE = MessageType(
    table="checkpoint",
    one_row_per="checkpoint or restartpoint, start and completion joined",
    process="checkpointer",
    starts_with=("checkpoint starting:", "checkpoint complete:", "restartpoint starting:", "restartpoint complete:"),
    patterns=(
        r"^(?P<process_kind>checkpoint|restartpoint) (?:starting:|complete:)",
        r"^\w+ (?P<is_start>starting): ?(?P<reasons>.*)$",
        r"wrote (?P<buffers_written>\d+) buffers \((?P<buffers_written_pct>[\d.]+)%\)",
        r"wrote (?P<slru_written>\d+) SLRU buffers",  # 18
        r"(?P<wal_added>\d+) WAL file\(s\) added, (?P<wal_removed>\d+) removed, (?P<wal_recycled>\d+) recycled",
        r"write=(?P<write_s>[\d.]+) s, sync=(?P<sync_s>[\d.]+) s, total=(?P<total_s>[\d.]+) s",
        r"sync files=(?P<sync_files>\d+), longest=(?P<longest_sync_s>[\d.]+) s, average=(?P<average_sync_s>[\d.]+) s",
        r"distance=(?P<distance_kb>\d+) kB, estimate=(?P<estimate_kb>\d+) kB",
        r"; lsn=(?P<lsn>[0-9A-F]+/[0-9A-F]+), redo lsn=(?P<redo_lsn>[0-9A-F]+/[0-9A-F]+)",  # 16
    ),
    columns={**_BOTH, **_COMPLETION, "is_start": Column("whether this is the message that it begins", bool)},
    keeps=PROCESS,
    derive=_derive,
    # a completion belongs to the start just before it, of the same process; a start that has none was never completed
    view=f"""
    with
    neighbours as (
        select *,
            not lead(is_start) over next_message
                and pid is not distinct from lead(pid) over next_message as next_completes,
            lag(is_start) over next_message
                and pid is not distinct from lag(pid) over next_message as completes,
            lag(started_at) over next_message as before_started_at,
            lag(reasons) over next_message as before_reasons
        from {{stored}}
        window next_message as (
            partition by server, process_kind order by logged_at, source_id, line_no
        )
    )
    select server, source_id, line_no, logged_at, pid, process_kind,
        case when is_start then reasons when completes then before_reasons end as reasons,
        case when is_start then started_at when completes then before_started_at end as started_at,
        completed_at, {", ".join(_COMPLETION)}
    from neighbours
    where not is_start or next_completes is not true
    """,
    view_columns={**PROCESS, **_BOTH, **_COMPLETION},
)
