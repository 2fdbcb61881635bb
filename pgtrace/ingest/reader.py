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
from pgtrace.schema import QUERY, RECORD, UNPARSED, fitted
from pgtrace.sqltext import Fingerprinter

#: severities after which a statement has no duration line
_FAILED = ("ERROR", "FATAL", "PANIC")


@dataclass(slots=True)
class Rows:
    """What one chunk gave: rows by table, and what is needed to put chunks together."""

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
    origin = pl.lit(source_id).alias("source_id")
    records = fitted(parsed.records.with_columns(origin), RECORD.columns)
    rows = Rows(len(chunk.data), chunk.lines)
    rows.first_at, rows.last_at = records["logged_at"].min(), records["logged_at"].max()  # type: ignore[assignment]
    kinds, typed = _typed(records)
    rows.tables = typed
    _add_fingerprints(rows.tables)
    rows.tables["record"] = records.with_columns(kinds)
    rows.tables["unparsed"] = fitted(parsed.unparsed.with_columns(origin), UNPARSED.columns)
    rows.failed = records.filter(pl.col("severity").is_in(_FAILED)).select("pid", "line_no")
    return rows


def _typed(records: pl.DataFrame) -> tuple[pl.Series, dict[str, pl.DataFrame]]:
    """The kind of every record, and the rows of each message type."""
    types = registry.message_types()
    names = list(types)
    by_text = [message for message in types.values() if message.starts_with]
    codes = records.select(_route()).to_series()
    rows: dict[str, pl.DataFrame] = {}
    present = set(codes.unique().drop_nulls())
    for message in by_text:
        code = names.index(message.table)
        if code not in present:
            continue
        own = codes == code
        rows[message.table] = message.read(records.filter(own))
        if rows[message.table].height < own.sum():
            # routed by its first words and not read: it keeps no kind, so that it shows as not understood
            codes = codes.set(own & ~records["line_no"].is_in(rows[message.table]["line_no"].implode()), None)
    for message in types.values():
        if message.starts_with:
            continue
        takes = records.select(message.routes().alias("takes"))["takes"]
        if takes.any():
            rows[message.table] = message.read(records.filter(takes))
            codes = codes.set(takes & codes.is_null(), names.index(message.table))
    kinds = pl.Series(names, dtype=pl.String).gather(codes.cast(pl.UInt32))
    return kinds.alias("kind"), rows


@cache
def _route() -> pl.Expr:
    """The number of the type that takes a record by its first words."""
    types = registry.message_types()
    by_text = [(number, message) for number, message in enumerate(types.values()) if message.starts_with]
    tests = (pl.when(message.routes()).then(pl.lit(number, pl.UInt8)) for number, message in by_text)
    return pl.coalesce(*tests).alias("kind")


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
    first = pl.concat(seen).sort("line_no").unique("fingerprint", keep="first")
    tables["query"] = fitted(shapes.join(first, on="fingerprint"), QUERY.columns).sort("line_no", "fingerprint")
