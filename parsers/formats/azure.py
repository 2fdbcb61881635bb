"""Azure Database for PostgreSQL: diagnostic logs (category PostgreSQLLogs) in a storage account or from Event Hubs.

A line is an event, or an object whose ``records`` is one. Flexible servers put what stderr has (prefix ``%t-%c-``)
into ``properties.message``, single servers have ``properties.prefix`` and ``properties.errorLevel`` beside it. What the
event says besides (time with milliseconds, process, SQLSTATE, DETAIL) comes before what the text says.

Limitations: a line of several records is not read, as a record is known by its line.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pgtrace.assembly import with_pid
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
    text_in,
    with_reasons,
)
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.logtime import utc_times
from pgtrace.prefix import SEPARATOR

_CATEGORY = "PostgreSQLLogs"
_KEYS = (
    "timestamp", "processId", "errorLevel", "sqlerrcode", "backend_type", "prefix", "message", "detail", "hint"
)  # fmt: skip
#: what an event says besides, and the columns that it fills
_SAID = {"backend_type": "backend_type", "sqlerrcode": "sqlstate", "detail": "detail", "hint": "hint"}
_EVENT: dict[str, Any] = {
    "time": pl.String,
    "category": pl.String,
    "properties": pl.Struct(dict.fromkeys(_KEYS, pl.String)),
}
_SCHEMA = {**_EVENT, "records": pl.List(pl.Struct(_EVENT))}
_TIME_WIDTH = len("2026-11-24 06:26:58.804")
#: what the service sets
_USUAL = ("%t-%c-", "%m-%c-")
_SEVERAL = "several records in one line: make them a line each with jq -c '.records[]'"
_NO_EVENT = "no event of the category PostgreSQLLogs"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Events of the category. Raises UnknownFormatError, TimeZoneError."""
    if _CATEGORY.encode() not in head:
        return None
    lists = [entry["records"] for entry in sample(head, "records") if isinstance(entry["records"], list)]
    events = [*sample(head, "properties"), *(event for events in lists for event in events if isinstance(event, dict))]
    found = [event["properties"] for event in events if event.get("category") == _CATEGORY]
    found = [properties for properties in found if isinstance(properties, dict)]
    has_pid = any("processId" in properties for properties in found)
    prefix = inner_prefix((_text(properties) for properties in found), asked, has_pid=has_pid, usual=_USUAL)
    if prefix is None:
        return None
    if any(len(events) > 1 for events in lists):
        raise UnknownFormatError(f"it has {_SEVERAL}")
    reading = Reading("azure", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def _text(properties: dict[str, Any]) -> str:
    """What stderr would have."""
    message = str(properties.get("message") or "")
    is_single = "prefix" in properties
    return f"{properties['prefix']}{properties.get('errorLevel')}{SEPARATOR}{message}" if is_single else message


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line begins whose first event begins a record."""

    def look(line: bytes) -> tuple[object, bool]:
        is_single = text_in(line, "prefix") is not None
        return None, is_single or begins_record(text_in(line, "message") or "", reading.prefix or "")

    return last_whole(buffer, look)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    found = objects(clean_utf8(chunk), _SCHEMA, first_line)
    rows = _events(found).unnest("properties")
    pid = pl.col("processId").cast(pl.Int64, strict=False)
    entries = rows.select(
        "line_no",
        "line",
        pl.when((pl.col("category") == _CATEGORY) & ~pl.col("is_several")).then(_texts()).alias("text"),
        pl.lit(False).alias("goes_on"),
        pl.lit(0).alias("owner"),
        pid.alias("pid"),
        outer_times(rows["time"]).alias("logged_at"),
    )
    parsed = read_enveloped(entries, reading.prefix or "", reading.timezone)
    said = rows.select(
        "line_no",
        pid.alias("pid"),
        _times(rows, reading.timezone).alias("logged_at"),
        *(pl.when(pl.col(key) != "").then(key).alias(name) for key, name in _SAID.items()),
    )
    other = (
        pl.when(~pl.col("is_object"))
        .then(pl.lit(NO_OBJECT))
        .when(pl.col("is_several"))
        .then(pl.lit(_SEVERAL))
        .when(entries["text"].is_null())
        .then(pl.lit(_NO_EVENT))
    )
    parsed = Parsed(_with(parsed.records, said), parsed.unparsed)
    return with_reasons(parsed, rows.select("line_no", other.alias("other")))


def _events(found: pl.DataFrame) -> pl.DataFrame:
    """Lines as events, taken out of ``records`` where it is one; ``is_several`` where there are more."""
    inside = pl.col("records").list
    event = pl.when(inside.len() == 1).then(inside.first()).otherwise(pl.struct(*_EVENT)).alias("event")
    several = (inside.len() > 1).fill_null(False).alias("is_several")
    return found.select("line_no", "line", "is_object", several, event).unnest("event")


def _texts() -> pl.Expr:
    """What stderr would have; a single server's message is without the TABs."""
    message = pl.col("message").str.replace_all("\n", "\n\t", literal=True)
    single = pl.concat_str("prefix", pl.col("errorLevel").fill_null(""), pl.lit(SEPARATOR), message)
    return pl.when(pl.col("prefix").is_not_null()).then(single).otherwise("message")


def _times(rows: pl.DataFrame, timezone: str | None) -> pl.Series:
    """The server's own time, with its milliseconds."""
    cut = rows.select(
        text=pl.col("timestamp").str.slice(0, _TIME_WIDTH), zone=pl.col("timestamp").str.slice(_TIME_WIDTH + 1)
    )
    return utc_times(cut["text"], cut["zone"], timezone)


def _with(records: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """Records with what their events say besides."""
    names = [name for name in said.columns if name != "line_no"]
    said = said.rename({name: f"{name}_said" for name in names})
    records = records.join(said, on="line_no", how="left", maintain_order="left")
    both = [
        pl.coalesce(f"{name}_said", name).alias(name) if name in records.columns else pl.col(f"{name}_said").alias(name)
        for name in names
    ]
    records = records.with_columns(both).drop(f"{name}_said" for name in names)
    # a single server says the process in %c only
    return with_pid(records.drop("pid")) if records["pid"].is_null().all() else records


FORMAT = LogFormat(name="azure", rank=6, sniff=sniff, last_record=last_record, read=read)
