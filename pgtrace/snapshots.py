r"""Snapshots of catalogs and views: CSV with a header, as ``COPY … TO STDOUT CSV HEADER``, ``\copy`` and psql write it.

The header says what the columns are, so they may stand in any order, and others beside them; it goes along as the
``prefix`` of the reading, for the parts of a long file. A file may hold several snapshots, each with the header.

Limitations: a last line without an end was cut off, and is not trusted. Times are read in DateStyle ISO only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pgtrace.csvrecords import unquoted
from pgtrace.encoding import clean_utf8
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.logtime import utc_times
from pgtrace.recordframe import RECORD_SCHEMA, numbered_lines, unparsed_lines
from pgtrace.schema import Column, Table, polars_schema
from pgtrace.units import Lsn

_FIELD = r'[^",\r\n]*|"[^"]*(?:""[^"]*)*"'
_TIME = (
    r"^(?P<seconds>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,6}))?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d){0,2})$"
)
_TRUE, _FALSE = ("t", "true", "on"), ("f", "false", "off")
#: a row of more lines is none: names have 63 bytes, and settings are no novels
_MOST_LINES = 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One kind: ``table`` it fills, ``names`` of the header's columns where they differ from the table's.

    A header is of this kind when it has all columns ``needed``; a row, when none of those ``filled`` is null.
    ``complete(rows, known)`` adds what is not in the file, which says the columns ``known``. ``also`` are columns that
    only ``complete`` wants.
    """

    table: Table
    names: Mapping[str, str]
    needed: frozenset[str]
    filled: tuple[str, ...]
    complete: Callable[[pl.DataFrame, Collection[str]], pl.DataFrame]
    also: Mapping[str, Column]

    @property
    def columns(self) -> dict[str, Column]:
        """What may be in the file, under the names of the table."""
        return {**self.table.columns, **self.also}


def as_format(name: str, rank: int, kind: Snapshot, *others: Table) -> LogFormat:
    """The log format that reads ``kind``; ``others`` are views over its table."""

    def sniff(head: bytes, asked: Reading) -> Reading | None:
        line, _, _ = clean_utf8(head).decode().partition("\n")
        header = line.removesuffix("\r")
        if not kind.needed <= set(_columns(header, kind)):
            return None
        return Reading(name, prefix=header, timezone=asked.timezone, line_end=b"\r\n" if line != header else b"\n")

    return LogFormat(
        name=name,
        rank=rank,
        sniff=sniff,
        last_record=last_row,
        read=lambda chunk, reading, first_line: read_rows(chunk, reading, first_line, kind),
        tables=(kind.table, *others),
    )


def _columns(header: str, kind: Snapshot) -> list[str]:
    """The columns of a header under the names of the table."""
    names = [name.strip('"') for name in header.split(",")]
    return [kind.names.get(name, name) for name in names]


def last_row(buffer: bytes, reading: Reading) -> int:
    """Where the last row begins: behind the last line end outside quotes; a header goes with the row behind it."""
    at = len(buffer) - buffer.endswith(b"\n")
    is_inside = buffer.count(b'"', 0, at) % 2 == 1
    nearest = buffer.rfind(b"\n", 0, at)
    for _ in range(_MOST_LINES):
        line_end = buffer.rfind(b"\n", 0, at)
        if line_end < 0:
            return 0
        is_inside ^= buffer.count(b'"', line_end, at) % 2 == 1
        at = line_end
        if not is_inside:
            break
    else:
        at = nearest  # a quote is missing somewhere before
    header_at = buffer.rfind(b"\n", 0, at) + 1
    is_header = buffer[header_at:at].removesuffix(b"\r").decode(errors="replace") == reading.prefix
    return header_at if is_header else at + 1


def read_rows(chunk: bytes, reading: Reading, first_line: int, kind: Snapshot) -> Parsed:
    """Rows of a table; every line is of a row, of the header before a row, or unparsed."""
    text = clean_utf8(chunk)
    if reading.line_end == b"\r\n":
        text = text.replace(b"\r\n", b"\n")
    lines = numbered_lines(text, first_line)
    header = reading.prefix or ""
    is_header = lines["text"] == header
    is_cut = pl.Series([False]).new_from_index(0, lines.height)
    if text and not text.endswith(b"\n"):
        is_cut[-1] = True
    own = lines.filter(~is_header & ~is_cut)
    columns = _columns(header, kind)
    found, single = _read(own.with_columns(line_count=pl.lit(1, pl.Int64)), columns, kind)
    left = own.join(found, on="line_no", how="anti")
    more, several = _read(_blocks(left), columns, kind)
    rows = pl.concat([found, more]).sort("line_no")
    takes = rows.select(pl.int_ranges("line_no", pl.col("line_no") + pl.col("line_count")).explode().alias("line_no"))
    rows, headers = _with_headers(rows, lines.filter(is_header))
    reasons = pl.concat([several, single]).unique("line_no", keep="first")
    cut = pl.col("line_no") == lines["line_no"].max() if is_cut.any() else pl.lit(False)
    rest = (
        lines.join(takes, on="line_no", how="anti")
        .join(headers, on="line_no", how="anti")
        .join(reasons, on="line_no", how="left")
        .with_columns(
            pl.when(pl.col("text") == header)
            .then(pl.lit("no rows: nothing is behind this header"))
            .when(cut)
            .then(pl.lit("cut off: the line has no end"))
            .otherwise(pl.coalesce("reason", pl.lit(f"no row of {len(columns)} fields, as the header has them")))
            .alias("reason")
        )
    )
    times = rows.select("line_no", logged_at=kind.table.time)
    schema = polars_schema({name: column for name, column in kind.table.columns.items() if name != "source_id"})
    return Parsed(RECORD_SCHEMA.to_frame(), unparsed_lines(rest, times), {kind.table.name: rows.select(schema.names())})


def _blocks(lines: pl.DataFrame) -> pl.DataFrame:
    """Neighbouring lines put together from one that opens a quote to the one that closes it."""
    odd = pl.col("text").str.count_matches('"', literal=True) % 2
    run = (pl.col("line_no").diff().fill_null(1) > 1).cum_sum().alias("run")
    starts = ((odd.cum_sum() - odd) % 2 == 0).cum_sum()
    return (
        lines.with_columns(run)
        .with_columns(starts.over("run").alias("block"))
        .group_by("run", "block", maintain_order=True)
        .agg(pl.col("line_no").first(), pl.col("text").str.join("\n"), pl.len().cast(pl.Int64).alias("line_count"))
        .filter(pl.col("line_count") > 1)
        .select("line_no", "text", "line_count")
    )


def _read(blocks: pl.DataFrame, columns: list[str], kind: Snapshot) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the texts that are one each; and of others that have the fields ``line_no`` and the reason."""
    pattern = rf"\A{','.join(f'({_FIELD})' for _ in columns)}\z"
    fields = blocks["text"].str.extract_groups(pattern).struct.unnest()
    fields.columns = [name if columns.index(name) == at else f"\n{at}" for at, name in enumerate(columns)]
    known = [name for name in fields.columns if name in kind.columns and name not in ("source_id", *blocks.columns)]
    whole = pl.concat([blocks.drop("text"), fields.select(known)], how="horizontal").filter(
        fields.to_series(0).is_not_null()
    )
    texts = whole.with_columns(pl.when(pl.col(name) != "").then(unquoted(name)).alias(name) for name in known)
    typed = texts.select(
        "line_no",
        "line_count",
        *(
            _typed(
                texts[name] if name in known else pl.Series(name, [None], pl.String).new_from_index(0, whole.height),
                column,
            )
            for name, column in kind.columns.items()
            if name not in ("source_id", "line_no", "line_count")
        ),
    )
    bad = pl.coalesce(
        pl.when(texts[name].is_not_null() & typed[name].is_null()).then(pl.lit(f"{name} cannot be read"))
        for name in known
    )
    empty = pl.coalesce(pl.when(typed[name].is_null()).then(pl.lit(f"{name} is empty")) for name in kind.filled)
    reasons = typed.select("line_no", pl.coalesce(bad, empty).alias("reason"))
    is_good = reasons["reason"].is_null()
    return kind.complete(typed.filter(is_good), known), reasons.filter(~is_good)


def _with_headers(rows: pl.DataFrame, headers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Headers count as lines of the row behind them; the rows, and the headers that have one."""
    if rows.is_empty() or headers.is_empty():
        return rows, headers.clear()
    behind = headers.select("line_no").join_asof(
        rows.select("line_no", row="line_no"), on="line_no", strategy="forward"
    )
    behind = behind.filter(pl.col("row").is_not_null())
    counts = behind.group_by("row").agg(pl.len().cast(pl.Int64).alias("headers"))
    counted = rows.join(counts, left_on="line_no", right_on="row", how="left", maintain_order="left")
    total = pl.col("line_count") + pl.col("headers").fill_null(0)
    return counted.with_columns(total.alias("line_count")).drop("headers"), behind


def _typed(texts: pl.Series, column: Column) -> pl.Series:
    """Texts as the column's type; null where they cannot be read as that."""
    text = pl.col(texts.name)
    if column.type is datetime:
        return _times(texts)
    if column.type is Lsn:
        halves = text.str.extract_groups(r"^(?P<high>[0-9A-Fa-f]{1,8})/(?P<low>[0-9A-Fa-f]{1,8})$").struct
        high, low = (
            halves.field(half).str.to_integer(base=16, dtype=pl.UInt64, strict=False) for half in ("high", "low")
        )
        return texts.to_frame().select((high * 4294967296 + low).alias(texts.name)).to_series()
    if column.type is bool:
        is_true = pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False)
        return texts.to_frame().select(is_true.alias(texts.name)).to_series()
    return texts.cast(column.polars_type, strict=False)


def _times(texts: pl.Series) -> pl.Series:
    distinct = texts.unique().drop_nulls()
    cut = distinct.str.extract_groups(_TIME).struct.unnest()
    seconds = utc_times(cut["seconds"].str.replace("T", " ", literal=True), cut["zone"], None)
    fraction = pl.col("fraction").fill_null("").str.pad_end(6, "0").cast(pl.Int64)
    times = cut.select(seconds.alias("time") + pl.duration(microseconds=fraction)).to_series()
    known = pl.DataFrame({"text": distinct, "time": times})
    joined = texts.to_frame("text").join(known, on="text", how="left", maintain_order="left")
    return joined["time"].alias(texts.name)
