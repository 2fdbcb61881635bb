"""Lines of the server log that arrive inside another log (syslog, a container's JSON, the journal), put together again.

The outer log has its own time, often the process, and may hold the lines of several processes mixed. A format of that
kind reads its outer fields and leaves the rest to ``read_enveloped``.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pgtrace.assembly import NO_PREFIX, NO_RECORD, as_csvlog, assembled, numbered, with_pid
from pgtrace.heads import read_heads
from pgtrace.logformat import Parsed
from pgtrace.prefix import FOLLOW_UPS, compile_prefix
from pgtrace.recordframe import RECORD_SCHEMA, unparsed_lines

#: columns of the outer log that stand where the inner line does not say it itself
_OUTER = ("logged_at", "pid", "user_name", "database_name", "backend_type", "session_line_no")
#: bytes from the end in which a place is looked for where no record is half written
_LOOKED_AT = 4 * 1024 * 1024


def read_enveloped(entries: pl.DataFrame, prefix: str, timezone: str | None) -> Parsed:
    """Records of the entries of an outer log. Raises TimeZoneError.

    ``entries`` has one row per line of the file, in its order: ``line_no``; ``line`` as it is in the file; ``text``,
    the line of the server log in it (null: there is none; it may hold line ends, and begins with a TAB where it goes
    on with the line before it); ``goes_on``, whether it goes on with the text before it without a line end (null:
    where it does not begin with the prefix); ``owner``, what tells processes apart (any type, may be null), and those
    of ``logged_at`` (UTC), ``pid``, ``user_name``, ``database_name``, ``backend_type`` and ``session_line_no`` that the
    outer log says.
    ``prefix`` is the log_line_prefix inside it, which may be empty.
    """
    lines = _inner_lines(entries)
    heads = read_heads(lines["text"], compile_prefix(prefix), timezone)
    heads = heads.with_columns(_severities(lines, heads))
    lines = _with_groups(lines.with_columns(heads["severity"]))
    frame = _folded(lines, with_pid(heads), entries)
    frame = numbered(frame)
    is_record = frame.select((pl.col("severity").is_not_null() & (pl.col("record_no") > 0)).alias("is"))["is"]
    counted = _with_line_counts(frame.with_columns(is_record.alias("is_record")), lines)
    records = as_csvlog(assembled(counted.filter("is_record").drop("is_record", "group")))
    records = fitted_records(records).sort("line_no", maintain_order=True)
    return Parsed(records, _unread(entries, lines, counted, records))


def fitted_records(records: pl.DataFrame) -> pl.DataFrame:
    """The columns of the record table that ``records`` has, in their types; nothing else."""
    return records.select(pl.col(name).cast(dtype) for name, dtype in RECORD_SCHEMA.items() if name in records.columns)


def _inner_lines(entries: pl.DataFrame) -> pl.DataFrame:
    """One row per line of the server log, those of one owner together; ``nth`` is its place in the entry."""
    lines = entries.select("line_no", "owner", "goes_on", "text").filter(pl.col("text").is_not_null())
    if lines["text"].str.contains("\n", literal=True).any():
        lines = lines.with_columns(pl.col("text").str.split("\n")).explode("text")
        lines = lines.with_columns(pl.int_range(pl.len()).over("line_no").alias("nth"))
    else:
        lines = lines.with_columns(pl.lit(0, pl.Int64).alias("nth"))
    return lines.sort("owner", maintain_order=True) if lines["owner"].n_unique() > 1 else lines


def _severities(lines: pl.DataFrame, heads: pl.DataFrame) -> pl.Series:
    """Levels without those inside a line: what goes on with one may bring a DETAIL, but begins no record."""
    is_inside = lines["goes_on"].fill_null(False) & (lines["nth"] == 0)
    severity = pl.col("severity")
    if not is_inside.any():
        return heads["severity"]
    return heads.select(pl.when(~is_inside | severity.is_in(list(FOLLOW_UPS))).then(severity))["severity"]


def _with_groups(lines: pl.DataFrame) -> pl.DataFrame:
    """``group``: the lines that are one line of a record; null where a line goes on with nothing."""
    begins = pl.col("severity").is_not_null()
    is_tab = pl.col("text").str.starts_with("\t")
    belongs = begins | is_tab | pl.col("goes_on").fill_null(True) | (pl.col("nth") > 0)
    lines = lines.with_columns(is_tab.alias("is_tab"), belongs.alias("belongs"))
    number = begins.cast(pl.UInt32).cum_sum()
    first = pl.col("number").filter(begins).min().over("owner")
    return lines.with_columns(number.alias("number")).with_columns(
        pl.when(pl.col("belongs") & (pl.col("number") >= first)).then("number").alias("group")
    )


def _folded(lines: pl.DataFrame, heads: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
    """One row per group: what its head says, or else the outer log, and its whole text."""
    frame = heads.with_columns(lines["line_no"], lines["group"])
    begins = frame.filter(pl.col("severity").is_not_null())
    text = (
        pl.when(pl.col("is_tab"))
        .then(pl.lit("\n") + pl.col("text").str.slice(1))
        .when(pl.col("nth") > 0)
        .then(pl.lit("\n") + pl.col("text"))
        .otherwise("text")
    )
    more = lines.filter(pl.col("severity").is_null() & pl.col("group").is_not_null())
    if more.height:
        rest = more.group_by("group").agg(text.str.join("").alias("rest"))
        begins = begins.join(rest, on="group", how="left", maintain_order="left")
        begins = begins.with_columns(pl.col("text") + pl.col("rest").fill_null("")).drop("rest")
    outer = [name for name in _OUTER if name in entries.columns]
    said = entries.select("line_no", pl.col(outer).name.suffix("_outer"))
    begins = begins.join(said, on="line_no", how="left", maintain_order="left")
    both = [
        pl.coalesce(name, f"{name}_outer").alias(name) if name in frame.columns else pl.col(f"{name}_outer").alias(name)
        for name in outer
    ]
    begins = begins.with_columns(both).drop(f"{name}_outer" for name in outer)
    return begins if "pid" in begins.columns else begins.with_columns(pl.lit(None, pl.Int64).alias("pid"))


def _with_line_counts(frame: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """``line_count``: entries that the row takes; an entry with lines of several records is the first one's."""
    takes = lines.filter(pl.col("group").is_not_null())
    if (takes["nth"] > 0).any():
        own = frame.select("group", "is_record").filter("is_record")
        takes = takes.join(own, on="group", how="semi", maintain_order="left").unique("line_no", keep="first")
    counts = takes.group_by("group").agg(pl.len().cast(pl.Int64).alias("line_count"))
    return frame.join(counts, on="group", how="left", maintain_order="left").with_columns(
        pl.col("line_count").fill_null(0)
    )


def _unread(entries: pl.DataFrame, lines: pl.DataFrame, frame: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Entries of which no line belongs to a record."""
    if records["line_count"].sum() == entries.height:
        return unparsed_lines(pl.DataFrame(), records)
    read = lines.join(frame.filter("is_record"), on="group", how="semi")
    left = entries.join(read, on="line_no", how="anti", maintain_order="left")
    has_level = lines.filter(pl.col("severity").is_not_null())["line_no"].unique()
    is_part = pl.col("line_no").is_in(has_level.implode()) | pl.col("goes_on").fill_null(False)
    reason = pl.when(is_part).then(pl.lit(NO_RECORD)).otherwise(pl.lit(NO_PREFIX))
    return unparsed_lines(left.select("line_no", pl.col("line").alias("text"), reason.alias("reason")), records)


def last_whole(buffer: bytes, look: Callable[[bytes], tuple[object, bool] | None], settled: int = 0) -> int:
    """Where to cut ``buffer`` so that no record is on both sides: the last such place, 0 where there is none.

    ``look`` tells of one line who wrote it, and whether it begins a record; None for one that goes on with the line
    before it in the file, whoever wrote that. Looks at one line after the other from the end, where the last
    ``settled`` bytes are never divided: what they go on with may yet come. Where the last megabytes have no such place,
    the last line that begins a record is taken.
    """
    open_owners: set[object] = set()
    end = len(buffer)
    fallback = 0
    while end > 0:
        start = buffer.rfind(b"\n", 0, end - 1) + 1
        looked = look(buffer[start : min(end, start + 4096)])
        if looked is not None:
            owner, begins = looked
            if begins:
                open_owners.discard(owner)
                if len(buffer) - start >= settled:
                    fallback = fallback or start
                    if not open_owners:
                        return start
            else:
                open_owners.add(owner)
        if fallback and len(buffer) - start > _LOOKED_AT:
            return fallback
        end = start
    return 0
