"""One chunk of a log into the rows of every table: a pure function of the chunk, so it can run anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import polars as pl

from pgtrace import registry
from pgtrace.ingest.chunks import Chunk
from pgtrace.ingest.unknown import UNKNOWN
from pgtrace.logformat import LogFormat, Reading
from pgtrace.message import MessageType
from pgtrace.schema import QUERY, RECORD, UNPARSED, polars_schema
from pgtrace.sqltext import Fingerprinter

#: severities after which a statement has no duration line
_FAILED = ("ERROR", "FATAL", "PANIC")


@dataclass(slots=True)
class Rows:
    """What one chunk gave: rows by table, and what is needed to put chunks together."""

    chunk_offset: int
    chunk_bytes: int
    lines: int
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    failed: pl.DataFrame = field(default_factory=pl.DataFrame)
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def records(self) -> int:
        """Records in the chunk."""
        return self.tables["record"].height

    @property
    def unparsed(self) -> int:
        """Lines of the chunk that belong to no record."""
        return self.tables["unparsed"].height


def format_named(name: str) -> LogFormat:
    """The log format of that name, also the one for input that is no log."""
    return UNKNOWN if name == UNKNOWN.name else registry.log_formats()[name]


@cache
def _fingerprinter() -> Fingerprinter:
    return Fingerprinter()


def read_chunk(chunk: Chunk, reading: Reading, source_id: str) -> Rows:
    """Read ``chunk`` into rows of every table that has any; ``record`` and ``unparsed`` are always there.

    Rows of a type that joins several lines (see ``MessageType.join_with``) are not joined yet.
    """
    parsed = format_named(reading.log_format).read(chunk.data, reading, chunk.first_line)
    records = _complete(parsed.records.with_columns(pl.lit(source_id).alias("source_id")))
    rows = Rows(chunk.offset, len(chunk.data), chunk.lines)
    rows.first_at, rows.last_at = records["logged_at"].min(), records["logged_at"].max()  # type: ignore[assignment]
    kinds, typed = _typed(records)
    rows.tables = typed
    _add_fingerprints(rows.tables)
    rows.tables["record"] = records.with_columns(kinds)
    unparsed = polars_schema(UNPARSED.columns)
    rows.tables["unparsed"] = parsed.unparsed.with_columns(pl.lit(source_id).alias("source_id")).select(
        pl.col(name).cast(dtype) for name, dtype in unparsed.items()
    )
    rows.failed = records.filter(pl.col("severity").is_in(_FAILED)).select("pid", "line_no")
    return rows


def _complete(records: pl.DataFrame) -> pl.DataFrame:
    """All columns of the record table, in order; null where the format does not carry one."""
    schema = polars_schema(RECORD.columns)
    return records.select(
        pl.col(name).cast(dtype) if name in records.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
    )


def _typed(records: pl.DataFrame) -> tuple[pl.Series, dict[str, pl.DataFrame]]:
    """The kind of every record, and the rows of each message type."""
    types = registry.message_types()
    by_text = [message for message in types.values() if message.starts_with]
    by_severity = [message for message in types.values() if not message.starts_with]
    route = pl.coalesce(*(pl.when(message.routes()).then(pl.lit(message.table)) for message in by_text))
    kinds = records.select(route.alias("kind"))["kind"]
    rows: dict[str, pl.DataFrame] = {}
    present = set(kinds.unique().drop_nulls())
    for message in by_text:
        if message.table in present:
            rows[message.table] = message.read(records.filter(kinds == message.table))
    kinds = _without_misread(kinds, records, rows, types)
    for message in by_severity:
        takes = records.select(message.routes().alias("takes"))["takes"]
        if takes.any():
            rows[message.table] = message.read(records.filter(takes))
            kinds = kinds.zip_with(
                ~(takes & kinds.is_null()), pl.Series([message.table]).new_from_index(0, kinds.len())
            )
    return kinds.alias("kind"), rows


def _without_misread(
    kinds: pl.Series, records: pl.DataFrame, rows: dict[str, pl.DataFrame], types: dict[str, MessageType]
) -> pl.Series:
    """A record that was routed by its first words but not read keeps no kind, so that it shows as not understood."""
    lost = [
        table for table, frame in rows.items() if types[table].starts_with and frame.height < (kinds == table).sum()
    ]
    if not lost:
        return kinds
    read = pl.concat([rows[table]["line_no"] for table in lost])
    is_lost = kinds.is_in(lost).fill_null(False) & ~records["line_no"].is_in(read.implode())
    return kinds.set(is_lost, None)


def _add_fingerprints(tables: dict[str, pl.DataFrame]) -> None:
    """Fill ``fingerprint`` from ``statement`` wherever a table has both, and add the rows of table ``query``."""
    names = [name for name, frame in tables.items() if {"statement", "fingerprint"} <= set(frame.columns)]
    if not names:
        return
    texts = pl.concat([tables[name]["statement"] for name in names])
    fingerprints, shapes = _fingerprinter().fingerprint(texts)
    at = 0
    seen = []
    for name in names:
        frame = tables[name]
        own = fingerprints.slice(at, frame.height).alias("fingerprint")
        tables[name] = frame.with_columns(own)
        at += frame.height
        seen.append(tables[name].select("source_id", "line_no", "logged_at", "fingerprint"))
    first = (
        pl.concat(seen)
        .filter(pl.col("fingerprint").is_not_null())
        .group_by("fingerprint")
        .agg(pl.col("source_id", "line_no", "logged_at").sort_by("line_no").first())
    )
    schema = polars_schema(QUERY.columns)
    tables["query"] = (
        shapes.join(first, on="fingerprint")
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        .sort("line_no", "fingerprint")
    )
