"""The jsonlog (log_destination = jsonlog, version 15 and later): one JSON object on each line.

Source: ``write_jsonlog`` in src/backend/utils/error/jsonlog.c. A key without a value is left out; state_code too where
it is 00000, which the csvlog does print.

Limitations: keys that no version up to 18 writes are not kept. Nothing in a jsonlog says BACKTRACE.
"""

from __future__ import annotations

import json
import re
from itertools import islice

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.recordframe import (
    as_records,
    count_lines,
    is_readable,
    nothing_unparsed,
    numbered_lines,
    unparsed_lines,
    with_english_levels,
    with_times,
)
from pgtrace.translations import detect_language

#: keys of the jsonlog, and the columns they fill
_KEYS = {
    "timestamp": ("time", pl.String),
    "user": ("user_name", pl.String),
    "dbname": ("database_name", pl.String),
    "pid": ("pid", pl.Int64),
    "remote_host": ("client_host", pl.String),
    "remote_port": ("client_port", pl.Int64),
    "session_id": ("session_id", pl.String),
    "line_num": ("session_line_no", pl.Int64),
    "ps": ("command_tag", pl.String),
    "session_start": ("session_time", pl.String),
    "vxid": ("vxid", pl.String),
    "txid": ("xid", pl.Int64),
    "error_severity": ("severity", pl.String),
    "state_code": ("sqlstate", pl.String),
    "message": ("message", pl.String),
    "detail": ("detail", pl.String),
    "hint": ("hint", pl.String),
    "internal_query": ("internal_query", pl.String),
    "internal_position": ("internal_position", pl.Int64),
    "context": ("context", pl.String),
    "statement": ("statement", pl.String),
    "cursor_position": ("cursor_position", pl.Int64),
    "func_name": ("func_name", pl.String),
    "file_name": ("file_name", pl.String),
    "file_line_num": ("file_line_num", pl.Int64),
    "application_name": ("application_name", pl.String),
    "backend_type": ("backend_type", pl.String),
    "leader_pid": ("leader_pid", pl.Int64),
    "query_id": ("query_id", pl.Int64),
}
_SCHEMA = {key: dtype for key, (_, dtype) in _KEYS.items()}
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+")
_LONG_HEAD = re.compile(rb'(?m)^\0*\{"timestamp":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^\n]*?"error_severity":"')
#: one flat JSON object of texts and numbers; linear time, so that broken lines cost no more than whole ones
_OBJECT = r'^\{(?:"[^"\\]*":(?:-?\d+|"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")(?:,|\}$))+$'
_SAMPLE = 200
_LOOKED_AT = 10_000


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """A jsonlog has lines that are objects with "timestamp" and "error_severity" or "message". Raises TimeZoneError."""
    lines = head.replace(b"\0", b"").split(b"\n")
    whole = lines[:-1] if len(lines) > 1 else lines
    candidates = (line for line in whole[:_LOOKED_AT] if line.startswith(b"{"))
    found = list(islice((line for line in candidates if _is_record(line)), _SAMPLE))
    language = detect_language(head.decode(errors="replace"))
    if not found:
        if _LONG_HEAD.search(head) is None:
            return None
        return Reading("jsonlog", timezone=asked.timezone, language=language)
    line_end = b"\r\n" if sum(line.endswith(b"\r") for line in found) * 2 > len(found) else b"\n"
    reading = Reading("jsonlog", timezone=asked.timezone, line_end=line_end, language=language)
    read(b"\n".join(found), reading, 1)  # a zone that needs an option shows here
    return reading


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line.decode(errors="replace"))
    except ValueError:
        return False
    keys = record.keys() if isinstance(record, dict) else ()
    is_log = "timestamp" in keys and ("error_severity" in keys or "message" in keys)
    return is_log and _TIME.fullmatch(str(record["timestamp"])) is not None


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line begins: a record is a line."""
    return buffer.rfind(b"\n", 0, max(len(buffer) - 1, 0)) + 1


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole lines; those that are no record are unparsed. Raises TimeZoneError."""
    text = clean_utf8(chunk)
    if reading.line_end == b"\r\n":
        text = text.replace(b"\r\n", b"\n")
    objects = _objects(text)
    if objects is not None and objects.height == count_lines(text):
        line_no = pl.int_range(first_line, first_line + objects.height, dtype=pl.Int64, eager=True)
        fields = _fields(objects.with_columns(line_no.alias("line_no")), reading.timezone)
        if is_readable(fields).all():
            return nothing_unparsed(as_records(fields))
    return _read_damaged(text, reading, first_line)


def _objects(text: bytes) -> pl.DataFrame | None:
    """The lines as objects, None where there is one that is none."""
    try:
        return pl.read_ndjson(text, schema=_SCHEMA)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _fields(objects: pl.DataFrame, timezone: str | None) -> pl.DataFrame:
    """Objects with the names of the record table; ``line_no`` is kept."""
    place = pl.concat_str("file_name", pl.lit(":"), "file_line_num")
    location = pl.concat_str(pl.col("func_name"), pl.lit(", "), place)
    fields = objects.rename({key: name for key, (name, _) in _KEYS.items()}).with_columns(
        pl.coalesce(location, place).alias("location"),
        pl.when(pl.col("severity").is_not_null()).then(pl.col("sqlstate").fill_null("00000")).alias("sqlstate"),
        pl.lit(1, pl.Int64).alias("line_count"),
    )
    return with_english_levels(with_times(fields, timezone))


def _read_damaged(text: bytes, reading: Reading, first_line: int) -> Parsed:
    """Good lines, and the rest as it is."""
    lines = numbered_lines(text, first_line)
    # a crash leaves NULs in front of the next record
    stripped = pl.col("text").str.strip_chars_start("\N{REPLACEMENT CHARACTER}").str.strip_chars_end("\r")
    flat = lines.select("line_no", stripped).filter(pl.col("text").str.contains(_OBJECT))
    objects = _bisected(flat)
    fields = _fields(objects, reading.timezone)
    records = as_records(fields.filter(is_readable(fields)))
    left = lines.join(records.select("line_no"), on="line_no", how="anti")
    begins = pl.col("text").str.starts_with("{")
    reason = (
        pl.when(begins).then(pl.lit("jsonlog record that is cut off or damaged")).otherwise(pl.lit("no JSON object"))
    )
    return Parsed(records, unparsed_lines(left.with_columns(reason.alias("reason")), records))


def _bisected(lines: pl.DataFrame) -> pl.DataFrame:
    """``lines`` (line_no, text) as objects, without those that cannot be read; each is found by halving."""
    pending, read_ = [lines], []
    while pending:
        part = pending.pop()
        objects = _objects("\n".join(part["text"]).encode()) if part.height else None
        if objects is not None and objects.height == part.height:
            read_.append(objects.with_columns(part["line_no"]))
        elif part.height > 1:
            half = part.height // 2
            pending += [part.tail(part.height - half), part.head(half)]
    nothing = pl.DataFrame(schema={**_SCHEMA, "line_no": pl.Int64})
    return pl.concat([nothing, *read_])


FORMAT = LogFormat(name="jsonlog", rank=10, sniff=sniff, last_record=last_record, read=read)
