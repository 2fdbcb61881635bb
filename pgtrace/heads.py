"""Lines of a stderr log split into head and text, and the heads read with the compiled log_line_prefix.

A log of millions of lines has few distinct heads (one per session and severity), so a head is read once and joined
back; where the prefix makes nearly every head distinct (%l, %x, a time that does not come first) all are read.
"""

from __future__ import annotations

import polars as pl

from pgtrace.logtime import epoch_times, utc_times
from pgtrace.prefix import SEPARATOR, SEVERITIES, Prefix, compile_prefix
from pgtrace.prefix_detection import detect_prefix, match_share
from pgtrace.schema import RECORD

#: text printed where a session has no value yet, or none (elog.c)
_UNKNOWN = ("[unknown]", "")
#: above this share of distinct heads the join back costs more than reading every head
_MOSTLY_DISTINCT = 0.4
_RECORD = rf"^[^\t].*?(?:{'|'.join(SEVERITIES[:6])}){SEPARATOR}"


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
    frame = _second_look(frame, lines, prefix, timezone)
    return _with_changed_prefix(frame, lines, prefix, timezone)


def _parts(parts: pl.Expr, *names: str) -> list[pl.Expr]:
    return [parts.struct.field(f"field_{number}").alias(name) for number, name in enumerate(names)]


def _match(heads: pl.Series, prefix: Prefix) -> pl.DataFrame:
    groups = (
        heads.rename("head").to_frame().select(pl.col("head").str.extract_groups(prefix.rest_pattern)).unnest("head")
    )
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
    if not {"time", "epoch"} & set(prefix.fields):
        return frame  # what carries the lines has the time
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
    where = unread.arg_true()
    return _replaced(frame, _read_in_full(lines.gather(where), prefix, timezone), where)


def _read_in_full(lines: pl.Series, prefix: Prefix, timezone: str | None) -> pl.DataFrame:
    whole = prefix.pattern.removesuffix("$") + rf"{SEPARATOR}(?P<text>.*)$"
    groups = lines.rename("line").to_frame().select(pl.col("line").str.extract_groups(whole)).unnest("line")
    return _with_times(_typed(groups), timezone, prefix)


def _replaced(frame: pl.DataFrame, read: pl.DataFrame, where: pl.Series) -> pl.DataFrame:
    """Put the rows of ``read`` that have a severity into ``frame`` at the places ``where``."""
    read = read.with_columns(where.cast(pl.UInt32).alias("row")).filter(pl.col("severity").is_not_null())
    if read.is_empty():
        return frame
    missing = [
        pl.lit(None, read.schema[name]).alias(name) for name in read.columns if name not in (*frame.columns, "row")
    ]
    return frame.with_columns(missing).with_row_index("row").update(read, on="row").drop("row")


#: prefixes that were found beside the one a log began with, by that one
_changed: dict[str, list[str]] = {}
_SAMPLE = 500


def _with_changed_prefix(frame: pl.DataFrame, lines: pl.Series, prefix: Prefix, timezone: str | None) -> pl.DataFrame:
    """Lines that look like records and do not fit: log_line_prefix was changed, or was not wholly seen before."""
    where, unread = _like_records(frame, lines)
    if where.is_empty():
        return frame
    for text in _changed.get(prefix.text, []):
        frame = _replaced(frame, _read_in_full(unread, compile_prefix(text), timezone), where)
        where, unread = _like_records(frame, lines)
    if where.is_empty():
        return frame
    sample = "\n".join(unread.head(_SAMPLE))
    found = detect_prefix(sample)
    if found is None or found == prefix.text or not {"pid", "session_id"} & set(compile_prefix(found).fields):
        return frame
    if match_share(found, sample) < 1:
        return frame
    _changed.setdefault(prefix.text, []).append(found)
    return _replaced(frame, _read_in_full(unread, compile_prefix(found), timezone), where)


def _like_records(frame: pl.DataFrame, lines: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Rows and texts of lines that were not read and have a level."""
    where = frame["severity"].is_null().arg_true()
    unread = lines.gather(where)
    is_like = unread.str.contains(_RECORD)
    return where.filter(is_like), unread.filter(is_like)
