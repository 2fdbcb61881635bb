"""The memory contexts that a process out of memory writes to stderr, given to the error that follows them.

``MemoryContextStats`` (src/backend/utils/mmgr/mcxt.c) prints without log_line_prefix and before the ``ERROR:  out of
memory`` of the same process, so its lines stand behind whatever record came before.
"""

from __future__ import annotations

import polars as pl

_FIRST = "TopMemoryContext: "
_LAST = "Grand total: "
_ERROR = r"^(?:[0-9A-Z]{5}: )?out of memory"
#: bytes of a log that are looked at for the beginning of a dump
_LOOKED_AT = 4 * 1024 * 1024


def with_memory_dumps(frame: pl.DataFrame, lines: pl.Series) -> pl.DataFrame:
    """``frame`` (one row per line, numbered) with the lines of a dump made lines of the record that they belong to.

    Their ``severity`` is "MEMORY", their ``text`` the whole line. A dump that no such error follows stays unread.
    """
    unread = frame["severity"].is_null()
    if not unread.any() or not (is_first := unread & lines.str.starts_with(_FIRST).fill_null(False)).any():
        return frame
    rows = frame.select("severity", "text", "is_start", "record_no").with_row_index("row")
    rows = rows.with_columns(lines.alias("line"), is_first.alias("is_first"), unread.alias("unread"))
    is_last = pl.col("unread") & pl.col("line").str.starts_with(_LAST)
    rows = rows.with_columns(pl.col("is_first").cast(pl.UInt32).cum_sum().alias("dump"), is_last.alias("is_last"))
    ended = pl.col("is_last").cast(pl.UInt32).cum_sum().over("dump") - pl.col("is_last").cast(pl.UInt32)
    dump = rows.filter(pl.col("unread") & (pl.col("dump") > 0) & (ended == 0))
    errors = rows.filter(pl.col("is_start") & pl.col("text").str.contains(_ERROR)).select(
        "row", pl.col("record_no").alias("owner"), pl.col("dump").alias("owners_dump")
    )
    ends = dump.group_by("dump").agg(pl.col("row").max()).sort("row")
    # the error must come before the next dump begins
    owned = ends.join_asof(errors.sort("row"), on="row", strategy="forward").filter(
        pl.col("owner").is_not_null() & (pl.col("owners_dump") == pl.col("dump"))
    )
    given = dump.join(owned.select("dump", "owner"), on="dump").select(
        "row",
        pl.lit("MEMORY").alias("severity"),
        pl.col("line").alias("text"),
        pl.col("owner").alias("record_no"),
    )
    return frame.with_row_index("row").update(given, on="row").drop("row")


def dump_before(buffer: bytes, start: int) -> int:
    """Where the memory contexts before the error at ``start`` begin; ``start`` where there are none."""
    end_of_line = buffer.find(b"\n", start)
    if b"out of memory" not in buffer[start : end_of_line if end_of_line >= 0 else len(buffer)]:
        return start
    first = buffer.rfind(b"\n" + _FIRST.encode(), max(0, start - _LOOKED_AT), start)
    last = buffer.rfind(b"\n" + _LAST.encode(), max(0, start - _LOOKED_AT), start)
    return first + 1 if 0 <= first < last else start
