"""Heroku Postgres: what ``heroku logs --ps postgres --num 1500`` shows, or a drain that keeps the lines as they are.

The server writes to syslog, so its messages are cut as there: ``[5-1]`` is the number of the message in its process and
of the piece in the message, cut at line ends and after 900 bytes. Source: Heroku's articles on Logplex and on Heroku
Postgres log statements, ``write_syslog`` in src/backend/utils/error/elog.c.

The number behind ``postgres.`` is taken for the process where the server does not say it itself.

Limitations: what reads ``#011`` may have been written so, as it stands for a TAB. A piece that was cut at a TAB is
taken for a new line.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.jsonlines import first_lines, inner_prefix, outer_times, says_time, with_reasons
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.recordframe import numbered_lines

#: the process, which of an application's databases it is, and the message: all its lines have these in common
_LINE = (
    r"^(?P<time>\d{4}-\d\d-\d\dT\S+) (?P<who>app\[postgres(?:\.(?P<pid>\d+))?\]: (?:\[\w+\] )?\[\d+)"
    r"-(?P<piece>\d+)\](?: (?P<text>.*))?$"
)
_LINES = re.compile(_LINE, re.MULTILINE)
#: bytes at the end of a buffer in which lines of processes that write at once may still be missing
_SETTLED = 64 * 1024
_SAID = (
    'time_ms = "%m" pid="%p" proc_start_time="%s" session_id="%c" vtid="%v" tid="%x" log_line="%l" '
    '%qdatabase="%d" connection_source="%r" user="%u" application_name="%a" '
)
#: what Heroku sets, since 2022 and before
_USUAL = (f" sql_error_code = %e {_SAID}", " sql_error_code = %e ")
_OTHER = "no line of Heroku Postgres"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Lines of that layout. Raises UnknownFormatError, TimeZoneError."""
    if b" app[postgres" not in head:
        return None
    found = list(_LINES.finditer(clean_utf8(head).decode()))
    has_pid = any(line["pid"] for line in found)
    prefix = inner_prefix((line["text"] or "" for line in found), asked, has_pid=has_pid, usual=_USUAL)
    if prefix is None:
        return None
    reading = Reading("heroku", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where a line begins a record, and so do the first ones of all processes behind it."""

    def look(line: bytes) -> tuple[object, bool] | None:
        found = _LINES.match(line.decode(errors="replace"))
        return None if found is None else (found["who"], found["piece"] == "1")

    return last_whole(buffer, look, _SETTLED)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    prefix = reading.prefix or ""
    lines = numbered_lines(clean_utf8(chunk), first_line).rename({"text": "line"})
    # a crash leaves NULs in front of the next line
    line = pl.col("line").str.strip_chars_start("\N{REPLACEMENT CHARACTER}")
    found = lines.with_columns(line.str.extract_groups(_LINE).alias("read")).unnest("read")
    goes_on = pl.col("piece").cast(pl.Int64, strict=False) > 1
    text = pl.col("text").str.replace_all("#011", "\t", literal=True)
    # a blank line is all that can be empty, for a TAB at the end is not kept
    text = pl.when(goes_on & (text.fill_null("") == "")).then(pl.lit("\t")).otherwise(text)
    entries = found.select(
        "line_no",
        "line",
        text.alias("text"),
        goes_on.fill_null(False).alias("goes_on"),
        pl.col("who").alias("owner"),
        pl.col("pid").cast(pl.Int64, strict=False),
    )
    if not says_time(prefix):
        entries = entries.with_columns(outer_times(found["time"]).alias("logged_at"))
    other = found.filter(pl.col("who").is_null()).select("line_no", pl.lit(_OTHER).alias("other"))
    return with_reasons(read_enveloped(entries, prefix, reading.timezone), other)


FORMAT = LogFormat(name="heroku", rank=7, sniff=sniff, last_record=last_record, read=read)
