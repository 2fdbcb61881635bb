"""What the formats with named fields (csvlog, jsonlog) have in common: fields as text made into the record frame.

A field frame has the text columns of the record table under their names, and ``time`` and ``session_time`` as
printed (``2026-11-24 06:26:58.804 UTC``).
"""

from __future__ import annotations

import polars as pl

from pgtrace.logformat import Parsed
from pgtrace.logtime import utc_times
from pgtrace.prefix import SEVERITIES
from pgtrace.schema import RECORD, UNPARSED, polars_schema
from pgtrace.translations import english_levels

#: columns of the record table that ingest adds
_ADDED = ("source_id", "kind")
RECORD_SCHEMA = pl.Schema({name: dtype for name, dtype in polars_schema(RECORD.columns).items() if name not in _ADDED})
UNPARSED_SCHEMA = pl.Schema(
    {name: dtype for name, dtype in polars_schema(UNPARSED.columns).items() if name not in _ADDED}
)
_MESSAGE_WIDTH = len("2026-11-24 06:26:58.804")
_SESSION_WIDTH = len("2026-11-24 06:26:58")


def count_lines(text: bytes) -> int:
    """Lines of ``text``: its newlines, and one more for a rest that ends without."""
    return text.count(b"\n") + (not text.endswith(b"\n") and text != b"")


def numbered_lines(text: bytes, first_line: int) -> pl.DataFrame:
    """``line_no, text`` for every line; ``text`` must be valid UTF-8."""
    whole = pl.Series("text", [text.removesuffix(b"\n").decode()] if text else [], dtype=pl.String)
    lines = whole.str.split("\n").explode()
    return lines.to_frame().with_row_index("line_no", offset=first_line).cast({"line_no": pl.Int64})


def with_times(fields: pl.DataFrame, timezone: str | None) -> pl.DataFrame:
    """``time`` and ``session_time`` replaced by ``logged_at`` and ``session_started_at``. Raises TimeZoneError."""
    logged_at = _times(fields["time"], _MESSAGE_WIDTH, timezone)
    started_at = _times(fields["session_time"], _SESSION_WIDTH, timezone)
    return fields.drop("time", "session_time").with_columns(logged_at=logged_at, session_started_at=started_at)


def _times(printed: pl.Series, width: int, timezone: str | None) -> pl.Series:
    cut = (
        printed.rename("printed")
        .to_frame()
        .select(text=pl.col("printed").str.slice(0, width), zone=pl.col("printed").str.slice(width + 1))
    )
    return utc_times(cut["text"], cut["zone"], timezone)


def with_english_levels(fields: pl.DataFrame) -> pl.DataFrame:
    """``severity`` in English, whatever lc_messages was."""
    severity = fields["severity"]
    if severity.is_in(SEVERITIES).all():
        return fields
    return fields.with_columns(english_levels(severity).alias("severity"))


def is_readable(fields: pl.DataFrame) -> pl.Series:
    """Whether a row is a record: it has a time, a process and a level that PostgreSQL knows."""
    has_level = pl.col("severity").is_in(SEVERITIES) & pl.col("logged_at").is_not_null() & pl.col("pid").is_not_null()
    return fields.select(has_level.fill_null(value=False)).to_series()


def as_records(fields: pl.DataFrame) -> pl.DataFrame:
    """The record frame: all its columns in order and type; empty text is null, for there was nothing to say."""
    columns = []
    for name, dtype in RECORD_SCHEMA.items():
        column = pl.col(name) if name in fields.columns else pl.lit(None, dtype)
        if dtype == pl.String:
            column = pl.when(column != "").then(column)
        columns.append(column.cast(dtype).alias(name))
    return fields.select(columns)


def client_columns(connection: pl.Series) -> pl.DataFrame:
    """``client_host`` and ``client_port`` of ``host:port`` or ``[local]``; the host may be an IPv6 address."""
    distinct = connection.rename("connection").unique()
    # the last colon divides; a host never ends in one, and [local] has none
    parts = distinct.str.extract_groups(r"(?s)^(?P<client_host>.*?)(?::(?P<client_port>\d+))?$").struct.unnest()
    known = parts.select("client_host", pl.col("client_port").cast(pl.Int64, strict=False)).with_columns(distinct)
    joined = connection.rename("connection").to_frame().join(known, on="connection", how="left", maintain_order="left")
    return joined.select("client_host", "client_port")


def unparsed_lines(lines: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """The unparsed frame for ``line_no, text, reason``; ``near`` is the time of the last record before each line."""
    if lines.height == 0:
        return pl.DataFrame(schema=UNPARSED_SCHEMA)
    times = records.select("line_no", near="logged_at").sort("line_no")
    placed = lines.with_columns(pl.col("line_no").cast(pl.Int64)).sort("line_no")
    return placed.join_asof(times, on="line_no", strategy="backward").select(
        pl.col(name).cast(dtype) for name, dtype in UNPARSED_SCHEMA.items()
    )


def nothing_unparsed(records: pl.DataFrame) -> Parsed:
    """The usual case: every line belongs to a record."""
    return Parsed(records, pl.DataFrame(schema=UNPARSED_SCHEMA))
