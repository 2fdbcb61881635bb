"""A container's log as Docker's json-file driver keeps it (``/var/lib/docker/containers/<id>/<id>-json.log``).

Each line is an object: ``log`` is one line of the server's stderr, or a piece of it where it is longer than 16 kB
(only the last piece ends in a newline), ``stream`` and ``time``. Source: Docker's daemon/logger/jsonfilelog and
daemon/logger/copier.go.

Limitations: with a terminal (docker run -t) the lines of a message end in carriage returns, which stay.
"""

from __future__ import annotations

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.jsonlines import (
    begins_record,
    first_lines,
    inner_prefix,
    objects,
    outer_times,
    sample,
    says_time,
    text_in,
    with_pieces_joined,
    without_objects,
)
from pgtrace.logformat import LogFormat, Parsed, Reading

_SCHEMA = {"log": pl.String, "stream": pl.String, "time": pl.String}


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Objects with "log", "stream" and "time". Raises UnknownFormatError, TimeZoneError."""
    found = sample(head, *_SCHEMA)
    prefix = inner_prefix((str(entry["log"]).removesuffix("\n") for entry in found), asked, has_pid=False)
    if prefix is None:
        return None
    reading = Reading("docker", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last entry that begins a record begins."""

    def look(line: bytes) -> tuple[object, bool]:
        return None, begins_record(text_in(line, "log") or "", reading.prefix or "")

    return last_whole(buffer, look)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    prefix = reading.prefix or ""
    found = objects(clean_utf8(chunk), _SCHEMA, first_line)
    is_whole = pl.col("log").str.ends_with("\n")
    entries = found.select(
        "line_no",
        "line",
        pl.col("log").str.strip_suffix("\n").alias("text"),
        (~is_whole.shift(1).over("stream")).fill_null(False).alias("goes_on"),
        pl.col("stream").alias("owner"),
    )
    if not says_time(prefix):
        entries = entries.with_columns(outer_times(found["time"]).alias("logged_at"))
    return without_objects(read_enveloped(with_pieces_joined(entries), prefix, reading.timezone), found)


FORMAT = LogFormat(name="docker", rank=1, sniff=sniff, last_record=last_record, read=read)
