"""Google Cloud SQL and AlloyDB: entries of Cloud Logging, one object on each line (a sink to Cloud Storage or a file of
``gcloud logging read --format='json'`` made flat), or the array that gcloud prints.

``textPayload`` holds a line of the server's stderr, or several; DETAIL and STATEMENT lines are entries of their own.
Source: Cloud Logging's LogEntry; its logs ``cloudsql.googleapis.com/postgres.log`` and
``alloydb.googleapis.com/postgres.log``.

Limitations: what pgAudit logs is in the data access log, which is not read. Entries must be in order of time.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.errors import UnknownFormatError
from pgtrace.jsonlines import (
    NO_OBJECT,
    begins_record,
    first_lines,
    inner_prefix,
    objects,
    outer_times,
    sample,
    says_time,
    text_in,
    with_reasons,
)
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.recordframe import numbered_lines

_SCHEMA = dict.fromkeys(("textPayload", "timestamp", "resource"), pl.String)
_USUAL = ("%m [%p]: [%l-1] db=%d,user=%u ",)
#: an entry of an array as gcloud prints it
_FIRST, _LAST = "  {", "  }"
_BEGINS = b"\n  {\n"
_OF_ARRAY = "where the array of entries begins or ends"
_NO_TEXT = "an entry of Cloud Logging without a text"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Objects with "textPayload" and "timestamp". Raises UnknownFormatError, TimeZoneError."""
    if b'"textPayload"' not in head:
        return None
    found = sample(_flat_head(head), "textPayload", "timestamp")
    prefix = inner_prefix((str(entry["textPayload"]) for entry in found), asked, has_pid=False, usual=_USUAL)
    if prefix is None:
        return None
    _refuse_newest_first(found)
    reading = Reading("cloudsql", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def _flat_head(head: bytes) -> bytes:
    """The first bytes with one entry on each line."""
    if not head.replace(b"\r\n", b"\n").lstrip().startswith(b"[\n"):
        return head
    return b"\n".join(
        b"{" + entry.rsplit(b"\n  }", 1)[0].replace(b"\n", b" ") + b"}" for entry in head.split(_BEGINS)[1:]
    )


def _refuse_newest_first(found: list[dict[str, Any]]) -> None:
    times = [str(entry["timestamp"]) for entry in found]
    steps = list(pairwise(times))
    if sum(one > two for one, two in steps) > 2 * sum(one < two for one, two in steps):
        raise UnknownFormatError(
            "its entries are in the order newest first, so that no DETAIL or STATEMENT can be given to its record: "
            "export them with gcloud logging read --order=asc"
        )


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last entry that begins a record begins."""
    if _BEGINS in buffer or buffer.startswith(_BEGINS[1:]):
        return _last_of_array(buffer, reading)

    def look(line: bytes) -> tuple[object, bool]:
        return None, begins_record(text_in(line, "textPayload") or "", reading.prefix or "")

    return last_whole(buffer, look)


def _last_of_array(buffer: bytes, reading: Reading) -> int:
    end = len(buffer)
    while (at := buffer.rfind(_BEGINS, 0, end)) >= 0:
        if begins_record(text_in(buffer[at:end], "textPayload") or "", reading.prefix or ""):
            return at + 1
        end = at + 1  # the line end before an entry may end the one before it
    return 0


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    prefix = reading.prefix or ""
    text = clean_utf8(chunk)
    lines = numbered_lines(text, first_line).rename({"text": "line"})
    is_array = lines["line"].str.strip_chars_end("\r").eq(_FIRST).any()
    found = _entries_of_array(lines) if is_array else objects(text, _SCHEMA, first_line)
    entries = found.select(
        "line_no",
        "line",
        pl.col("textPayload").alias("text"),
        "goes_on" if is_array else pl.lit(False).alias("goes_on"),
        pl.col("resource").alias("owner"),
    )
    if not says_time(prefix):
        entries = entries.with_columns(outer_times(found["timestamp"]).alias("logged_at"))
    parsed = read_enveloped(entries, prefix, reading.timezone)
    other = (
        pl.when(pl.lit(is_array) & pl.col("line").str.strip_chars().is_in(["[", "]"]))
        .then(pl.lit(_OF_ARRAY))
        .when(~pl.col("is_object"))
        .then(pl.lit(NO_OBJECT))
        .when(pl.col("textPayload").is_null())
        .then(pl.lit(_NO_TEXT))
    )
    return with_reasons(parsed, found.select("line_no", other.alias("other")))


def _entries_of_array(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines of an array as ``objects`` gives them: an entry's first line has its values, the others go on with it."""
    line = pl.col("line").str.strip_chars_end("\r")
    number = (line == _FIRST).cast(pl.UInt32).cum_sum()
    is_last = line.str.strip_suffix(",") == _LAST
    lines = lines.with_columns(number.alias("entry"), is_last.alias("is_last"))
    ended = pl.col("is_last").cast(pl.UInt32).cum_sum().over("entry") - pl.col("is_last").cast(pl.UInt32)
    inside = lines.with_columns(((pl.col("entry") > 0) & (ended == 0)).alias("inside"))
    whole = (
        inside.filter("inside")
        .group_by("entry", maintain_order=True)
        .agg(pl.col("line").str.join(" ").str.strip_chars().str.strip_suffix(","), pl.col("line_no").first())
    )
    found = objects("\n".join(whole["line"]).encode(), _SCHEMA, 1).drop("line", "line_no")
    found = pl.concat([whole.select("entry"), found], how="horizontal")
    # of an entry that is damaged, every line is left over
    known = inside.join(found.filter("is_object"), on="entry", how="left", maintain_order="left")
    is_object = pl.col("is_object").fill_null(False) & pl.col("inside")
    goes_on = is_object & (line != _FIRST)
    return known.select(
        "line_no",
        "line",
        is_object.alias("is_object"),
        goes_on.alias("goes_on"),
        pl.when(is_object)
        .then(pl.when(goes_on & pl.col("textPayload").is_not_null()).then(pl.lit("")).otherwise("textPayload"))
        .alias("textPayload"),
        *(pl.when(is_object).then(name).alias(name) for name in ("timestamp", "resource")),
    )


FORMAT = LogFormat(name="cloudsql", rank=5, sniff=sniff, last_record=last_record, read=read)
