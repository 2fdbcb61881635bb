"""A message type: one table, and how the messages that fill it are recognised and read.

A type lives in one file of ``parsers/messages`` as a constant ``MESSAGE = MessageType(...)``. Reading is done on
whole columns: ``starts_with`` routes (literals are some fifty times as fast as a pattern), the patterns run only
on the rows that were routed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from pgtrace.schema import ORIGIN, SESSION, Column, Table, fitted

if TYPE_CHECKING:
    import polars as pl

#: the plain text that a pattern begins with: rows that do not are not tried
_LITERAL_START = re.compile(r"^\^([A-Za-z][A-Za-z :]{11,})(?![*+?{])")
_NAMED_GROUP = re.compile(r"\(\?P<(\w+)>")


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining made of a part of the log: whole rows, and what is still open at its end.

    ``open_rows`` are those of ``waiting`` that are rows already if nothing more comes; ``waiting`` goes to the next
    call.
    """

    rows: pl.DataFrame
    open_rows: pl.DataFrame | None
    waiting: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class MessageType:
    """How one kind of server message becomes rows of one table.

    A type without ``starts_with`` takes every record of its severities, also those that another type reads. One with
    ``within`` reads, of the records of that other type, those that hold one of the texts ``contains``; they are of its
    kind then, unless ``is_part`` says that it only adds to what the other type reads.
    One with ``program`` reads all that this program (backend_type) writes, and nothing else does.
    One with ``also`` reads besides what its literals choose the records that expression holds for, whatever they say;
    it is asked of the records that no type's literals choose, and of all that failed, which then are of both types.

    ``patterns`` are searched in the message, each by itself, so their order and the lines between them do not
    matter; their named groups are columns. The first group of the first pattern must match, or the record is not of
    this type; the others are the pieces that only some versions or settings print. ``detail_patterns`` and
    ``context_patterns`` read the record's DETAIL and CONTEXT in the same way.
    ``derive`` gives expressions over the columns read so far.
    """

    table: str
    one_row_per: str
    process: str
    columns: Mapping[str, Column]
    starts_with: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    detail_patterns: tuple[str, ...] = ()
    context_patterns: tuple[str, ...] = ()
    severities: tuple[str, ...] = ("LOG",)
    #: the table of the type whose records this one reads too
    within: str | None = None
    contains: tuple[str, ...] = ()
    is_part: bool = False
    program: str | None = None
    #: of other records, those to read too; from severity, backend_type, message and context
    also: Callable[[], pl.Expr] | None = None
    #: columns copied from the record
    keeps: Mapping[str, Column] = field(default_factory=lambda: SESSION)
    derive: Callable[[], dict[str, pl.Expr]] | None = None
    #: reads records into rows itself, where patterns are not enough; same columns, any number of rows per record
    read_with: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    #: makes one row of several, also across the parts of a log: see ``Joined``
    join_with: Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame | None], Joined] | None = None
    #: columns that ``read`` gives to ``join_with`` and that are not stored
    join_columns: Mapping[str, Column] = field(default_factory=dict)
    #: SQL over the stored rows, where the table that people see is not just those
    view: str | None = None
    #: other types whose stored rows ``view`` reads, as ``{their_table}``
    view_reads: tuple[str, ...] = ()
    #: where ``view`` makes other columns than the files hold: the columns of the view
    view_columns: Mapping[str, Column] | None = None

    @property
    def stored_columns(self) -> dict[str, Column]:
        """The columns of the type's files."""
        return {**ORIGIN, **self.keeps, **self.columns}

    @property
    def as_table(self) -> Table:
        """The table that the type fills."""
        shown = self.stored_columns if self.view_columns is None else {**ORIGIN, **self.view_columns}
        return Table(
            self.table,
            self.one_row_per,
            shown,
            view=self.view,
            view_reads=self.view_reads,
            stored=self.stored_columns,
        )

    def routes(self) -> pl.Expr:
        """Whether a record goes to this type, from literals alone."""
        import polars as pl

        if self.program is not None:
            return pl.col("backend_type") == self.program
        if self.within is not None:
            # of the records that the other type takes
            return pl.any_horizontal([pl.col("message").str.contains(text, literal=True) for text in self.contains])
        by_severity = pl.col("severity").is_in(self.severities)
        if not self.starts_with:
            return by_severity
        message = pl.col("message")
        by_text = pl.any_horizontal([message.str.starts_with(literal) for literal in self.starts_with])
        by_text &= by_severity
        return by_text if self.also is None else by_text | self.also().fill_null(False)

    def read(self, records: pl.DataFrame) -> pl.DataFrame:
        """Rows of this type's table, in the records' order; by patterns, one per record that the first one fits.

        ``records`` has the columns of the record table and are those that ``routes`` chose.
        """
        if self.read_with is not None:
            rows = self.read_with(records)
        else:
            rows = self._read_patterns(records) if self.patterns else records
        if self.derive is not None:
            for name, expression in self.derive().items():
                rows = rows.with_columns(expression.alias(name))
        return fitted(rows, {**self.stored_columns, **self.join_columns})

    def _read_patterns(self, records: pl.DataFrame) -> pl.DataFrame:
        """Few and wide steps: a call into Polars costs as much as reading some hundred rows."""
        import polars as pl

        first = _groups(_Reading("0", "message", self.patterns[0], None, None))
        fits = pl.col("0").struct[0].is_not_null()
        if self.also is not None:
            fits |= self.also().fill_null(False)
        records = records.with_columns(first).filter(fits)
        readings = list(self._readings())
        strict = [reading for reading in readings if not reading.only_if_null]
        general = [reading for reading in readings if reading.only_if_null]
        records = records.with_columns(_groups(reading) for reading in strict)
        if general:
            records = records.with_columns(_groups(reading) for reading in general)
        fields: dict[str, list[pl.Expr]] = {}
        for place, pattern in [("0", self.patterns[0]), *((reading.place, reading.pattern) for reading in readings)]:
            for name in named_groups([pattern]):
                fields.setdefault(name, []).append(pl.col(place).struct.field(name))
        return records.with_columns(
            _typed(pl.coalesce(found), self.columns[name]).alias(name) for name, found in fields.items()
        )

    def _readings(self) -> Iterator[_Reading]:
        """Every pattern but the first, and on which rows it is tried."""
        seen: dict[str, str] = {}
        sources = (
            ("message", self.patterns[1:]),
            ("detail", self.detail_patterns),
            ("context", self.context_patterns),
        )
        for number, (source, pattern) in enumerate(((source, one) for source, all_ in sources for one in all_), 1):
            names = named_groups([pattern])
            literal = _LITERAL_START.match(pattern)
            same_before = seen.get(" ".join(names))
            yield _Reading(str(number), source, pattern, literal and literal[1], same_before)
            seen.setdefault(" ".join(names), str(number))


@dataclass(frozen=True, slots=True)
class _Reading:
    """A pattern on its way into column ``place``: tried where the text begins with ``literal``, and where the stricter,
    faster pattern with the same groups (in column ``only_if_null``) found nothing."""

    place: str
    source: str
    pattern: str
    literal: str | None
    only_if_null: str | None


@cache
def _groups(reading: _Reading) -> pl.Expr:
    """The groups of a pattern as a struct; made once, since making it compiles the pattern."""
    import polars as pl

    text = pl.col(reading.source)
    if reading.literal is not None:
        text = pl.when(text.str.starts_with(reading.literal)).then(text)
    if reading.only_if_null is not None:
        text = pl.when(pl.col(reading.only_if_null).struct[0].is_null()).then(text)
    return text.str.extract_groups(_ascii(reading.pattern)).alias(reading.place)


def _ascii(pattern: str) -> str:
    """``\\d`` is every digit of Unicode to the engine, and slow for it."""
    return pattern.replace(r"\d", "[0-9]")


def named_groups(patterns: Sequence[str]) -> list[str]:
    """Names of the groups of all patterns, each once, in order."""
    return list(dict.fromkeys(name for pattern in patterns for name in _NAMED_GROUP.findall(pattern)))


def _typed(text: pl.Expr, column: Column) -> pl.Expr:
    """The matched text as the column's type: lists by the column's separator, LSNs from ``%X/%X``."""
    import polars as pl

    from pgtrace.units import Lsn

    if column.type is Lsn:
        halves = text.str.split_exact("/", 1)
        high = halves.struct.field("field_0").str.to_integer(base=16, dtype=pl.UInt64)
        low = halves.struct.field("field_1").str.to_integer(base=16, dtype=pl.UInt64)
        return high * 4294967296 + low
    if column.split is not None:
        words = pl.when(text == "").then(pl.lit([], pl.List(pl.String))).otherwise(text.str.split(column.split))
        return words.cast(column.polars_type)
    if column.type is bool:
        return text.is_not_null()
    return text.cast(column.polars_type)
