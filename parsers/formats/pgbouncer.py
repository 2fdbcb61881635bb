"""PgBouncer's own log (its settings logfile, log_connections, log_disconnections, log_pooler_errors, log_stats).

A record is a line: time, zone, process id, level, text. Source: ``log_generic`` in lib/usual/logging.c of libusual;
before version 1.9 the line had no zone, and the process id no brackets. Its levels are the server's but for NOISE,
which is DEBUG here. ``backend_type`` is "pgbouncer" in every record.

Limitations: what PgBouncer sends to syslog is read as syslog's lines of another program.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.logtime import utc_times, zoneless_times
from pgtrace.recordframe import as_records, numbered_lines, unparsed_lines

_LINE = (
    r"^(?P<time>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3})(?: (?P<zone>[A-Za-z]{2,10}|[+-]\d{2,4}))?"
    r" \[?(?P<pid>\d+)\]? (?P<severity>FATAL|ERROR|WARNING|LOG|DEBUG|NOISE) (?P<message>[^ ].*?)\r?$"
)
_SAMPLE_LINES = 50


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Most lines have PgBouncer's layout: no colon behind the level. Raises TimeZoneError."""
    lines = clean_utf8(head).decode().splitlines()[:_SAMPLE_LINES]
    fitting = [line for line in lines if re.match(_LINE, line)]
    if len(fitting) * 2 <= len(lines):
        return None
    reading = Reading("pgbouncer", timezone=asked.timezone)
    read("\n".join(fitting).encode(), reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line begins: a record is a line."""
    return buffer.rfind(b"\n", 0, max(len(buffer) - 1, 0)) + 1


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole lines; those of another layout are unparsed. Raises TimeZoneError."""
    lines = numbered_lines(clean_utf8(chunk), first_line)
    fields = lines.with_columns(pl.col("text").str.extract_groups(_LINE.replace(r"\d", "[0-9]")).alias("read")).unnest(
        "read"
    )
    is_read = pl.col("time").is_not_null()
    left = fields.filter(~is_read).select("line_no", "text", pl.lit("no line of PgBouncer's").alias("reason"))
    fields = fields.filter(is_read)
    records = as_records(
        fields.with_columns(
            _times(fields, reading.timezone).alias("logged_at"),
            pl.col("severity").replace("NOISE", "DEBUG"),
            pl.col("pid").cast(pl.Int64),
            pl.lit("pgbouncer").alias("backend_type"),
            pl.lit(1, pl.Int64).alias("line_count"),
        ).drop("text", "time", "zone")
    )
    return Parsed(records, unparsed_lines(left, records))


def _times(fields: pl.DataFrame, timezone: str | None) -> pl.Series:
    has_zone = fields["zone"].is_not_null()
    times = utc_times(fields["time"], fields["zone"], timezone)
    if has_zone.all():
        return times
    return times.zip_with(has_zone, zoneless_times(fields["time"].set(has_zone, None), timezone))


FORMAT = LogFormat(name="pgbouncer", rank=28, sniff=sniff, last_record=last_record, read=read)
