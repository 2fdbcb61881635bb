"""One chunk of a log into the rows of every table: a pure function of the chunk, so it can run anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import polars as pl

from pgtrace import registry
from pgtrace.ingest.chunks import Chunk
from pgtrace.ingest.redaction import redact, without_values
from pgtrace.ingest.routing import FAILED, also_of, codes_of, programs
from pgtrace.ingest.unknown import UNKNOWN
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.message import MessageType
from pgtrace.schema import QUERY, RECORD, UNPARSED, fitted
from pgtrace.secrets import mask_records, mask_unparsed
from pgtrace.sqltext import Fingerprinter


@dataclass(slots=True)
class Rows:
    """What one chunk gave: rows by table, and what is needed to put chunks together."""

    chunk_bytes: int
    lines: int
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    failed: pl.DataFrame = field(default_factory=pl.DataFrame)
    first_at: datetime | None = None
    last_at: datetime | None = None
    #: values were left out, and are to be left out of what is joined with these
    is_redacted: bool = False

    @property
    def records(self) -> int:
        """Records in the chunk: of the server, or of WAL."""
        return sum(frame.height for frame in self.tables.values() if "line_count" in frame.columns)

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
    if parsed.tables:
        return _of_own_tables(chunk, parsed, origin, reading)
    # before anything reads them: what is masked here is nowhere else
    records = mask_records(fitted(parsed.records.with_columns(origin), RECORD.columns))
    rows = Rows(len(chunk.data), chunk.lines)
    rows.first_at, rows.last_at = records["logged_at"].min(), records["logged_at"].max()  # type: ignore[assignment]
    kinds, typed = read_records(records)
    rows.tables = typed
    _add_fingerprints(rows.tables)
    rows.tables["record"] = records.with_columns(kinds)
    rows.tables["unparsed"] = fitted(mask_unparsed(parsed.unparsed).with_columns(origin), UNPARSED.columns)
    if reading.redact:
        rows.is_redacted = True
        redact(rows.tables, registry.joins())
    rows.failed = records.filter(pl.col("severity").is_in(FAILED)).select("pid", "line_no")
    return rows


def _of_own_tables(chunk: Chunk, parsed: Parsed, origin: pl.Expr, reading: Reading) -> Rows:
    """Rows of a format that holds no server messages."""
    rows = Rows(len(chunk.data), chunk.lines, failed=pl.DataFrame(schema={"pid": pl.Int64, "line_no": pl.Int64}))
    times: list[datetime] = []
    for name, frame in parsed.tables.items():
        table = registry.tables()[name]
        own = frame.with_columns(origin)
        # what is joined yet may have columns that are not stored
        rows.tables[name] = own if name in registry.joins() else fitted(own, table.stored_columns)
        if table.time in own.columns:
            ends = own.select(pl.col(table.time).min(), pl.col(table.time).max().alias("last")).row(0)
            times += [time for time in ends if time is not None]
    rows.tables["unparsed"] = fitted(mask_unparsed(parsed.unparsed).with_columns(origin), UNPARSED.columns)
    if reading.redact:
        rows.is_redacted = True
        rows.tables = {name: without_values(frame) for name, frame in rows.tables.items()}
    rows.first_at, rows.last_at = min(times, default=None), max(times, default=None)
    return rows


def read_records(records: pl.DataFrame) -> tuple[pl.Series, dict[str, pl.DataFrame]]:
    """The kind of every record, and the rows of each message type."""
    types = registry.message_types()
    names = list(types)
    codes = codes_of(records)
    others = also_of(records, codes)
    rows: dict[str, pl.DataFrame] = {}
    taken: dict[str, pl.Series] = {}
    for code in sorted({*codes.unique().drop_nulls(), *others}):
        own = codes.eq_missing(code)
        if code in others:
            own |= others[code]
        table = names[code]
        taken[table] = own
        rows[table], read = _read(types[table], records.filter(own))
        if not read.all():
            # routed by its first words and not read: it keeps no kind, so that it shows as not understood
            unread = own.arg_true().filter(~read)
            codes = codes.scatter(unread, None)
            if code in others:
                others[code] = others[code].scatter(unread, False)
    for code, fits in others.items():
        codes = codes.set(fits & codes.is_null(), code)
    for message in types.values():
        if message.within is not None:
            codes = _read_within(message, names.index(message.table), records, codes, taken, rows)
        elif not message.starts_with and message.program is None:
            takes = records.select(message.routes().alias("takes"))["takes"] & _of_server(records)
            if takes.any():
                rows[message.table] = message.read(records.filter(takes))
                codes = codes.set(takes & codes.is_null(), names.index(message.table))
    kinds = pl.Series(names, dtype=pl.String).gather(codes.cast(pl.UInt32))
    return kinds.alias("kind"), rows


def _read(message: MessageType, own: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Rows of a type, and which of the records gave any."""
    rows = message.read(own)
    if rows.height == own.height and message.read_with is None:
        return rows, pl.repeat(True, own.height, dtype=pl.Boolean, eager=True)
    return rows, own["line_no"].is_in(rows["line_no"].unique().implode())


def _read_within(
    message: MessageType,
    code: int,
    records: pl.DataFrame,
    codes: pl.Series,
    taken: dict[str, pl.Series],
    rows: dict[str, pl.DataFrame],
) -> pl.Series:
    """Read the records of another type that this one reads too; the codes with its own in them."""
    assert message.within is not None
    others = taken.get(message.within)
    if others is None or not others.any():
        return codes
    where = others.arg_true()
    fits = records.select("message").gather(where).select(message.routes().alias("fits"))["fits"].fill_null(False)
    where = where.filter(fits)
    if where.is_empty():
        return codes
    taken[message.table] = pl.repeat(False, records.height, dtype=pl.Boolean, eager=True).scatter(where, True)
    rows[message.table], read = _read(message, records.gather(where))
    return codes if message.is_part else codes.scatter(where.filter(read), code)


def _of_server(records: pl.DataFrame) -> pl.Series:
    """What the server itself wrote, not another program whose log is read too."""
    return records.select(~pl.col("backend_type").is_in(list(programs())).fill_null(False)).to_series()


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
