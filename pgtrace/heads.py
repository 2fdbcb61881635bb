"""Lines of a stderr log split into head and text, and the heads read with the compiled log_line_prefix.

A log of millions of lines has few distinct heads (one per session and severity), so a head is read once and joined
back; where the prefix makes nearly every head distinct (%l, %x, a time that does not come first) all are read.
"""

from __future__ import annotations

import polars as pl

from pgtrace.logtime import epoch_times, utc_times
from pgtrace.prefix import SEPARATOR, Prefix
from pgtrace.schema import RECORD

#: text printed where a session has no value yet, or none (elog.c)
_UNKNOWN = ("[unknown]", "")
#: above this share of distinct heads the join back costs more than reading every head
_MOSTLY_DISTINCT = 0.4


def read_heads(lines: pl.Series, prefix: Prefix, timezone: str | None) -> pl.DataFrame:
    """Columns of the record table that the prefix carries, with ``severity`` and ``text``, one row per line.

    ``severity`` is null where a line does not begin with the prefix. Raises TimeZoneError.
    """
    cut = lines.to_frame("line").select(
        pl.col("line").str.slice(0, prefix.leading_width).alias("time"),
        pl.col("line").str.slice(prefix.leading_width).str.splitn(SEPARATOR, 2).alias("parts"),
    )
    split = cut.select("time", *_parts(pl.col("parts"), "head", "text"))
    if prefix.leading_width == 0:
        split = split.drop("time")
    heads = split["head"]
    if heads.len() > 1000 and heads.head(1000).n_unique() > 1000 * _MOSTLY_DISTINCT:
        frame = pl.concat([_match(heads, prefix), split.drop("head")], how="horizontal")
    else:
        distinct = heads.unique()
        read_once = _match(distinct, prefix).with_columns(distinct.alias("head"))
        frame = split.join(read_once, on="head", how="left", maintain_order="left").drop("head")
    frame = _with_times(frame, timezone, prefix)
    return _second_look(frame, lines, prefix, timezone)


def _parts(parts: pl.Expr, *names: str) -> list[pl.Expr]:
    return [parts.struct.field(f"field_{number}").alias(name) for number, name in enumerate(names)]


def _match(heads: pl.Series, prefix: Prefix) -> pl.DataFrame:
    groups = heads.rename("head").to_frame().select(pl.col("head").str.extract_groups(prefix.rest_pattern)).unnest("head")
    return _typed(groups)


def _typed(groups: pl.DataFrame) -> pl.DataFrame:
    """Matched texts as the types of the record table; what PostgreSQL prints for "no value" becomes null."""
    expressions = []
    for name in groups.columns:
        if name.startswith("_"):
            continue
        column = pl.col(name)
        if name in RECORD.columns and name != "severity":
            column = pl.when(~column.is_in(_UNKNOWN)).then(column)
            column = column.cast(RECORD.columns[name].polars_type, strict=False)
        expressions.append(column)
    return groups.select(expressions)


def _with_times(frame: pl.DataFrame, timezone: str | None, prefix: Prefix) -> pl.DataFrame:
    """Printed times as UTC; a line whose time cannot be read has no severity, so it is not taken for a record."""
    readable = pl.col("severity").is_not_null()
    if prefix.leading_escape == "n" or "epoch" in prefix.fields:
        text = frame["time"] if prefix.leading_escape == "n" else frame["epoch"]
        logged_at = epoch_times(text)
    else:
        known = frame.select(pl.when(readable).then("time").alias("time"), "zone")
        logged_at = utc_times(known["time"], known["zone"], timezone)
    frame = frame.with_columns(logged_at.alias("logged_at"))
    if "session_time" in frame.columns:
        started = utc_times(frame["session_time"], frame["session_zone"], timezone)
        frame = frame.with_columns(started.alias("session_started_at"))
    severity = pl.when(pl.col("logged_at").is_not_null()).then("severity").alias("severity")
    extra = ("time", "zone", "epoch", "session_time", "session_zone")
    return frame.with_columns(severity).drop([name for name in extra if name in frame.columns])


def _second_look(frame: pl.DataFrame, lines: pl.Series, prefix: Prefix, timezone: str | None) -> pl.DataFrame:
    """Heads that themselves hold ``:  `` (an application name may) were split too early: few, read in full."""
    unread = frame["severity"].is_null() & frame["text"].is_not_null()
    if not unread.any():
        return frame
    whole = prefix.pattern.removesuffix("$") + rf"{SEPARATOR}(?P<text>.*)$"
    where = unread.arg_true()
    again = lines.gather(where).rename("line").to_frame()
    groups = again.select(pl.col("line").str.extract_groups(whole)).unnest("line")
    if groups["severity"].null_count() == groups.height:
        return frame
    read = _with_times(_typed(groups), timezone, prefix).with_columns(where.alias("row"))
    read = read.filter(pl.col("severity").is_not_null())
    return frame.with_row_index("row").update(read.cast({"row": pl.UInt32}), on="row").drop("row")
