"""A container's log as Kubernetes nodes keep it (``/var/log/pods/…/0.log``; containerd, CRI-O).

Each line has a time, the stream, ``F`` or ``P``, and one line of the server's stderr; ``P`` is a piece of a line that
goes on in the next entry of its stream (16 kB in containerd). Source: Kubernetes' kubelet-cri-logging design and
containerd's ``pkg/cri/io/logger.go``.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.jsonlines import (
    begins_record,
    first_lines,
    inner_prefix,
    outer_times,
    says_time,
    with_pieces_joined,
    with_reasons,
)
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.recordframe import numbered_lines

#: behind the F or P there may be further tags
_LINES = re.compile(r"^\d{4}-\d\d-\d\dT\S+ (?:stdout|stderr) [FP](?::\S*)?(?: (?P<text>.*))?$", re.MULTILINE)


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Lines of that layout, and the server's lines in them. Raises UnknownFormatError, TimeZoneError."""
    texts = [found["text"] or "" for found in _LINES.finditer(clean_utf8(head).decode())]
    prefix = inner_prefix(texts, asked, has_pid=False)
    if prefix is None:
        return None
    reading = Reading("cri", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last entry that begins a record begins."""

    def look(line: bytes) -> tuple[object, bool]:
        found = _LINES.match(line.decode(errors="replace"))
        return None, found is not None and begins_record(found["text"] or "", reading.prefix or "")

    return last_whole(buffer, look)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    prefix = reading.prefix or ""
    lines = numbered_lines(clean_utf8(chunk), first_line).rename({"text": "line"})
    # a crash leaves NULs in front of the next line
    line = pl.col("line").str.strip_chars_start("\N{REPLACEMENT CHARACTER}")
    found = pl.concat([lines, _heads(lines.select(line)["line"])], how="horizontal")
    entries = found.select(
        "line_no",
        "line",
        "text",
        (pl.col("tag").shift(1).over("stream") == "P").fill_null(False).alias("goes_on"),
        pl.col("stream").alias("owner"),
    )
    if not says_time(prefix):
        entries = entries.with_columns(outer_times(found["time"]).alias("logged_at"))
    other = found.filter(pl.col("text").is_null()).select(
        "line_no", pl.lit("no entry of a container's log").alias("other")
    )
    return with_reasons(read_enveloped(with_pieces_joined(entries), prefix, reading.timezone), other)


def _heads(lines: pl.Series) -> pl.DataFrame:
    """``time, stream, tag, text`` of each line, null where it is none; cutting is much faster than a pattern."""
    parts = lines.str.splitn(" ", 4).struct.rename_fields(["time", "stream", "tag", "text"]).struct.unnest()
    is_entry = (
        pl.col("stream").is_in(["stdout", "stderr"])
        & pl.col("tag").str.contains(r"^[FP](?::|$)")
        & pl.col("time").str.contains(r"^\d{4}-\d\d-\d\dT")
    )
    own = parts.select("time", "stream", pl.col("tag").str.slice(0, 1), pl.col("text").fill_null(""))
    return own.select(pl.when(parts.select(is_entry.fill_null(False)).to_series()).then(pl.all()))


FORMAT = LogFormat(name="cri", rank=2, sniff=sniff, last_record=last_record, read=read)
