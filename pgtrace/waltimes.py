"""When WAL records were written: only those that end a transaction say so, the others lie between two of them.

The time of a commit is taken a moment before its record is written, so in the order of LSNs times may step back by as
much. Records are in the order of the text; where LSNs step back, other WAL begins, and nothing is concluded across.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pgtrace.bytewords import Flags, Places, nullable
from pgtrace.logtime import utc_times
from pgtrace.message import Joined

#: rows that wait for the next commit; one transaction may write any number of them
MOST_WAITING = 200_000
_TIME = (
    r"(?s)^(?:(?P<prepared_xid>[0-9]+): |gid (?P<gid>.*): |(?:tli|lsn) .*; time )?"
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6}))?"
    # pg_walinspect prints an offset, and no blank before it
    r" ?(?P<zone>[A-Za-z]{2,10}|[+-][0-9]{2}(?::?[0-9]{2}){0,2})(?:;|$)"
)
_DATETIME = pl.Datetime("us", "UTC")
#: by which of the two times a record has, and then whether it says one itself
BASES = pl.Series("time_basis", [None, "after a commit", "before a commit", "between commits", "commit", "own time"])
_COMMIT, _OWN_TIME = 4, 5


def printed_times(descriptions: pl.Series, timezone: str | None) -> pl.DataFrame:
    """``time, gid, prepared_xid`` of descriptions that say a time; null where one does not. Raises TimeZoneError."""
    groups = descriptions.rename("text").to_frame().select(pl.col("text").str.extract_groups(_TIME).struct.unnest())
    fraction = pl.col("fraction").fill_null("").str.pad_end(6, "0").cast(pl.Int64)
    return groups.select(
        time=utc_times(groups["time"], groups["zone"], timezone) + pl.duration(microseconds=fraction),
        gid="gid",
        prepared_xid=pl.col("prepared_xid").cast(pl.Int64),
    )


def brackets(lsn: npt.NDArray[np.uint64], rows: Places, times: pl.Series, is_commit: Flags) -> pl.DataFrame:
    """``time_after, time_before, time_basis`` for every record.

    ``rows`` are those that say a time, ``times`` what they say, and ``is_commit`` whether it is that of a transaction.
    """
    own = np.zeros(lsn.size, dtype=np.int64)
    own[rows] = 1
    before = np.cumsum(own)
    after, before = before - 1, before - own  # which of ``rows``; -1 and their number are none
    has_after, has_before = after >= 0, before < rows.size
    steps_back = lsn[1:] <= lsn[:-1]
    if steps_back.any():
        run = np.append(0, np.cumsum(steps_back))
        own_run = np.append(run[rows], -1)
        has_after &= own_run[after] == run
        has_before &= own_run[before] == run
    values = np.append(times.to_physical().to_numpy(), 0)
    codes = _between(has_after, has_before)
    codes[rows] = np.where(is_commit, _COMMIT, _OWN_TIME)
    return pl.DataFrame(
        {
            "time_after": nullable(values[after], has_after).cast(_DATETIME),
            "time_before": nullable(values[before], has_before).cast(_DATETIME),
            "time_basis": BASES.gather(codes),
        }
    )


def _between(has_after: Flags, has_before: Flags) -> npt.NDArray[np.uint8]:
    """Number of the basis, by which of the two times a record has that says none itself."""
    return has_after + np.uint8(2) * has_before


def join_records(rows: pl.DataFrame, failed: pl.DataFrame, waiting: pl.DataFrame | None) -> Joined:
    """Rows whose next commit, or next record, is in a later part wait for it."""
    if rows.is_empty():
        return Joined(rows, waiting, waiting)
    if waiting is not None and _follows(rows, waiting):
        waiting, rows = _closed(waiting, rows), _continued(waiting, rows)
    whole = rows if waiting is None else pl.concat([waiting, rows])
    begin = max(_run_start(whole), _behind_last(whole["time_before"].is_not_null()))
    begin = max(min(begin, whole.height - 1), whole.height - MOST_WAITING)
    still = whole.slice(begin)
    return Joined(whole.head(begin), still, still)


def _steps_back(rows: pl.DataFrame) -> Places:
    """Rows whose LSN is not behind the one before."""
    lsn = rows["lsn"].to_numpy()
    return np.flatnonzero(lsn[1:] <= lsn[:-1]) + 1


def _run_start(rows: pl.DataFrame) -> int:
    return int(_steps_back(rows)[-1:].sum())


def _behind_last(flags: pl.Series) -> int:
    places = flags.arg_true()
    return int(places[-1]) + 1 if places.len() else 0


def _follows(rows: pl.DataFrame, waiting: pl.DataFrame) -> bool:
    return bool(rows["lsn"][0] > waiting["lsn"][-1] and rows["timeline"][0] == waiting["timeline"][-1])


def _closed(waiting: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """What waits, with what the rows behind it tell."""
    is_next = rows["prev_lsn"][0] == waiting["lsn"][-1]
    ends = waiting["end_lsn"].to_list()[-1:] if not is_next else [rows["lsn"][0]]
    end_lsn = pl.concat([waiting["end_lsn"].head(-1), pl.Series("end_lsn", ends, dtype=pl.UInt64)])
    before = pl.col("time_before").fill_null(pl.lit(rows["time_before"][0], _DATETIME))
    return _with_basis(waiting.with_columns(end_lsn, before))


def _continued(waiting: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, with the time of the last commit before them."""
    time = waiting["time_after"][-1]
    if time is None:
        return rows
    known = rows["time_after"].is_not_null().arg_true()
    count = min([rows.height, *_steps_back(rows)[:1], *known[:1]])
    begun = _with_basis(rows.head(count).with_columns(pl.lit(time, _DATETIME).alias("time_after")))
    return pl.concat([begun, rows.slice(count)])


def _with_basis(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with another basis, where their times are now known."""
    codes = _between(*(rows[name].is_not_null().to_numpy() for name in ("time_after", "time_before")))
    is_own = pl.col("time_basis").is_in(BASES[[_COMMIT, _OWN_TIME]].to_list())
    return rows.with_columns(pl.when(is_own).then("time_basis").otherwise(BASES.gather(codes)).alias("time_basis"))


def join_blocks(rows: pl.DataFrame, failed: pl.DataFrame, waiting: pl.DataFrame | None) -> Joined:
    """Blocks from before the first commit of a part get the time of the last one in the part before.

    The last row of a part is no block: it tells the first and last LSN of the part, and the last time.
    """
    if rows.is_empty():
        return Joined(rows, None, waiting)
    edge = rows.tail(1)
    is_next = waiting is not None and edge["first_lsn"][0] > waiting["lsn"][-1]
    if waiting is not None and is_next and edge["timeline"][0] == waiting["timeline"][-1]:
        time = pl.lit(waiting["time_after"][-1], _DATETIME)
        count = _behind_last(rows["is_before_commits"])
        rows = pl.concat([rows.head(count).with_columns(time.alias("time_after")), rows.slice(count)])
        edge = rows.tail(1)
    return Joined(rows.head(-1), None, edge)
