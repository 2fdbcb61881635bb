"""Amazon RDS and Aurora in CloudWatch Logs, and other logs that put a time before each line of the server's.

A line is ``2026-11-24T06:26:58.804Z`` and what stderr has (an export to S3, ``aws logs tail``, also ``docker logs -t``
and ``kubectl logs --timestamps``), or an event ``{"timestamp":…,"message":…}``, which may hold several lines.

Limitations: what ``aws logs filter-log-events`` prints is not read as it is, for its events are not a line each.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.errors import UnknownFormatError
from pgtrace.jsonlines import (
    begins_record,
    first_lines,
    inner_prefix,
    objects,
    outer_times,
    sample,
    says_time,
    text_in,
)
from pgtrace.logformat import LogFormat, Parsed, Reading

#: aws logs tail names the stream as well, by default: the instance and a number
_LINE = (
    r"^(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)(?: (?P<stream>[A-Za-z][\w-]*\.\d+))?"
    r" (?P<text>.*)$"
)
_LINES = re.compile(_LINE, re.MULTILINE)
_EVENT = dict.fromkeys(("timestamp", "message", "logStreamName"), pl.String)
_LISTS = re.compile(rb'\s*\{\s*"events": ?\[')
_USUAL = ("%t:%r:%u@%d:[%p]:",)
#: what a syslog puts before the server's lines: the host, and the program with its process
_OF_SYSLOG = re.compile(r"\S+ (?!(?:LOG|ERROR|FATAL|PANIC|WARNING):)[\w./-]+(?:\[\d+\])?: ")


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Lines or events of that layout, and the server's lines in them. Raises UnknownFormatError, TimeZoneError."""
    _refuse_lists(head)
    texts = [str(event["message"]) for event in sample(head, "timestamp", "message")]
    texts += [found["text"] for found in _LINES.finditer(clean_utf8(head).decode())]
    own = [text for text in texts if not text.startswith("\t")]
    if sum(_OF_SYSLOG.match(text) is not None for text in own) * 2 > len(own):
        return None
    prefix = inner_prefix(texts, asked, has_pid=False, usual=_USUAL)
    if prefix is None:
        return None
    reading = Reading("cloudwatch", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def _refuse_lists(head: bytes) -> None:
    if _LISTS.match(head) and b'"logStreamName"' in head and b":LOG:  " in head:
        raise UnknownFormatError("its events are not a line each: make them so with jq -c '.events[]'")


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line begins that begins a record."""

    def look(line: bytes) -> tuple[object, bool]:
        if line.startswith(b"{"):
            return None, begins_record(text_in(line, "message") or "", reading.prefix or "")
        text = line.decode(errors="replace")
        found = _LINES.match(text)
        return None, begins_record(text if found is None else found["text"], reading.prefix or "")

    return last_whole(buffer, look)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    prefix = reading.prefix or ""
    found = objects(clean_utf8(chunk), _EVENT, first_line)
    # a crash leaves NULs in front of the next line
    line = pl.col("line").str.strip_chars_start("\N{REPLACEMENT CHARACTER}")
    is_event = pl.col("is_object")
    found = found.with_columns(pl.when(~is_event).then(line.str.extract_groups(_LINE)).alias("read")).unnest("read")
    entries = found.select(
        "line_no",
        "line",
        # of an event of several lines, the others have no time before them
        pl.coalesce("message", "text", pl.when(~is_event).then("line")).alias("text"),
        pl.lit(False).alias("goes_on"),
        pl.coalesce("logStreamName", "stream").forward_fill().alias("owner"),
    )
    if not says_time(prefix):
        milliseconds = found["timestamp"].cast(pl.Int64, strict=False).cast(pl.Datetime("ms", "UTC"))
        times = milliseconds.cast(pl.Datetime("us", "UTC")).fill_null(outer_times(found["time"]))
        entries = entries.with_columns(times.alias("logged_at"))
    return read_enveloped(entries, prefix, reading.timezone)


FORMAT = LogFormat(name="cloudwatch", rank=24, sniff=sniff, last_record=last_record, read=read)
